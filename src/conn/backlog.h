/* backlog.h: received bytes that wait: an unfinished message, or messages for which a
 * batch had no room. Knows no connection. */
#pragma once

#include "core/core.h"

/* All zeros is an empty one. */
struct backlog {
    char *block; /* from batch_block_new, or NULL */
    uint32_t start;
    uint32_t length;
    uint32_t capacity;
    uint32_t shown_tick; /* the tick in which events point into the block */
};

/* A place for `length` more bytes, or NULL when memory ran out; the caller adds what it
 * has written there to the backlog's length. */
char *backlog_claim(struct core *core, struct backlog *backlog, size_t length);

/* Returns 0, or -1 when memory ran out. */
int backlog_append(struct core *core, struct backlog *backlog, const char *bytes,
                   size_t length);

/* Takes off bytes that were used, and that events may point to. */
void backlog_consume(struct core *core, struct backlog *backlog, size_t length);

/* Gives the backlog's memory back, now or when no event points into it any more. */
void backlog_clear(struct core *core, struct backlog *backlog);
