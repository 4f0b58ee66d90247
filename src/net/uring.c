/* uring.c: receives and sends by an io_uring: one system call a tick for all sockets.
 *
 * Receiving is asked for once, and goes on by itself into the ring's buffers, at most
 * RING_CLIENT_MOST; it's asked for again when all is read. When buffers run out, who got
 * none is first to be asked for again.
 */
#include "net/backends.h"

#ifdef SYNC_URING
#include <stdlib.h>

#include "net/ask.h"
#include "net/doze.h"
#include "net/flight.h"
#include "net/intake.h"

static void complete(struct uring *uring, const struct io_uring_cqe *completion) {
    uint32_t kind = completion->user_data & NAME_KIND;
    if (kind == OF_NOTHING) {
        return;
    }
    if (kind == OF_LOOP) {
        doze_ended(uring);
        return;
    }
    /* Its line is in use until this, the last of what it has asked for, is over. */
    struct line *line = line_at(uring, (int)(uint32_t)(completion->user_data >> 3));
    switch (kind) {
    case OF_RECEIVE: intake_received(uring, line, completion); break;
    case OF_ROOM: intake_room(uring, line, completion); break;
    default: flight_failed(line, completion->res); break;
    }
}

static void reap(struct uring *uring) {
    struct io_uring_cqe *completion;
    unsigned head;
    unsigned count = 0;
    io_uring_for_each_cqe(&uring->ring.uring, head, completion) {
        complete(uring, completion);
        count++;
    }
    io_uring_cq_advance(&uring->ring.uring, count);
}

static bool wait_in_ring(struct poller *poller, bool block) {
    struct uring *uring = uring_of(poller);
    uring->outside = false;
    intake_end_tick(uring);
    ask_all(uring);
    doze(uring, block);
    reap(uring);
    flight_land(uring);
    doze_run_loop(uring);
    intake_tell(uring);
    return uv_loop_alive(poller->loop);
}

static void push(struct poller *poller) {
    struct uring *uring = uring_of(poller);
    uring->outside = true;
    if (uring->flown.first || uring->due.first || uring->due_late.first) {
        ask_all(uring);
        ring_wait(&uring->ring, 0);
        uring->pushed = true;
        reap(uring);
        flight_land(uring);
    }
}

static void hurry(struct poller *poller) {
    uring_of(poller)->hurries = true;
}

static int add(struct poller *poller, struct stream *stream) {
    struct uring *uring = uring_of(poller);
    int error = line_make(uring, stream->fd);
    if (error < 0) {
        return error;
    }
    struct line *line = line_at(uring, stream->fd);
    line->fd = stream->fd;
    line->stream = stream;
    line->end = 0;
    line->fed = 0;
    line->has_room = false;
    line->broken = false;
    if (uring->open++ == 0) {
        uv_ref(&poller->handle);
    }
    line_reconsider(uring, line);
    return 0;
}

static void watch(struct poller *poller, struct stream *stream) {
    struct uring *uring = uring_of(poller);
    struct line *line = line_at(uring, stream->fd);
    if (!stream->paused && (line_has_bytes(line) || line->end)) {
        line_wait_to_tell(uring, line);
    }
    line_reconsider(uring, line);
}

static ssize_t read_line(struct poller *poller, struct stream *stream, char **bytes,
                         size_t size) {
    struct uring *uring = uring_of(poller);
    return intake_read(uring, line_at(uring, stream->fd), bytes, size);
}

static bool send_later(struct poller *poller, struct stream *stream,
                       const struct iovec *pieces, int count) {
    struct uring *uring = uring_of(poller);
    return flight_send(uring, line_at(uring, stream->fd), pieces, count);
}

/* Completions that aren't reaped yet may have brought bytes: the kernel is asked for none
 * in between, but may write by itself where it doesn't defer that. */
static void trim(struct poller *poller) {
    struct uring *uring = uring_of(poller);
    intake_end_tick(uring);
    if (uring->ring.defers && io_uring_cq_ready(&uring->ring.uring) == 0) {
        ring_trim(&uring->ring);
    }
}

static void remove_stream(struct poller *poller, struct stream *stream) {
    struct uring *uring = uring_of(poller);
    struct line *line = line_at(uring, stream->fd);
    if (stream->flying) {
        ring_submit(&uring->ring); /* as all that sync_flush has written */
    }
    stream->closing = true;
    intake_drop(uring, line);
    line_close_if_over(uring, line);
    if (uring->outside) {
        push(poller); /* who knows when the next tick is */
    }
}

static int open_ring(struct poller *poller) {
    bool limits;
    struct uring *uring = ring_problem(&limits) ? NULL : calloc(1, sizeof(*uring));
    if (!uring) {
        return UV_ENOTSUP;
    }
    uring->poller = poller;
    int error = ring_open(&uring->ring, limits);
    if (error < 0) {
        free(uring);
        return error;
    }
    error = doze_open(uring);
    if (error < 0) {
        ring_close(&uring->ring);
        free(uring);
        return error;
    }
    uring->tick = 1;
    uring->outside = true;
    poller->state = uring;
    return 0;
}

static void close_ring(struct poller *poller) {
    struct uring *uring = uring_of(poller);
    intake_end_tick(uring);
    doze_close(uring);
    ring_close(&uring->ring);
    line_free_all(uring);
    free(uring);
}

static const char *problem(void) {
    bool limits;
    return ring_problem(&limits);
}

const struct backend uring_backend = {.name = "uring",
                                      .problem = problem,
                                      .open = open_ring,
                                      .close = close_ring,
                                      .add = add,
                                      .watch = watch,
                                      .read = read_line,
                                      .send = send_later,
                                      .push = push,
                                      .hurry = hurry,
                                      .trim = trim,
                                      .remove = remove_stream,
                                      .wait = wait_in_ring};
#endif
