/* text.c: bytes that a test collects. */
#include "text.h"

#include <stdlib.h>
#include <string.h>

void text_add(struct text *text, const char *bytes, size_t length) {
    if (!text->bytes || text->length + length > text->size) {
        text->size = 2 * (text->length + length) + 1;
        text->bytes = realloc(text->bytes, text->size);
        if (!text->bytes) {
            abort();
        }
    }
    if (length > 0) {
        memcpy(text->bytes + text->length, bytes, length);
    }
    text->length += length;
}

void text_clear(struct text *text) {
    free(text->bytes);
    *text = (struct text){0};
}
