/* doze.c: sleeps for the ring and for libuv. */
#include "net/doze.h"

#include "net/flight.h"

#ifdef SYNC_URING
int doze_open(struct uring *uring) {
    struct poller *poller = uring->poller;
    int error = uv_async_init(poller->loop, &poller->alive, NULL);
    if (error == 0) {
        uv_unref(&poller->handle); /* until a stream is open */
    }
    return error;
}

void doze_close(struct uring *uring) {
    uv_close(&uring->poller->handle, NULL);
}

static void ask_for_loop(struct uring *uring) {
    struct io_uring_sqe *entry = uring->looping ? NULL : ring_entry(uring->home);
    if (entry) {
        io_uring_prep_poll_add(entry, uv_backend_fd(uring->poller->loop), POLLIN);
        entry->user_data = OF_LOOP;
        uring->looping = true;
    }
}

/* How long the ring may sleep, in ms; -1: for ever. */
static int sleep_time(const struct uring *uring, bool block) {
    uv_loop_t *loop = uring->poller->loop;
    if (!block || uring->hurries || uring->waiting.first || uring->due.first ||
        uring->due_late.first) {
        return 0;
    }
    uv_update_time(loop);
    return uv_backend_timeout(loop);
}

/* Lanes with threads tell of completions by their rings' descriptors. Returns whether one
 * has some already. */
static bool ask_for_lanes(struct uring *uring) {
    for (uint32_t i = 0; i < uring->lane_count; i++) {
        struct lane *lane = &uring->lanes[i];
        if (io_uring_cq_ready(&lane->ring.uring) > 0) {
            return true;
        }
        struct io_uring_sqe *entry = lane->polled ? NULL : ring_entry(uring->home);
        if (entry) {
            io_uring_prep_poll_add(entry, lane->ring.uring.ring_fd, POLLIN);
            entry->user_data = (uint64_t)i << 3 | OF_LANE;
            lane->polled = true;
        }
    }
    return false;
}

void doze(struct uring *uring, bool block) {
    if (uring->threaded) {
        flight_start(uring);
    }
    ask_for_loop(uring);
    int time = sleep_time(uring, block);
    if (uring->threaded && time != 0 && ask_for_lanes(uring)) {
        time = 0;
    }
    uring->hurries = false;
    ring_wait(uring->home, time);
}

void doze_ended(struct uring *uring) {
    uring->looping = false;
    uring->loop_ready = true;
}

/* A time of 0 means, too, that what is watched has changed since libuv looked last. */
void doze_run_loop(struct uring *uring) {
    uv_loop_t *loop = uring->poller->loop;
    uv_update_time(loop);
    if (uring->loop_ready || uv_backend_timeout(loop) == 0) {
        uring->loop_ready = false;
        uv_run(loop, UV_RUN_NOWAIT);
    }
}
#endif
