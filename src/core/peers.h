/* peers.h: how many connections each address has. Pure.
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

struct peer {
    struct peer *next; /* in its bucket */
    uint64_t key;      /* the /64, or the IPv4 address behind 0xffff */
    uint32_t count;
    bool told; /* that it has as many as it may */
};

struct peers {
    struct peer **buckets; /* a power of two of them, or NULL */
    uint64_t seed; /* strangers choose the keys, so they mustn't know the buckets */
    uint32_t bits;
    uint32_t count;
};

/* Counts one more connection of an address. Returns its peer, to be given to peers_leave
 * when the connection has gone; or NULL when it isn't counted, as also when memory ran
 * out. */
struct peer *peers_enter(struct peers *peers, const struct sockaddr *address);
void peers_leave(struct peers *peers, struct peer *peer);

/* Writes "192.0.2.1" or "2001:db8::/64"; size is at least 64. */
void peers_name(const struct peer *peer, char *text, size_t size);

/* Frees the buckets; all peers have left. */
void peers_clear(struct peers *peers);
