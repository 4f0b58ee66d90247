/* bans.c: addresses and networks that are shut out. */
#include "core/bans.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { FIRST_CAPACITY = 64, BYTES = NETWORK_BYTES, EXPIRED = 1 };

struct ban {
    uint8_t bytes[BYTES];
    uint8_t bits;
    uint64_t until; /* 0: the slot is free */
};

static size_t place_of(const struct bans *bans, const uint8_t *bytes, uint32_t bits) {
    uint64_t high;
    uint64_t low;
    memcpy(&high, bytes, sizeof(high));
    memcpy(&low, bytes + sizeof(high), sizeof(low));
    uint64_t mixed = (high ^ bits) * bans->seed;
    mixed ^= mixed >> 32 ^ low ^ low >> 32; /* the bytes that differ come last */
    mixed *= bans->seed;
    return (size_t)(mixed >> 32) & (bans->capacity - 1);
}

/* The slot of a network, or the free one that it would have. */
static struct ban *slot_of(const struct bans *bans, const uint8_t *bytes, uint32_t bits) {
    size_t place = place_of(bans, bytes, bits);
    for (;;) {
        struct ban *ban = &bans->slots[place];
        if (ban->until == 0 ||
            (ban->bits == bits && memcmp(ban->bytes, bytes, BYTES) == 0)) {
            return ban;
        }
        place = (place + 1) & (bans->capacity - 1);
    }
}

/* Puts those that have not expired into a table of their own. */
static int rebuild(struct bans *bans, size_t capacity, uint64_t now) {
    struct bans other = {.capacity = capacity, .seed = bans->seed};
    if (!other.seed &&
        uv_random(NULL, NULL, &other.seed, sizeof(other.seed), 0, NULL) < 0) {
        return UV_ENOMEM;
    }
    other.seed |= 1;
    other.slots = calloc(capacity, sizeof(*other.slots));
    if (!other.slots) {
        return UV_ENOMEM;
    }
    for (size_t i = 0; bans->slots && i < bans->capacity; i++) {
        const struct ban *ban = &bans->slots[i];
        if (ban->until > now) {
            *slot_of(&other, ban->bytes, ban->bits) = *ban;
            other.lengths[ban->bits]++;
            other.count++;
        }
    }
    free(bans->slots);
    *bans = other;
    return 0;
}

static int make_room(struct bans *bans, uint64_t now) {
    if (2 * (bans->count + 1) <= bans->capacity) {
        return 0;
    }
    size_t capacity = bans->capacity ? bans->capacity : FIRST_CAPACITY;
    int error = rebuild(bans, capacity, now);
    if (error == 0 && 4 * bans->count >= bans->capacity && capacity < 2 * BANS_MOST) {
        error = rebuild(bans, 2 * capacity, now);
    }
    if (error == 0 && 2 * (bans->count + 1) > bans->capacity) {
        error = UV_ENOSPC;
    }
    return error;
}

int bans_set(struct bans *bans, const struct network *network, uint64_t until,
             uint64_t now) {
    if (network->is_unix) {
        return UV_EINVAL;
    }
    uint8_t bytes[BYTES];
    memcpy(bytes, network->bytes, BYTES);
    network_mask(bytes, network->bits);
    struct ban *ban = bans->slots ? slot_of(bans, bytes, network->bits) : NULL;
    if (ban && ban->until != 0) {
        ban->until = until > now ? until : EXPIRED;
        return 0;
    }
    int error = until > now ? make_room(bans, now) : 0;
    if (error < 0 || until <= now) {
        return error;
    }
    ban = slot_of(bans, bytes, network->bits);
    memcpy(ban->bytes, bytes, BYTES);
    ban->bits = network->bits;
    ban->until = until;
    bans->lengths[ban->bits]++;
    bans->count++;
    return 0;
}

bool bans_has(const struct bans *bans, const struct sockaddr *address, uint64_t now) {
    uint8_t bytes[BYTES];
    if (bans->count == 0 || !network_bytes(address, bytes)) {
        return false;
    }
    for (int bits = BANS_LENGTHS - 1; bits >= 0; bits--) {
        if (bans->lengths[bits] > 0) {
            network_mask(bytes, (uint32_t)bits); /* they become shorter */
            if (slot_of(bans, bytes, (uint32_t)bits)->until > now) {
                return true;
            }
        }
    }
    return false;
}

void bans_clear(struct bans *bans) {
    free(bans->slots);
    *bans = (struct bans){0};
}
