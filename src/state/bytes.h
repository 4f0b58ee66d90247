/* bytes.h: bytes that are written one behind the other.
 *
 * When memory runs out, `failed` is set, and what is written from then on is lost: who
 * has written much looks once, at the end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    char *at;
    size_t length;
    size_t capacity;
    bool failed;
};

enum { VARINT_MOST = 8 /* bytes: 2^53 - 1 */ };

/* Makes room for `more` bytes. Returns false when there is none. */
bool bytes_grow(struct bytes *bytes, size_t more);
void bytes_free(struct bytes *bytes);

static inline bool bytes_room(struct bytes *bytes, size_t more) {
    return bytes->capacity - bytes->length >= more || bytes_grow(bytes, more);
}

static inline void bytes_put(struct bytes *bytes, const char *from, size_t length) {
    if (length > 0 && bytes_room(bytes, length)) {
        memcpy(bytes->at + bytes->length, from, length);
        bytes->length += length;
    }
}

static inline void bytes_byte(struct bytes *bytes, unsigned value) {
    if (bytes_room(bytes, 1)) {
        bytes->at[bytes->length++] = (char)value;
    }
}

/* Writes a varint where there is room for VARINT_MOST bytes, and returns what is behind.
 */
static inline char *varint_write(char *at, uint64_t value) {
    while (value >= 128) {
        *at++ = (char)(value | 128);
        value >>= 7;
    }
    *at++ = (char)value;
    return at;
}

void bytes_varint(struct bytes *bytes, uint64_t value);
/* The `count` least significant bytes of a number, least significant first. */
void bytes_little(struct bytes *bytes, uint64_t value, unsigned count);
void bytes_text(struct bytes *bytes, const char *text);

/* JSON: a string, its quotes included; a number with as few digits, from `least` to
 * `most`, as say it exactly. */
void bytes_json(struct bytes *bytes, const char *text, size_t length);
void bytes_number(struct bytes *bytes, double value, int least, int most, bool is_float);

static inline uint64_t zigzag(int64_t value) {
    return value >= 0 ? (uint64_t)value << 1 : ((uint64_t)(-(value + 1)) << 1) + 1;
}

static inline int64_t unzigzag(uint64_t value) {
    return value & 1 ? -(int64_t)(value >> 1) - 1 : (int64_t)(value >> 1);
}
