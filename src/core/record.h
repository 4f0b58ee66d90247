/* record.h: bytes in which the next process is told what this one has: numbers with their
 * lowest byte first, and texts with their length before them. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zeros is an empty one. */
struct record {
    char *bytes; /* from malloc, or NULL */
    size_t length;
    size_t capacity;
    bool failed; /* memory ran out: what is in it is of no use */
};

void record_number(struct record *record, uint64_t value, unsigned bytes);
void record_bytes(struct record *record, const void *bytes, size_t length);

/* A place for so many bytes at the record's end, which count; NULL when memory ran out.
 */
char *record_claim(struct record *record, size_t length);
void record_clear(struct record *record);

/* Reads such bytes. What isn't there is 0 or empty, and sets `failed`. */
struct reading {
    const char *bytes; /* what is left */
    size_t length;
    bool failed;
};

uint64_t reading_number(struct reading *reading, unsigned bytes);
/* The bytes themselves, and how many. */
const char *reading_bytes(struct reading *reading, size_t *length);

/* The same of a number that may be at most so much. */
uint64_t reading_below(struct reading *reading, unsigned bytes, uint64_t most);
