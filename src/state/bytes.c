/* bytes.c: bytes that are written one behind the other. */
#include "state/bytes.h"

#include <stdio.h>
#include <stdlib.h>

enum { FIRST = 256 };

bool bytes_grow(struct bytes *bytes, size_t more) {
    size_t capacity = bytes->capacity ? bytes->capacity : FIRST;
    while (capacity - bytes->length < more) {
        capacity *= 2;
    }
    char *at = realloc(bytes->at, capacity);
    if (!at) {
        bytes->failed = true;
        return false;
    }
    bytes->at = at;
    bytes->capacity = capacity;
    return true;
}

void bytes_free(struct bytes *bytes) {
    free(bytes->at);
    *bytes = (struct bytes){0};
}

void bytes_varint(struct bytes *bytes, uint64_t value) {
    if (bytes_room(bytes, VARINT_MOST)) {
        bytes->length =
            (size_t)(varint_write(bytes->at + bytes->length, value) - bytes->at);
    }
}

void bytes_little(struct bytes *bytes, uint64_t value, unsigned count) {
    if (bytes_room(bytes, count)) {
        for (unsigned i = 0; i < count; i++) {
            bytes->at[bytes->length++] = (char)(value >> (8 * i));
        }
    }
}

void bytes_text(struct bytes *bytes, const char *text) {
    bytes_put(bytes, text, strlen(text));
}

void bytes_json(struct bytes *bytes, const char *text, size_t length) {
    bytes_byte(bytes, '"');
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        char escaped[8];
        if (c == '"' || c == '\\') {
            bytes_byte(bytes, '\\');
            bytes_byte(bytes, c);
        } else if (c < 0x20 || c == 0x7F) {
            snprintf(escaped, sizeof(escaped), "\\u%04x", c);
            bytes_text(bytes, escaped);
        } else {
            bytes_byte(bytes, c);
        }
    }
    bytes_byte(bytes, '"');
}

void bytes_number(struct bytes *bytes, double value, int least, int most, bool is_float) {
    char text[40];
    for (int digits = least; digits <= most; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (is_float ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value) {
            break;
        }
    }
    bytes_text(bytes, text);
}
