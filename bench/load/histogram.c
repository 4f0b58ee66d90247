/* histogram.c: latencies in buckets whose width is 1/64 of their value, each read as its
 * middle, so that every percentile is right to 0.8 %, from nanoseconds to centuries, in a
 * fixed 32 KiB. The greatest is kept as it is. */
#include <string.h>

#include "load.h"

enum { BITS = 6, SUB = 1 << BITS, BUCKETS = 64 * SUB };

static uint64_t counts[BUCKETS];
static uint64_t total, greatest;

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
    return ((double)(SUB + bucket % SUB) + 0.5) * (double)((uint64_t)1 << shift) - 0.5;
}

void histogram_clear(void) {
    memset(counts, 0, sizeof(counts));
    total = 0;
    greatest = 0;
}

void histogram_add(int64_t nanoseconds) {
    uint64_t value = nanoseconds > 0 ? (uint64_t)nanoseconds : 0;
    counts[bucket_of(value)]++;
    greatest = value > greatest ? value : greatest;
    total++;
}

uint64_t histogram_count(void) {
    return total;
}

double histogram_percentile(double percent) {
    double wanted = (double)total * percent / 100;
    uint64_t seen = 0;
    for (int i = 0; i < BUCKETS; i++) {
        seen += counts[i];
        if (counts[i] > 0 && (double)seen >= wanted && seen < total) {
            double value = value_of(i);
            return value < (double)greatest ? value : (double)greatest;
        }
    }
    return (double)greatest;
}
