/* bans.h: addresses and networks that are shut out, each until a time. Pure.
 *
 * Looking one up costs a probe for each length of prefixes that there is. At BANS_MOST no
 * more are taken, once those that have expired are gone.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "net/network.h"

enum { BANS_MOST = 65536, BANS_LENGTHS = 129 };

struct bans {
    struct ban *slots; /* a power of two of them, at most half full; or NULL */
    size_t capacity;
    size_t count;
    uint64_t seed;                  /* strangers choose addresses */
    uint32_t lengths[BANS_LENGTHS]; /* how many there are of each prefix's length */
};

/* Shuts a network out until a time, in any unit; 0 lets it in again. Returns 0, UV_EINVAL
 * of "unix", UV_ENOSPC when there are too many, or UV_ENOMEM. */
int bans_set(struct bans *bans, const struct network *network, uint64_t until,
             uint64_t now);

/* Whether an address is shut out. */
bool bans_has(const struct bans *bans, const struct sockaddr *address, uint64_t now);

void bans_clear(struct bans *bans);
