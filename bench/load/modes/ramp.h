/* ramp.h: what the parts of sync-bench share. It connects users to a server step by step
 * until the server answers too late. main.c reads the command line and reports, run.c
 * adds users and measures, user.c is one user's connection, target.c finds the server. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "../ws.h"

enum ramp_framing { RAW, NUL, LINE, LENGTH16, LENGTH32, TEXT, BINARY };

/* What was asked for. */
struct asked {
    const char *url;
    int start, step, most; /* users */
    double every;          /* seconds a step is measured */
    double rate;           /* messages a second of each user */
    double limit_ms, timeout;
    const char *message; /* its text, or NULL: `size` bytes are made up */
    size_t size;
    int framing;
    bool json;
};
extern struct asked asked;

/* Ends the program with exit code 2: it was called wrongly, or can't begin. */
_Noreturn void refuse(const char *format, ...);
int64_t ramp_now(void); /* nanoseconds */
extern volatile bool interrupted;

/* target.c */
struct target {
    bool websocket;
    char host[256]; /* as HTTP's Host names it */
    const char *path;
    struct sockaddr_storage address;
    socklen_t address_size;
};
extern struct target target;
void target_parse(const char *url);
/* Looks the name up and takes the first of its addresses that lets a client connect. */
void target_find(void);
/* The most users this machine can be; `*why` names what bounds them. */
int target_most(const char **why);
/* Chooses the source address, so that ports suffice. Returns 0 or an error number. */
int target_bind(int fd, int index);

/* user.c: one connection. */
struct waiting {
    int64_t due; /* when its message was to leave */
    uint32_t number;
};

struct user {
    int fd; /* -1: it has left */
    int index;
    bool connected, ready; /* TCP; and a WebSocket's handshake answered */
    int64_t due;           /* of the next message */
    int64_t begun;         /* connecting */
    uint32_t sent;
    struct waiting *waiting; /* a ring: messages without an answer */
    unsigned first, count;
    char *unsent;
    size_t unsent_length;
    size_t left;        /* length16, length32: of the message that is coming in */
    uint8_t head[4];    /* and its length */
    uint8_t head_count; /* of which so many bytes are there */
    char *kept;         /* the message that is coming in, when ids are matched */
    size_t kept_length;
    struct handshake *handshake; /* while it lasts */
    struct ws_reader *reader;
};

/* Called by user.c. */
void run_answered(int64_t due);
void run_failed(const char *why); /* the user has left, or lost a message */
void run_ready(void);

/* Makes the message; refuses one that the framing can't carry. */
void user_prepare(void);
unsigned user_ring(void); /* messages that can wait for an answer */
void user_open(struct user *user, int index, int epoll_fd);
void user_event(struct user *user, uint32_t events);
/* Sends the message that was due then. */
void user_send(struct user *user, int64_t due, int64_t now);
/* A message that has waited longer than --timeout is an error. */
void user_expire(struct user *user, int64_t now);

/* run.c */
enum stop {
    STOP_MAX,
    STOP_LATENCY,
    STOP_ERRORS,
    STOP_MACHINE,
    STOP_BEHIND,
    STOP_INTERRUPT
};
struct step {
    int users;
    double per_second, p50_ms, p99_ms;
    uint64_t errors;
    bool held;
};
struct found {
    struct step *steps;
    size_t count;
    int held;       /* users, in the last step that held */
    enum stop stop; /* why there was no further step */
    char why[300];
};
/* Adds users until the server or this machine can take no more. Calls `progress` after
 * each step. */
void run_steps(struct found *found, void (*progress)(const struct step *));
