/* load.h: clients of a server that is replaced under them.
 *
 *     load.c   sockets, the loop, what is said in the end
 *     wire.c   lines, WebSocket frames, permessage-deflate
 *     talk.c   what clients say, and whether what they hear is that, in order
 */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zlib.h>

enum {
    BUFFER = 64 * 1024,
    RING = 256,          /* messages whose time is known */
    ROOM_EACH = 50,      /* each so manieth message of a client is told to its room, */
    ROOM_MEMBERS = 20,   /* which has about so many members */
    PEERS = 64,          /* most of them */
    FLOOD = 24,          /* messages that a slow reader asks for at once, */
    FLOOD_BYTES = 16000, /* each of so many letters */
    EVERY_US = 100000,   /* between two messages of a client */
    PART_US = 40000,     /* between two fragments */
    SLOW_US = 20000,     /* between two looks of a slow reader, */
    SLOW_BYTES = 2048,   /* which reads so much then */
    STAY_US = 8000000,   /* that a session has one connection, */
    AWAY_US = 300000     /* and then none */
};

enum kind { STREAM, ECHO, SESSION };
enum phase { OPEN, AWAY, OPENING, RESUMING };

struct client {
    int fd;
    SSL *ssl;
    enum kind kind;
    enum phase phase;
    bool packs, slow;
    bool waits; /* for room to send */
    uint32_t number, sent, seen;
    uint64_t due;
    uint64_t leave_at, back_at; /* of a session */
    char token[64];
    uint32_t received;        /* messages of the session that count */
    uint32_t resumed;         /* times */
    uint32_t floods, flooded; /* asked for; messages that came of the last */
    uint32_t heard[PEERS];    /* of others in its room, the last each */
    char rest[1024];          /* the second fragment, once the first was sent */
    size_t rest_length;
    z_stream deflate, inflate;
    char *in, *out;
    size_t in_length, out_length;
    uint64_t times[RING];
};

struct tally {
    uint64_t received, told, flooded, longest, bad, closed, resumed;
    uint32_t latencies[4096]; /* by ms */
};
extern struct tally tally;

extern struct client *clients;
extern int count;

uint64_t now_us(void);
void fail(struct client *client, const char *what);

/* wire.c: puts messages behind what is to be sent, and takes those that have come. */
void wire_put(struct client *client, const char *bytes, size_t length);
/* A whole message; or the first half, where the second is left in `rest`. */
void wire_say(struct client *client, const char *text, size_t length, bool in_parts);
void wire_say_rest(struct client *client);
void wire_ask(struct client *client); /* for an upgrade to WebSocket */
bool wire_agreed(const struct client *client, const char *head, size_t length);
/* Hands each message that is whole to talk_hear. */
void wire_take(struct client *client);

/* talk.c */
uint32_t talk_rooms(void);
void talk_next(struct client *client, uint64_t now);
void talk_flood(struct client *client);
void talk_resume(struct client *client);
void talk_hear(struct client *client, const char *text, size_t length);
/* Messages that should have come and haven't. */
uint64_t talk_lost(const struct client *client);
