/* histogram.c: latencies in buckets whose width is 1/64 of their value, so that every
 * percentile is right to 1.6 %, from nanoseconds to minutes, in a fixed 32 KiB. */
#include <string.h>

#include "load.h"

enum { BITS = 6, SUB = 1 << BITS, BUCKETS = 64 * SUB };

static uint64_t counts[BUCKETS];
static uint64_t total;

static int bucket_of(uint64_t value) {
    if (value < SUB) {
        return (int)value;
    }
    int shift = 63 - __builtin_clzll(value) - BITS;
    return (shift + 1) * SUB + (int)((value >> shift) & (SUB - 1));
}

static double value_of(int bucket) {
    if (bucket < SUB) {
        return bucket;
    }
    int shift = bucket / SUB - 1;
    return (double)((uint64_t)(SUB + bucket % SUB) << shift);
}

void histogram_clear(void) {
    memset(counts, 0, sizeof(counts));
    total = 0;
}

void histogram_add(int64_t nanoseconds) {
    counts[bucket_of(nanoseconds > 0 ? (uint64_t)nanoseconds : 0)]++;
    total++;
}

uint64_t histogram_count(void) {
    return total;
}

double histogram_percentile(double percent) {
    double wanted = (double)total * percent / 100;
    uint64_t seen = 0;
    int last = 0;
    for (int i = 0; i < BUCKETS; i++) {
        if (counts[i] > 0) {
            seen += counts[i];
            last = i;
            if ((double)seen >= wanted) {
                break;
            }
        }
    }
    return value_of(last);
}
