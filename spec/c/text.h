/* text.h: bytes that a test collects. A zeroed struct is an empty text. */
#pragma once

#include <stddef.h>

struct text {
    char *bytes;
    size_t length;
    size_t size; /* of what bytes points to */
};

/* Adds bytes to the end. Ends the program when memory runs out. */
void text_add(struct text *text, const char *bytes, size_t length);
void text_clear(struct text *text);
