/* bits.h: sets of entities' numbers, a bit each. A set that is NULL is empty. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

static inline bool bit_is(const uint64_t *set, uint32_t number) {
    return set && (set[number / 64] >> (number % 64) & 1);
}

static inline void bit_set(uint64_t *set, uint32_t number) {
    set[number / 64] |= 1ULL << (number % 64);
}

static inline void bit_clear(uint64_t *set, uint32_t number) {
    if (set) {
        set[number / 64] &= ~(1ULL << (number % 64));
    }
}

enum { BITS_END = UINT32_MAX };

/* The first number from one on that is in a set of so many words; BITS_END: none.
 *
 *     for (uint32_t n = bits_next(set, words, 0); n != BITS_END;
 *          n = bits_next(set, words, n + 1)) */
static inline uint32_t bits_next(const uint64_t *set, uint32_t words, uint32_t from) {
    uint32_t word = from / 64;
    uint64_t left = word < words ? set[word] & UINT64_MAX << (from % 64) : 0;
    while (left == 0) {
        if (++word >= words) {
            return BITS_END;
        }
        left = set[word];
    }
    return word * 64 + (uint32_t)__builtin_ctzll(left);
}
