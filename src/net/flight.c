/* flight.c: gathered sends. */
#include "net/flight.h"

#ifdef SYNC_URING
bool flight_send(struct uring *uring, struct line *line, const struct iovec *pieces,
                 int count) {
    struct io_uring_sqe *entry = ring_entry(&uring->ring);
    if (!entry) {
        return false;
    }
    if (count > RING_PIECES) {
        count = RING_PIECES;
        uring->hurries = true; /* for the rest */
    }
    ring_send(&uring->ring, entry, line->fd, pieces, count);
    entry->user_data = line_name(line, OF_SEND);
    for (int i = 0; i < count; i++) {
        line->flying += (uint32_t)pieces[i].iov_len;
    }
    line->landed = (int32_t)line->flying; /* unless a completion says otherwise */
    line->stream->flying = true;
    PUSH(&uring->flown, line, next_flown);
    return true;
}

void flight_land(struct uring *uring) {
    struct line *line = uring->flown.first;
    if (io_uring_sq_ready(&uring->ring.uring) > 0) {
        uring->hurries = true; /* the kernel took only a part */
        return;
    }
    uring->flown = (struct queue){0};
    while (line) {
        struct line *next = line->next_flown;
        line->flying = 0;
        line->stream->flying = false;
        if (line_is_closing(line)) {
            line_close_if_over(uring, line);
        } else {
            uring->poller->sent(line->stream, line->landed);
        }
        line = next;
    }
}
#endif
