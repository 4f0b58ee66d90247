/* record.c: bytes in which the next process is told what this one has. */
#include "core/record.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SIZE = 256, LENGTH_BYTES = 4 };

char *record_claim(struct record *record, size_t length) {
    size_t total = record->length + length;
    if (total > record->capacity) {
        size_t capacity = record->capacity ? record->capacity : FIRST_SIZE;
        while (capacity < total) {
            capacity *= 2;
        }
        char *grown = record->failed ? NULL : realloc(record->bytes, capacity);
        if (!grown) {
            record->failed = true;
            return NULL;
        }
        record->bytes = grown;
        record->capacity = capacity;
    }
    char *place = record->bytes + record->length;
    record->length = total;
    return place;
}

void record_number(struct record *record, uint64_t value, unsigned bytes) {
    char *place = record_claim(record, bytes);
    for (unsigned i = 0; place && i < bytes; i++) {
        place[i] = (char)(value >> 8 * i);
    }
}

void record_bytes(struct record *record, const void *bytes, size_t length) {
    if (length > UINT32_MAX) {
        record->failed = true;
        return;
    }
    record_number(record, length, LENGTH_BYTES);
    char *place = record_claim(record, length);
    if (place && length > 0) {
        memcpy(place, bytes, length);
    }
}

void record_clear(struct record *record) {
    free(record->bytes);
    *record = (struct record){0};
}

static const char *skip(struct reading *reading, size_t length) {
    if (length > reading->length) {
        reading->failed = true;
        reading->length = 0;
        return NULL;
    }
    const char *place = reading->bytes;
    reading->bytes += length;
    reading->length -= length;
    return place;
}

uint64_t reading_number(struct reading *reading, unsigned bytes) {
    const char *place = skip(reading, bytes);
    uint64_t value = 0;
    for (unsigned i = 0; place && i < bytes; i++) {
        value |= (uint64_t)(unsigned char)place[i] << 8 * i;
    }
    return value;
}

uint64_t reading_below(struct reading *reading, unsigned bytes, uint64_t most) {
    uint64_t value = reading_number(reading, bytes);
    if (value > most) {
        reading->failed = true;
        return 0;
    }
    return value;
}

const char *reading_bytes(struct reading *reading, size_t *length) {
    size_t told = reading_number(reading, LENGTH_BYTES);
    const char *place = skip(reading, told);
    *length = place ? told : 0;
    return place ? place : "";
}
