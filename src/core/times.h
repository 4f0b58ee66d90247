/* times.h: how often something took how long: struct sync_times of sync.h.
 *
 * Four buckets for each doubling, so that a bucket is at most a quarter wide, of
 * microseconds up to some 30 seconds; what took longer is in the last.
 */
#pragma once

#include "sync.h"

static inline uint32_t times_bucket(uint64_t micros) {
    if (micros < 4) {
        return (uint32_t)micros;
    }
    uint32_t exponent = 63 - (uint32_t)__builtin_clzll(micros);
    uint32_t bucket = 4 * (exponent - 1) + (uint32_t)(micros >> (exponent - 2)) % 4;
    return bucket < SYNC_BUCKETS ? bucket : SYNC_BUCKETS - 1;
}

static inline void times_add(struct sync_times *times, uint64_t micros) {
    times->bucket[times_bucket(micros)]++;
}

/* The least number of microseconds that is in a later bucket. */
static inline double times_end(uint32_t bucket) {
    uint32_t next = bucket + 1;
    if (next <= 4) {
        return next;
    }
    uint32_t exponent = next / 4 + 1;
    return (double)((uint64_t)(4 + next % 4) << (exponent - 2));
}
