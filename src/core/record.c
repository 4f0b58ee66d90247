/* record.c: bytes in which the next process is told what this one has. */
#include "core/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FIRST_SIZE = 256, FILE_STEP = 1 << 20, LENGTH_BYTES = 4 };

/* Pages that are there already cost a third of those that come one by one. */
static void populate(char *bytes, size_t length) {
#ifdef MADV_POPULATE_WRITE
    madvise(bytes, length,
            MADV_POPULATE_WRITE); /* since Linux 5.14; or they come one by one */
#else
    (void)bytes;
    (void)length;
#endif
}

/* The bytes in the record's memory file, which is made for the first ones. */
static char *map(struct record *record, size_t capacity) {
    int file = record->bytes ? record->file : memfd_create("sync-record", MFD_CLOEXEC);
    void *bytes = MAP_FAILED;
    if (file >= 0 && ftruncate(file, (off_t)capacity) == 0) {
        bytes = record->bytes
                    ? mremap(record->bytes, record->capacity, capacity, MREMAP_MAYMOVE)
                    : mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    }
    if (bytes == MAP_FAILED) {
        if (file >= 0 && !record->bytes) {
            close(file);
        }
        return NULL;
    }
    record->file = file;
    populate((char *)bytes + record->capacity, capacity - record->capacity);
    return bytes;
}

/* Room for so many bytes in all: whole steps of a file, or twice as much as there was. */
static size_t capacity_for(const struct record *record, size_t total) {
    if (record->is_shared) {
        return (total + FILE_STEP - 1) / FILE_STEP * FILE_STEP;
    }
    size_t capacity = record->capacity ? record->capacity : FIRST_SIZE;
    while (capacity < total) {
        capacity *= 2;
    }
    return capacity;
}

static bool grow(struct record *record, size_t total) {
    if (record->failed) {
        return false;
    }
    size_t capacity = capacity_for(record, total);
    char *grown =
        record->is_shared ? map(record, capacity) : realloc(record->bytes, capacity);
    if (!grown) {
        record->failed = true;
        return false;
    }
    record->bytes = grown;
    record->capacity = capacity;
    return true;
}

char *record_claim(struct record *record, size_t length) {
    size_t total = record->length + length;
    if (total > record->capacity && !grow(record, total)) {
        return NULL;
    }
    char *place = record->bytes + record->length;
    record->length = total;
    return place;
}

static void write_number(char *place, uint64_t value, unsigned bytes) {
    for (unsigned i = 0; place && i < bytes; i++) {
        place[i] = (char)(value >> 8 * i);
    }
}

void record_number(struct record *record, uint64_t value, unsigned bytes) {
    write_number(record_claim(record, bytes), value, bytes);
}

void record_number_at(struct record *record, size_t at, uint64_t value, unsigned bytes) {
    if (!record->failed) {
        write_number(record->bytes + at, value, bytes);
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

int record_file(struct record *record) {
    if (!record->bytes && !grow(record, 1)) {
        return -ENOMEM;
    }
    return ftruncate(record->file, (off_t)record->length) < 0 ? -errno : record->file;
}

void record_clear(struct record *record) {
    if (record->is_shared && record->bytes) {
        munmap(record->bytes, record->capacity);
        close(record->file);
    } else {
        free(record->bytes);
    }
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
