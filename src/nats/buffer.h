/* buffer.h: bytes that wait, and the numbers that frames are made of. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BUFFER_FIRST = 64 * 1024, /* bytes that one has room for at first */
    BUFFER_KEPT = 1024 * 1024 /* one that had to be larger is given back when empty */
};

struct buffer {
    char *bytes;
    size_t used, capacity;
};

/* Makes room for so many bytes more. */
bool buffer_reserve(struct buffer *buffer, size_t more);

/* Appends bytes that room was made for. */
void buffer_put(struct buffer *buffer, const void *bytes, size_t length);

/* Empties it; what a burst needed is given back. */
void buffer_clear(struct buffer *buffer);

/* Big-endian, four bytes. */
void put32(char *at, uint32_t value);
uint32_t get32(const char *at);
