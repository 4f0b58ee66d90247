/* peers.c: a table of addresses. */
#include "core/peers.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "core/bucket.h"

enum {
    FIRST_BITS = 6,
    SECOND = 1000000, /* microseconds */
    BURST = 5,        /* s of a rate that may come at once, and how many at least */
    SLOWER = 10       /* times that one is slower who is slowed down */
};

/* Multicast, as which nobody connects: so these are no /64 of anyone. */
static const uint64_t IPV4 = 0xffffULL << 48;

struct block {
    uint32_t begin;
    uint32_t bits;
};

static const struct block private_blocks[] = {
    {0x7f000000, 8},  /* 127.0.0.0/8: loopback */
    {0x0a000000, 8},  /* 10.0.0.0/8 */
    {0xac100000, 12}, /* 172.16.0.0/12 */
    {0xc0a80000, 16}, /* 192.168.0.0/16 */
    {0xa9fe0000, 16}, /* 169.254.0.0/16: link-local */
    {0x64400000, 10}, /* 100.64.0.0/10: within a provider's network */
};

static uint64_t key_of_ipv4(uint32_t address) {
    size_t count = sizeof(private_blocks) / sizeof(private_blocks[0]);
    for (size_t i = 0; i < count; i++) {
        const struct block *block = &private_blocks[i];
        if ((address ^ block->begin) >> (32 - block->bits) == 0) {
            return 0;
        }
    }
    return IPV4 | address;
}

static uint64_t key_of_ipv6(const struct in6_addr *address) {
    const uint8_t *bytes = address->s6_addr;
    if (IN6_IS_ADDR_V4MAPPED(address)) {
        uint32_t ipv4;
        memcpy(&ipv4, bytes + 12, 4);
        return key_of_ipv4(ntohl(ipv4));
    }
    bool is_private = (bytes[0] & 0xfe) == 0xfc; /* fc00::/7 */
    if (is_private || IN6_IS_ADDR_LINKLOCAL(address)) {
        return 0;
    }
    uint64_t key = 0; /* stays 0 of ::1 */
    for (int i = 0; i < 8; i++) {
        key = key << 8 | bytes[i];
    }
    return key;
}

/* Returns 0 of an address that isn't counted. */
static uint64_t key_of(const struct sockaddr *address) {
    switch (address->sa_family) {
    case AF_INET:
        return key_of_ipv4(
            ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr));
    case AF_INET6:
        return key_of_ipv6(
            &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
    default: return 0;
    }
}

/* Multiplying by a secret odd number puts any two keys into one bucket as rarely as
 * chance would. */
static struct peer **bucket_of(const struct peers *peers, uint64_t key) {
    return &peers->buckets[key * peers->seed >> (64 - peers->bits)];
}

static void put(struct peers *peers, struct peer *peer) {
    struct peer **bucket = bucket_of(peers, peer->key);
    peer->next = *bucket;
    *bucket = peer;
}

/* Makes room for one more. Returns 0, or -1 when memory or randomness ran out. */
static int grow(struct peers *peers) {
    if (peers->buckets && peers->count >> peers->bits == 0) {
        return 0;
    }
    struct peers more = *peers;
    more.bits = peers->buckets ? peers->bits + 1 : FIRST_BITS;
    if (uv_random(NULL, NULL, &more.seed, sizeof(more.seed), 0, NULL) < 0) {
        return -1;
    }
    more.seed |= 1;
    more.buckets = calloc((size_t)1 << more.bits, sizeof(struct peer *));
    if (!more.buckets) {
        return -1;
    }
    for (size_t i = 0; peers->buckets && i < (size_t)1 << peers->bits; i++) {
        struct peer *next;
        for (struct peer *peer = peers->buckets[i]; peer; peer = next) {
            next = peer->next;
            put(&more, peer);
        }
    }
    free(peers->buckets);
    *peers = more;
    return 0;
}

static struct peer *find(const struct peers *peers, uint64_t key) {
    struct peer *peer = peers->buckets ? *bucket_of(peers, key) : NULL;
    while (peer && peer->key != key) {
        peer = peer->next;
    }
    return peer;
}

/* Those without a connection, the oldest first. */

static void unlink_idle(struct peers *peers, struct peer *peer) {
    *(peer->older ? &peer->older->newer : &peers->oldest) = peer->newer;
    *(peer->newer ? &peer->newer->older : &peers->newest) = peer->older;
    peer->older = peer->newer = NULL;
    peers->idle--;
}

static void link_idle(struct peers *peers, struct peer *peer, uint64_t now) {
    peer->left = now;
    peer->older = peers->newest;
    *(peers->newest ? &peers->newest->newer : &peers->oldest) = peer;
    peers->newest = peer;
    peers->idle++;
}

static void drop(struct peers *peers, struct peer *peer) {
    struct peer **link = bucket_of(peers, peer->key);
    while (*link != peer) {
        link = &(*link)->next;
    }
    *link = peer->next;
    free(peer);
    if (--peers->count == 0) {
        free(peers->buckets);
        *peers = (struct peers){0};
    }
}

/* Forgets those that have gone long ago, or are too many. One who owes waits. */
static void sweep(struct peers *peers, uint64_t now) {
    uint64_t time = (uint64_t)PEERS_IDLE_TIME * SECOND;
    struct peer *peer;
    while ((peer = peers->oldest) && !peer->owes &&
           (peer->left + time <= now || peers->idle > PEERS_IDLE_MOST)) {
        unlink_idle(peers, peer);
        drop(peers, peer);
    }
}

/* Whether something of it has to be known when it comes back. */
static bool is_worth_keeping(const struct peer *peer, uint64_t now) {
    bool busy = peer->strikes > 0 || peer->owes;
    for (int act = 0; act < PEER_ACTS; act++) {
        busy = busy || peer->until[act] > now;
    }
    return busy;
}

struct peer *peers_enter(struct peers *peers, const struct sockaddr *address,
                         uint64_t now) {
    uint64_t key = key_of(address);
    sweep(peers, now);
    struct peer *peer = key ? find(peers, key) : NULL;
    if (!peer && key && grow(peers) == 0 && (peer = calloc(1, sizeof(*peer)))) {
        peer->key = key;
        put(peers, peer);
        peers->count++;
    } else if (peer && peer->count == 0) {
        unlink_idle(peers, peer);
    }
    if (peer) {
        peer->count++;
    }
    return peer;
}

void peers_leave(struct peers *peers, struct peer *peer, uint64_t now) {
    if (!peer || --peer->count > 0) {
        return;
    }
    peer->told = false;
    if (is_worth_keeping(peer, now)) {
        link_idle(peers, peer, now);
        sweep(peers, now);
    } else {
        drop(peers, peer);
    }
}

/* What it does too often. */

static void forget_strikes(struct peer *peer, uint64_t now) {
    uint64_t seconds = now > peer->struck ? (now - peer->struck) / SECOND : 0;
    uint32_t gone = seconds < peer->strikes ? (uint32_t)seconds : peer->strikes;
    peer->strikes -= gone;
    peer->struck += seconds * SECOND;
    if (peer->strikes == 0) {
        peer->step = SYNC_STEP_NONE;
    }
}

static void strike(struct peers *peers, struct peer *peer,
                   const struct sync_options *options, uint64_t now) {
    uint32_t ends[] = {[SYNC_STEP_WARN] = options->warn_at,
                       [SYNC_STEP_SLOW] = options->slow_at,
                       [SYNC_STEP_KICK] = options->kick_at,
                       [SYNC_STEP_BAN] = options->ban_at};
    uint8_t reached = peer->step;
    if (peer->strikes++ == 0) {
        peer->struck = now;
    }
    for (int step = SYNC_STEP_WARN; step <= SYNC_STEP_BAN; step++) {
        if (ends[step] > 0 && peer->strikes >= ends[step] && step > reached) {
            reached = (uint8_t)step;
        }
    }
    if (reached == peer->step) {
        return;
    }
    peer->step = reached;
    if (!peer->owes) {
        peer->owes = true;
        peer->next_news = NULL;
        *(peers->news ? &peers->last_news->next_news : &peers->news) = peer;
        peers->last_news = peer;
    }
}

static bool takes(struct peer *peer, enum peer_act act,
                  const struct sync_options *options, uint64_t now) {
    uint64_t intervals[] = {options->connect_interval, options->handshake_interval,
                            options->failure_interval};
    uint64_t interval = intervals[act];
    if (interval == 0) {
        return true;
    }
    uint64_t size = (uint64_t)BURST * SECOND / interval;
    size = size > BURST ? size : BURST;
    if (peer->step >= SYNC_STEP_SLOW) { /* of the same span */
        interval *= SLOWER;
        size = size > SLOWER ? size / SLOWER : 1;
    }
    return bucket_take(&peer->until[act], now, interval, size);
}

bool peers_act(struct peers *peers, struct peer *peer, enum peer_act act,
               const struct sync_options *options, uint64_t now) {
    forget_strikes(peer, now);
    if (!takes(peer, act, options, now)) {
        strike(peers, peer, options, now);
        return false;
    }
    return act == PEER_FAILS || peer->step < SYNC_STEP_KICK;
}

struct peer *peers_news(struct peers *peers) {
    struct peer *peer = peers->news;
    if (peer) {
        peers->news = peer->next_news;
        peer->owes = false;
    }
    return peer;
}

void peers_name(const struct peer *peer, char *text, size_t size) {
    struct in6_addr prefix = {0};
    if (peer->key >> 48 == 0xffff) {
        struct in_addr ipv4 = {htonl((uint32_t)peer->key)};
        inet_ntop(AF_INET, &ipv4, text, (socklen_t)size);
        return;
    }
    for (int i = 0; i < 8; i++) {
        prefix.s6_addr[i] = (uint8_t)(peer->key >> (56 - 8 * i));
    }
    inet_ntop(AF_INET6, &prefix, text, (socklen_t)size);
    size_t length = strlen(text);
    snprintf(text + length, size - length, "/64");
}

void peers_clear(struct peers *peers) {
    struct peer *next = NULL;
    for (struct peer *peer = peers->oldest; peer; peer = next) {
        next = peer->newer;
        unlink_idle(peers, peer);
        drop(peers, peer);
    }
}
