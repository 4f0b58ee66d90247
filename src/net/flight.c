/* flight.c: gathered sends. */
#include "net/flight.h"

#ifdef SYNC_URING
bool flight_send(struct uring *uring, struct line *line, const struct iovec *pieces,
                 int count) {
    struct lane *lane = lane_of(uring, line);
    struct io_uring_sqe *entry = ring_entry(&lane->ring);
    if (!entry) {
        return false;
    }
    if (count > RING_PIECES) {
        count = RING_PIECES;
        uring->hurries |= !uring->threaded; /* for the rest; a mark wakes by itself */
    }
    ring_send(&lane->ring, entry, line->stream->fd, pieces, count);
    entry->user_data = line_name(line, OF_SEND);
    for (int i = 0; i < count; i++) {
        line->flying += (uint32_t)pieces[i].iov_len;
    }
    line->landed = (int32_t)line->flying; /* unless a completion says otherwise */
    line->stream->flying = true;
    PUSH(&lane->flown, line, next_flown);
    return true;
}

static void mark(struct uring *uring, struct lane *lane) {
    if (!lane->flown.first || lane->marked.first) {
        return;
    }
    struct io_uring_sqe *entry = ring_entry(&lane->ring);
    if (!entry) {
        uring->hurries = true;
        return;
    }
    ring_mark(entry);
    entry->user_data = (uint64_t)(lane - uring->lanes) << 3 | OF_MARK;
    lane->marked = lane->flown;
    lane->flown = (struct queue){0};
}

void flight_start(struct uring *uring) {
    for (uint32_t i = 0; i < uring->lane_count; i++) {
        mark(uring, &uring->lanes[i]);
        ring_submit(&uring->lanes[i].ring);
    }
}

/* Takes those out of a lane whose sends are over. */
static struct line *take_over(struct uring *uring, struct lane *lane) {
    struct queue *queue = uring->threaded ? &lane->marked : &lane->flown;
    struct line *line = queue->first;
    if (uring->threaded && !lane->passed) {
        return NULL;
    }
    if (!uring->threaded && io_uring_sq_ready(&lane->ring.uring) > 0) {
        uring->hurries = true; /* the kernel took only a part */
        return NULL;
    }
    lane->passed = false;
    *queue = (struct queue){0};
    return line;
}

static void land_one(struct uring *uring, struct line *line) {
    line->flying = 0;
    line->stream->flying = false;
    if (line_is_closing(line)) {
        line_close_if_over(uring, line);
    } else {
        uring->poller->sent(line->stream, line->landed);
    }
}

void flight_land(struct uring *uring) {
    for (uint32_t i = 0; i < uring->lane_count; i++) {
        struct line *line = take_over(uring, &uring->lanes[i]);
        while (line) {
            struct line *next = line->next_flown;
            land_one(uring, line);
            line = next;
        }
    }
}
#endif
