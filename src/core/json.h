/* json.h: what the reader and the writer of JSON share: a pile of memory each. Pure. */
#pragma once

#include <locale.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sync.h"

enum { JSON_MOST_DEPTH = 64, JSON_KEPT = 1 << 20 };

struct json {
    struct sync_json shown; /* first: what a program sees of it */
    struct sync_json_token *tokens;
    size_t token_room;
    char *strings; /* those that had escapes */
    size_t string_room;
    char *text;
    size_t text_room;
    bool failed;     /* no memory for the text */
    locale_t locale; /* "C": a program's own may write a comma for the point */
};

static inline struct json *json_of(struct sync_json *json) {
    return (struct json *)json;
}
