/* wheel.c: buckets of deadlines. One further away than the wheel reaches waits in the
 * bucket it falls into and goes round again. */
#include "core/wheel.h"

#include <stddef.h>

static uint64_t step_of(uint64_t due) {
    return due / WHEEL_STEP + 1;
}

void wheel_remove(struct wheel *wheel, struct deadline *deadline) {
    if (!deadline->link) {
        return;
    }
    *deadline->link = deadline->next;
    if (deadline->next) {
        deadline->next->link = deadline->link;
    }
    deadline->link = NULL;
    wheel->count--;
}

void wheel_set(struct wheel *wheel, struct deadline *deadline, uint64_t due) {
    wheel_remove(wheel, deadline);
    uint64_t step = step_of(due);
    if (step < wheel->step) {
        step = wheel->step;
    }
    struct deadline **bucket = &wheel->buckets[step % WHEEL_BUCKETS];
    deadline->due = due;
    deadline->next = *bucket;
    deadline->link = bucket;
    if (*bucket) {
        (*bucket)->link = &deadline->next;
    }
    *bucket = deadline;
    wheel->count++;
}

struct deadline *wheel_next_due(struct wheel *wheel, uint64_t now) {
    uint64_t today = now / WHEEL_STEP;
    if (wheel->count == 0) {
        wheel->step = today + 1;
        return NULL;
    }
    if (today >= wheel->step + WHEEL_BUCKETS) {
        wheel->step = today - WHEEL_BUCKETS + 1; /* one round meets every bucket */
    }
    for (; wheel->step <= today; wheel->step++) {
        struct deadline *deadline = wheel->buckets[wheel->step % WHEEL_BUCKETS];
        for (; deadline; deadline = deadline->next) {
            if (step_of(deadline->due) <= today) {
                wheel_remove(wheel, deadline);
                return deadline;
            }
        }
    }
    return NULL;
}

int64_t wheel_wait(const struct wheel *wheel, uint64_t now) {
    if (wheel->count == 0) {
        return -1;
    }
    uint64_t step = wheel->step;
    while (!wheel->buckets[step % WHEEL_BUCKETS]) {
        step++;
    }
    uint64_t when = step * WHEEL_STEP;
    return when > now ? (int64_t)(when - now) : 0;
}
