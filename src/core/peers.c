/* peers.c: a table of addresses. */
#include "core/peers.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { FIRST_BITS = 6 };

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
    struct peers more = {.bits = peers->buckets ? peers->bits + 1 : FIRST_BITS,
                         .count = peers->count};
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

struct peer *peers_enter(struct peers *peers, const struct sockaddr *address) {
    uint64_t key = key_of(address);
    struct peer *peer = key ? find(peers, key) : NULL;
    if (!peer && key && grow(peers) == 0 && (peer = calloc(1, sizeof(*peer)))) {
        peer->key = key;
        put(peers, peer);
        peers->count++;
    }
    if (peer) {
        peer->count++;
    }
    return peer;
}

void peers_leave(struct peers *peers, struct peer *peer) {
    if (!peer || --peer->count > 0) {
        return;
    }
    struct peer **link = bucket_of(peers, peer->key);
    while (*link != peer) {
        link = &(*link)->next;
    }
    *link = peer->next;
    free(peer);
    if (--peers->count == 0) {
        peers_clear(peers);
    }
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
    free(peers->buckets);
    *peers = (struct peers){0};
}
