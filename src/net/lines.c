/* lines.c: what is known of each descriptor that io_uring serves. */
#include "net/lines.h"

#ifdef SYNC_URING
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void line_wait_to_tell(struct uring *uring, struct line *line) {
    if (!line->in_waiting) {
        line->in_waiting = true;
        PUSH(&uring->waiting, line, next_waiting);
    }
}

void line_reconsider(struct uring *uring, struct line *line) {
    if (!line->in_due) {
        struct queue *due = line->fed == uring->tick ? &uring->due_late : &uring->due;
        line->in_due = true;
        PUSH(due, line, next_due);
    }
}

void line_spend(struct uring *uring, struct kept *kept) {
    if (kept) {
        kept->next = uring->spent;
        uring->spent = kept;
    }
}

void line_close_if_over(struct uring *uring, struct line *line) {
    if (line->receiving || line->polling || line->flying) {
        line_reconsider(uring, line);
        return;
    }
    close(line->stream->fd);
    lane_of(uring, line)->lines--;
    line->stream->closing = false;
    line->stream = NULL;
    line->generation++;
    if (--uring->open == 0) {
        uv_unref(&uring->poller->handle);
    }
}

int line_make(struct uring *uring, int fd) {
    size_t count = (size_t)fd / LINES_CHUNK + 1;
    if (count > uring->chunk_count) {
        struct line **chunks = realloc(uring->chunks, count * sizeof(struct line *));
        if (!chunks) {
            return UV_ENOMEM;
        }
        memset(chunks + uring->chunk_count, 0,
               (count - uring->chunk_count) * sizeof(struct line *));
        uring->chunks = chunks;
        uring->chunk_count = count;
    }
    struct line **chunk = &uring->chunks[fd / LINES_CHUNK];
    *chunk = *chunk ? *chunk : calloc(LINES_CHUNK, sizeof(struct line));
    return *chunk ? 0 : UV_ENOMEM;
}

void line_free_all(struct uring *uring) {
    for (size_t i = 0; i < uring->chunk_count; i++) {
        free(uring->chunks[i]);
    }
    free(uring->chunks);
}
#endif
