/* bucket.h: how often something may be: a leaky bucket that holds `size` of them and
 * loses one every `interval`. `until` is when it will be empty; times are in
 * microseconds. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Counts one. Returns false when that would be too many. */
static inline bool bucket_take(uint64_t *until, uint64_t now, uint64_t interval,
                               uint64_t size) {
    uint64_t filled = (*until > now ? *until : now) + interval;
    if (filled - now > interval * size) {
        return false;
    }
    *until = filled;
    return true;
}
