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
#include "net/lanes.h"

static void complete(struct uring *uring, const struct io_uring_cqe *completion) {
    uint32_t kind = completion->user_data & NAME_KIND;
    uint32_t number = (uint32_t)(completion->user_data >> 3);
    switch (kind) {
    case OF_NOTHING: return;
    case OF_LOOP: doze_ended(uring); return;
    case OF_LANE: uring->lanes[number].polled = false; return;
    case OF_MARK: flight_passed(&uring->lanes[number]); return;
    default: break;
    }
    /* Its line is in use until this, the last of what it has asked for, is over. */
    struct line *line = line_at(uring, (int)number);
    switch (kind) {
    case OF_RECEIVE: intake_received(uring, line, completion); break;
    case OF_ROOM: intake_room(uring, line, completion); break;
    default: flight_failed(line, completion->res); break;
    }
}

static void reap_ring(struct uring *uring, struct ring *ring) {
    struct io_uring_cqe *completion;
    unsigned head;
    unsigned count = 0;
    io_uring_for_each_cqe(&ring->uring, head, completion) {
        complete(uring, completion);
        count++;
    }
    io_uring_cq_advance(&ring->uring, count);
}

static void reap(struct uring *uring) {
    if (uring->threaded) {
        reap_ring(uring, uring->home);
    }
    for (uint32_t i = 0; i < uring->lane_count; i++) {
        if (uring->threaded) {
            ring_get(
                &uring->lanes[i].ring); /* what its completion queue had no room for */
        }
        reap_ring(uring, &uring->lanes[i].ring);
    }
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

static bool has_flown(const struct uring *uring) {
    bool has = false;
    for (uint32_t i = 0; i < uring->lane_count; i++) {
        has |= uring->lanes[i].flown.first || uring->lanes[i].marked.first;
    }
    return has;
}

/* Waits until threads have passed their marks, which is as long as it takes to send. */
static void await_marks(struct uring *uring) {
    flight_start(uring);
    for (uint32_t i = 0; i < uring->lane_count; i++) {
        struct lane *lane = &uring->lanes[i];
        while (lane->marked.first && !lane->passed) {
            ring_wait_for_one(&lane->ring, 1000);
            reap_ring(uring, &lane->ring);
        }
    }
}

static void push(struct poller *poller) {
    struct uring *uring = uring_of(poller);
    uring->outside = true;
    if (has_flown(uring) || uring->due.first || uring->due_late.first) {
        ask_all(uring);
        uring->pushed = true;
        if (uring->threaded) {
            await_marks(uring);
        } else {
            ring_wait(uring->home, 0);
            reap(uring);
        }
        flight_land(uring);
    }
}

/* A thread's mark wakes by itself. */
static void hurry(struct poller *poller) {
    struct uring *uring = uring_of(poller);
    uring->hurries |= !uring->threaded;
}

static int add(struct poller *poller, struct stream *stream) {
    struct uring *uring = uring_of(poller);
    int error = line_make(uring, stream->fd);
    if (error < 0) {
        return error;
    }
    struct line *line = line_at(uring, stream->fd);
    line->stream = stream;
    line->end = 0;
    line->fed = 0;
    line->has_room = false;
    line->broken = false;
    line->lane = (uint8_t)lanes_least(uring);
    lane_of(uring, line)->lines++;
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
    if (uring->home->defers && io_uring_cq_ready(&uring->home->uring) == 0) {
        ring_trim(uring->home);
    }
}

static bool rests(struct poller *poller, struct stream *stream) {
    return !line_at(uring_of(poller), stream->fd)->receiving && !stream->flying;
}

static void remove_stream(struct poller *poller, struct stream *stream) {
    struct uring *uring = uring_of(poller);
    struct line *line = line_at(uring, stream->fd);
    if (stream->flying && !uring->threaded) {
        ring_submit(uring->home); /* as all that sync_flush has written */
    }
    stream->closing = true;
    intake_drop(uring, line);
    line_close_if_over(uring, line);
    if (uring->outside) {
        push(poller); /* who knows when the next tick is */
    }
}

static int open_ring(struct poller *poller) {
    struct uring *uring = calloc(1, sizeof(*uring));
    if (!uring) {
        return UV_ENOMEM;
    }
    uring->poller = poller;
    uring->tick = 1;
    uring->outside = true;
    poller->state = uring;
    int error = lanes_open(uring, poller->threads);
    if (error == 0) {
        error = doze_open(uring);
        if (error < 0) {
            lanes_close(uring);
        }
    }
    if (error < 0) {
        free(uring);
    }
    return error;
}

static void close_ring(struct poller *poller) {
    struct uring *uring = uring_of(poller);
    intake_end_tick(uring);
    doze_close(uring);
    lanes_close(uring);
    line_free_all(uring);
    free(uring);
}

static const char *thread_problem(void) {
    bool limits;
    return ring_problem(RING_THREAD, &limits);
}

static const char *problem(void) {
    bool limits;
    return ring_problem(RING_OWN, &limits);
}

const struct backend uring_backend = {.name = "uring",
                                      .problem = problem,
                                      .thread_problem = thread_problem,
                                      .open = open_ring,
                                      .close = close_ring,
                                      .add = add,
                                      .watch = watch,
                                      .read = read_line,
                                      .send = send_later,
                                      .push = push,
                                      .hurry = hurry,
                                      .trim = trim,
                                      .rests = rests,
                                      .remove = remove_stream,
                                      .wait = wait_in_ring};
#endif
