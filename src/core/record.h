/* record.h: bytes in which the next process is told what this one has: numbers with their
 * lowest byte first, and texts with their length before them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zeros is an empty one, in memory of malloc. */
struct record {
    char *bytes; /* or NULL */
    size_t length;
    size_t capacity;
    bool failed;    /* memory ran out: what is in it is of no use */
    bool is_shared; /* set before the first byte: another process is to read it, so that
                     * it lies in a memory file, and growing copies nothing */
    int file;       /* that file's descriptor, once there are bytes */
};

/* Makes the file of a shared record as long as what is in it. Nothing can be added any
 * more. Returns the descriptor, which stays the record's, or an error code. */
int record_file(struct record *record);

void record_number(struct record *record, uint64_t value, unsigned bytes);
/* Writes a number over what is at a place of the record. */
void record_number_at(struct record *record, size_t at, uint64_t value, unsigned bytes);
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
