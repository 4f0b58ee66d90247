/* intake.c: what has come for lines. */
#include "net/intake.h"

#ifdef SYNC_URING
#include <stdlib.h>
#include <string.h>

static void add_bytes(struct uring *uring, struct line *line, char *bytes,
                      uint32_t length) {
    if (line->last && line->last->bytes + line->last->length == bytes) {
        line->last->length += length;
        return;
    }
    struct lane *lane = lane_of(uring, line);
    struct run *run = &lane->runs[(bytes - lane->ring.buffers) / RING_BUFFER];
    *run = (struct run){.bytes = bytes, .length = length};
    if (line->last) {
        line->last->next = run;
    } else {
        line->first = run;
    }
    line->last = run;
}

/* Receiving is over, for now or for good. */
static void received_last(struct uring *uring, struct line *line, int32_t result) {
    line->receiving = false;
    line->cancelling = false;
    if (line_is_closing(line)) {
        line_close_if_over(uring, line);
    } else if (result == 0) {
        line->end = UV_EOF;
    } else if (result < 0 && result != -ECANCELED && result != -ENOBUFS &&
               result != -EINTR && result != -EAGAIN) {
        line->end = result;
    }
    if (line->stream && !line->end) {
        line_reconsider(uring, line);
    }
}

void intake_received(struct uring *uring, struct line *line,
                     const struct io_uring_cqe *completion) {
    char *bytes = NULL;
    if (completion->flags & IORING_CQE_F_BUFFER) {
        bytes = ring_take(&lane_of(uring, line)->ring, completion);
    }
    if (completion->res > 0 && bytes) {
        line->fed = uring->tick;
        if (!line_is_closing(line)) {
            add_bytes(uring, line, bytes, (uint32_t)completion->res);
        }
    }
    if (!(completion->flags & IORING_CQE_F_MORE)) {
        received_last(uring, line, completion->res);
    }
    if (line->stream && (line_has_bytes(line) || line->end)) {
        line_wait_to_tell(uring, line);
    }
}

void intake_room(struct uring *uring, struct line *line,
                 const struct io_uring_cqe *completion) {
    bool over = !(completion->flags & IORING_CQE_F_MORE);
    if (over) {
        line->polling = false;
        line->forgetting = false;
    }
    if (line_is_closing(line)) {
        line_close_if_over(uring, line);
        return;
    }
    if (line->stream->paused && completion->res > 0 &&
        completion->res & (POLLERR | POLLHUP)) {
        line->broken = true;
        line_wait_to_tell(uring, line);
    }
    if (line->stream->full && completion->res > 0 &&
        completion->res & (POLLOUT | POLLERR | POLLHUP)) {
        line->has_room = true;
        line_wait_to_tell(uring, line);
    }
    if (over && (line->stream->full || line->stream->paused)) {
        line_reconsider(uring, line);
    }
}

/* Copies what lies in the ring's buffers, which are given back when the tick ends. */
static void keep(struct uring *uring, struct line *line) {
    uint32_t length = line->kept ? line->kept->length : 0;
    for (struct run *run = line->first; run; run = run->next) {
        length += run->length;
    }
    struct kept *kept = malloc(sizeof(*kept) + length);
    if (kept) {
        *kept = (struct kept){.length = length};
        char *place = kept->bytes;
        if (line->kept) {
            memcpy(place, line->kept->bytes + line->kept->start, line->kept->length);
            place += line->kept->length;
        }
        for (struct run *run = line->first; run; run = run->next) {
            memcpy(place, run->bytes, run->length);
            place += run->length;
        }
    } else {
        line->end = UV_ENOMEM;
    }
    line_spend(uring, line->kept);
    line->kept = kept;
    line->first = NULL;
    line->last = NULL;
}

/* Tells of one line. Returns whether there's more to tell of in this tick. */
static bool tell_one(struct uring *uring, struct line *line) {
    struct stream *stream = line->stream;
    bool readable = !stream->paused && (line_has_bytes(line) || line->end);
    bool reset = line->end && line->end != UV_EOF;
    uint32_t events =
        (readable ? (uint32_t)POLLIN : 0) | (line->has_room ? (uint32_t)POLLOUT : 0) |
        (reset || (line->broken && stream->paused) ? (uint32_t)(POLLERR | POLLHUP) : 0);
    line->has_room = false;
    line->broken = false;
    uring->progress = false;
    if (events) {
        uring->poller->ready(stream, events);
    }
    return uring->progress && line->stream && !line_is_closing(line) && !stream->paused &&
           line_has_bytes(line);
}

void intake_tell(struct uring *uring) {
    struct queue later = {0};
    while (uring->waiting.first) {
        struct line *line = uring->waiting.first;
        uring->waiting.first = line->next_waiting;
        line->in_waiting = false;
        if (!line->stream || line_is_closing(line)) {
            continue;
        }
        if (tell_one(uring, line)) {
            line_wait_to_tell(uring, line);
        } else if (line->stream && !line_is_closing(line) && !line->in_waiting) {
            if (line->first) {
                keep(uring, line);
            }
            if (!line->stream->paused && (line_has_bytes(line) || line->end)) {
                line->in_waiting = true;
                PUSH(&later, line, next_waiting);
            }
        }
    }
    uring->waiting = later;
}

ssize_t intake_read(struct uring *uring, struct line *line, char **bytes, size_t size) {
    uint32_t length;
    if (line->kept) {
        struct kept *kept = line->kept;
        length = kept->length < size ? kept->length : (uint32_t)size;
        *bytes = kept->bytes + kept->start;
        kept->start += length;
        kept->length -= length;
        if (kept->length == 0) {
            line_spend(uring, kept);
            line->kept = NULL;
        }
    } else if (line->first) {
        struct run *run = line->first;
        length = run->length < size ? run->length : (uint32_t)size;
        *bytes = run->bytes;
        run->bytes += length;
        run->length -= length;
        if (run->length == 0) {
            line->first = run->next;
            line->last = run->next ? line->last : NULL;
        }
    } else {
        return line->end ? line->end : UV_EAGAIN;
    }
    uring->progress = true;
    if (!line->receiving && !line_has_bytes(line)) {
        line_reconsider(uring, line);
    }
    return length;
}

void intake_drop(struct uring *uring, struct line *line) {
    line_spend(uring, line->kept);
    line->kept = NULL;
    line->first = NULL;
    line->last = NULL;
}

void intake_end_tick(struct uring *uring) {
    for (struct line *line = uring->waiting.first; line && uring->pushed;
         line = line->next_waiting) {
        if (line->first) {
            keep(uring, line); /* it came between two ticks */
        }
    }
    uring->pushed = false;
    uring->tick++;
    while (uring->spent) {
        struct kept *next = uring->spent->next;
        free(uring->spent);
        uring->spent = next;
    }
    for (uint32_t i = 0; i < uring->lane_count; i++) {
        ring_give_back(&uring->lanes[i].ring);
    }
}
#endif
