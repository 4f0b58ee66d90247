/* wheel.h: a timing wheel for the deadlines of connections.
 *
 * A deadline is an intrusive list node in the bucket of its time. Moving one costs a
 * few pointer writes, so ten thousand connections need one libuv timer. Pure: told
 * what time it is, in milliseconds, and who is due.
 */
#pragma once

#include <stdint.h>

enum { WHEEL_BUCKETS = 256, WHEEL_STEP = 50 /* ms */ };

struct deadline {
    struct deadline *next;
    struct deadline **link; /* what points here; NULL when not in a wheel */
    uint64_t due;           /* ms */
};

struct wheel {
    struct deadline *buckets[WHEEL_BUCKETS];
    uint64_t step;  /* the first step that was not passed yet */
    uint32_t count; /* deadlines in the wheel */
};

/* Puts a deadline in, or moves it. It is called up in the step after `due`. */
void wheel_set(struct wheel *wheel, struct deadline *deadline, uint64_t due);
void wheel_remove(struct wheel *wheel, struct deadline *deadline);

/* Advances to `now` and takes out one deadline that is due, or returns NULL when there
 * is none left. */
struct deadline *wheel_next_due(struct wheel *wheel, uint64_t now);

/* Milliseconds from `now` until wheel_next_due may have something; -1 when empty. */
int64_t wheel_wait(const struct wheel *wheel, uint64_t now);
