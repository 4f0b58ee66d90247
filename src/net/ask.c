/* ask.c: asks the kernel for what lines want. */
#include "net/ask.h"

#ifdef SYNC_URING
static bool ask_for_bytes(struct uring *uring, struct line *line) {
    struct io_uring_sqe *entry = ring_entry(&lane_of(uring, line)->ring);
    if (!entry) {
        return false;
    }
    ring_receive(&lane_of(uring, line)->ring, entry, line->stream->fd);
    entry->user_data = line_name(line, OF_RECEIVE);
    line->receiving = true;
    return true;
}

/* A poll for once would end at once for a client that has ended its side; this one tells
 * of changes only. A reset is told of whatever is asked for. */
static bool ask_for_room(struct uring *uring, struct line *line) {
    struct io_uring_sqe *entry = ring_entry(&lane_of(uring, line)->ring);
    if (!entry) {
        return false;
    }
    io_uring_prep_poll_multishot(entry, line->stream->fd,
                                 line->stream->full ? POLLOUT : 0);
    entry->user_data = line_name(line, OF_ROOM);
    line->polling = true;
    line->rooming = line->stream->full;
    return true;
}

static bool cancel(struct uring *uring, const struct line *line, uint32_t kind) {
    struct io_uring_sqe *entry = ring_entry(&lane_of(uring, line)->ring);
    if (!entry) {
        return false;
    }
    io_uring_prep_cancel64(entry, line_name(line, kind), 0);
    entry->user_data = OF_NOTHING;
    entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
    return true;
}

/* Asks for bytes, or for none any more. Returns false when the kernel takes no more
 * entries now; and so do the others. */
static bool consider_bytes(struct uring *uring, struct line *line) {
    const struct stream *stream = line->stream;
    bool wants =
        !stream->closing && !stream->paused && !line->end && !line_has_bytes(line);
    if (wants && !line->receiving) {
        return ask_for_bytes(uring, line);
    }
    if ((stream->closing || stream->paused) && line->receiving && !line->cancelling) {
        line->cancelling = cancel(uring, line, OF_RECEIVE);
        return line->cancelling;
    }
    return true;
}

/* While it's paused nothing but a poll tells of a reset. That one stands until the end,
 * for who is paused once is paused often, and it costs nothing while nothing happens. */
static bool consider_room(struct uring *uring, struct line *line) {
    const struct stream *stream = line->stream;
    bool may_break = stream->paused && (!line->end || line->end == UV_EOF);
    bool wants = !stream->closing && (stream->full || may_break);
    bool stale = stream->closing || stream->full != line->rooming;
    if (wants && !line->polling) {
        return ask_for_room(uring, line);
    }
    if (line->polling && stale && !line->forgetting) {
        line->forgetting = cancel(uring, line, OF_ROOM);
        return line->forgetting;
    }
    return true;
}

static bool ask(struct uring *uring, struct line *line) {
    return consider_bytes(uring, line) && consider_room(uring, line);
}

static void ask_of(struct uring *uring, struct queue *queue, uint32_t *left) {
    while (queue->first && *left > 0) {
        struct line *line = queue->first;
        if (line->stream && !ask(uring, line)) {
            return;
        }
        queue->first = line->next_due;
        line->in_due = false;
        --*left;
    }
}

void ask_all(struct uring *uring) {
    uint32_t left = RING_BUFFERS * uring->lane_count;
    ask_of(uring, &uring->due, &left);
    ask_of(uring, &uring->due_late, &left);
}
#endif
