/* lanes.c: the rings that lines are shared out over. */
#include "net/lanes.h"

#ifdef SYNC_URING
#include <stdlib.h>

static void close_first(struct uring *uring, uint32_t count) {
    while (count > 0) {
        ring_close(&uring->lanes[--count].ring);
    }
    free(uring->lanes);
}

static int open_all(struct uring *uring, enum ring_kind kind, bool limits) {
    for (uint32_t i = 0; i < uring->lane_count; i++) {
        int error = ring_open(&uring->lanes[i].ring, kind, limits);
        if (error < 0) {
            close_first(uring, i);
            return error;
        }
    }
    return 0;
}

static int open_sleeper(struct uring *uring) {
    if (!uring->threaded) {
        uring->home = &uring->lanes[0].ring;
        return 0;
    }
    uring->home = &uring->sleeper;
    return ring_open(uring->home, RING_SLEEPER, false);
}

int lanes_open(struct uring *uring, uint32_t threads) {
    bool limits;
    enum ring_kind kind = threads > 0 ? RING_THREAD : RING_OWN;
    if (ring_problem(kind, &limits)) {
        return UV_ENOTSUP;
    }
    uring->threaded = threads > 0;
    uring->lane_count = threads > 0 ? threads : 1;
    uring->lanes = calloc(uring->lane_count, sizeof(*uring->lanes));
    if (!uring->lanes) {
        return UV_ENOMEM;
    }
    int error = open_all(uring, kind, limits);
    if (error == 0) {
        error = open_sleeper(uring);
        if (error < 0) {
            close_first(uring, uring->lane_count);
        }
    }
    return error;
}

void lanes_close(struct uring *uring) {
    if (uring->threaded) {
        ring_close(&uring->sleeper);
    }
    close_first(uring, uring->lane_count);
}

uint32_t lanes_least(const struct uring *uring) {
    uint32_t least = 0;
    for (uint32_t i = 1; i < uring->lane_count; i++) {
        least = uring->lanes[i].lines < uring->lanes[least].lines ? i : least;
    }
    return least;
}
#endif
