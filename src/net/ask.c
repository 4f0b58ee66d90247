/* ask.c: asks the kernel for what lines want. */
#include "net/ask.h"

#ifdef SYNC_URING
static bool ask_for_bytes(struct uring *uring, struct line *line) {
    struct io_uring_sqe *entry = ring_entry(&lane_of(uring, line)->ring);
    if (!entry) {
        return false;
    }
    ring_receive(&lane_of(uring, line)->ring, entry, line->fd);
    entry->user_data = line_name(line, OF_RECEIVE);
    line->receiving = true;
    return true;
}

/* A poll for once would end at once for a client that has ended its side; this one tells
 * of changes only. */
static bool ask_for_room(struct uring *uring, struct line *line) {
    struct io_uring_sqe *entry = ring_entry(&lane_of(uring, line)->ring);
    if (!entry) {
        return false;
    }
    io_uring_prep_poll_multishot(entry, line->fd, POLLOUT);
    entry->user_data = line_name(line, OF_ROOM);
    line->rooming = true;
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

/* Asks for what a line wants, and cancels what it doesn't. Returns false when the kernel
 * takes no more entries now. */
static bool ask(struct uring *uring, struct line *line) {
    const struct stream *stream = line->stream;
    bool closing = stream->closing;
    bool wants_bytes = !closing && !stream->paused && !line->end && !line_has_bytes(line);
    /* A poll tells of a reset, too, which nothing else does while it's paused. */
    bool wants_room = !closing && (stream->full || (stream->paused && !line->end));
    bool asked = true;
    if (wants_bytes && !line->receiving) {
        asked &= ask_for_bytes(uring, line);
    } else if ((closing || stream->paused) && line->receiving && !line->cancelling) {
        line->cancelling = cancel(uring, line, OF_RECEIVE);
        asked &= line->cancelling;
    }
    if (wants_room && !line->rooming) {
        asked &= ask_for_room(uring, line);
    } else if (!wants_room && line->rooming && !line->forgetting) {
        line->forgetting = cancel(uring, line, OF_ROOM);
        asked &= line->forgetting;
    }
    return asked;
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
