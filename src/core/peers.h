/* peers.h: how many connections each address has, and what it does too often. Pure.
 *
 * An IPv6 address counts by its /64, for that is what one customer gets. Addresses behind
 * which there are many, or the operator's own, aren't counted: loopback, link-local and
 * private ones, and Unix sockets.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "sync.h"

enum {
    PEERS_IDLE_MOST = 65536, /* that are kept without a connection: more, the oldest go */
    PEERS_IDLE_TIME = 60     /* s that one is */
};

/* What an address may do too often. */
enum peer_act { PEER_CONNECTS, PEER_SHAKES_HANDS, PEER_FAILS, PEER_ACTS };

struct peer {
    struct peer *next; /* in its bucket */
    uint64_t key;      /* the /64, or the IPv4 address behind 0xffff */
    uint32_t count;
    bool told; /* that it has as many as it may */

    bool owes;                 /* its step is news */
    uint8_t step;              /* enum sync_step that it has reached */
    uint32_t strikes;          /* what it did too often; one a second is forgotten */
    uint32_t service;          /* where it did so last */
    uint64_t struck;           /* until when some are forgotten, in microseconds */
    uint64_t until[PEER_ACTS]; /* of its buckets */
    struct peer *next_news;
    struct peer *older, *newer; /* among those without a connection */
    uint64_t left;              /* since when it has none, in microseconds */
};

struct peers {
    struct peer **buckets; /* a power of two of them, or NULL */
    uint64_t seed; /* strangers choose the keys, so they mustn't know the buckets */
    uint32_t bits;
    uint32_t count;
    uint32_t idle; /* of which without a connection */
    struct peer *oldest, *newest;
    struct peer *news, *last_news;
};

/* Counts one more connection of an address, now, in microseconds. Returns its peer, to be
 * given to peers_leave when the connection has gone; or NULL when it isn't counted, as
 * also when memory ran out. */
struct peer *peers_enter(struct peers *peers, const struct sockaddr *address,
                         uint64_t now);
void peers_leave(struct peers *peers, struct peer *peer, uint64_t now);

/* Counts something that an address does. Returns false when it is more than it may: a
 * strike, by which it may reach its next step; then it `owes`, and is in `news`. */
bool peers_act(struct peers *peers, struct peer *peer, enum peer_act act,
               const struct sync_options *options, uint64_t now);

/* Takes the next one whose step is news, or NULL. */
struct peer *peers_news(struct peers *peers);

/* Writes "192.0.2.1" or "2001:db8::/64"; size is at least 64. */
void peers_name(const struct peer *peer, char *text, size_t size);

/* Frees all; no connection is left. */
void peers_clear(struct peers *peers);
