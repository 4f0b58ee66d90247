/* buffer.c: see buffer.h. */
#include "buffer.h"

#include <stdlib.h>
#include <string.h>

void put32(char *at, uint32_t value) {
    for (int i = 0; i < 4; i++) {
        at[i] = (char)(value >> (24 - 8 * i));
    }
}

uint32_t get32(const char *at) {
    const unsigned char *bytes = (const unsigned char *)at;
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
           bytes[3];
}

bool buffer_reserve(struct buffer *buffer, size_t more) {
    size_t wanted = buffer->used + more;
    if (wanted <= buffer->capacity) {
        return true;
    }
    size_t capacity = buffer->capacity ? buffer->capacity : BUFFER_FIRST;
    while (capacity < wanted) {
        capacity *= 2;
    }
    char *bytes = realloc(buffer->bytes, capacity);
    if (!bytes) {
        return false;
    }
    buffer->bytes = bytes;
    buffer->capacity = capacity;
    return true;
}

void buffer_put(struct buffer *buffer, const void *bytes, size_t length) {
    if (length > 0) {
        memcpy(buffer->bytes + buffer->used, bytes, length);
        buffer->used += length;
    }
}

void buffer_clear(struct buffer *buffer) {
    buffer->used = 0;
    if (buffer->capacity > BUFFER_KEPT) {
        free(buffer->bytes);
        *buffer = (struct buffer){0};
    }
}
