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

/* Calls a loop's body with `number` for each one that is set in `words` words. */
#define BITS_EACH(number, set, words)                                                    \
    for (uint32_t word_ = 0; word_ < (words); word_++)                                   \
        for (uint64_t left_ = (set)[word_], number = 0;                                  \
             left_ && (number = word_ * 64 + (uint32_t)__builtin_ctzll(left_), true);    \
             left_ &= left_ - 1)
