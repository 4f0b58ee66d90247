/* timer.c: timers at an exact average rate.
 *
 * libuv's clock ticks in whole milliseconds. Here each firing is counted from when it
 * was due, not from when it came, so a 1/60 s timer fires 60 times a second.
 */
#include "core/timer.h"

#include <math.h>
#include <stdlib.h>

#include "core/times.h"

enum { TIMER_EVENTS = 2 /* in one tick: libuv runs timers before and after it polls */ };

/* ms. Beyond, the clock's fractions are lost. */
static const double SHORTEST = 0.001;
static const double LONGEST = 1e12;

struct timer {
    uv_timer_t handle;
    struct core *core;
    struct timer *next_fired;
    uint32_t id;
    double due;      /* ms on the loop's clock */
    double interval; /* ms; 0: once */
};

static double clock_ms(void) {
    return (double)uv_hrtime() / 1e6;
}

/* The id is used again from here on: in a later tick, so no event still names it. */
static void on_timer_closed(uv_handle_t *handle) {
    struct timer *timer = handle->data;
    table_remove(&timer->core->timers, timer->id);
    batch_unreserve(&timer->core->batch, TIMER_EVENTS);
    free(timer);
}

static void stop(struct timer *timer) {
    if (!uv_is_closing((uv_handle_t *)&timer->handle)) {
        uv_close((uv_handle_t *)&timer->handle, on_timer_closed);
    }
}

void timer_close_fired(struct core *core) {
    while (core->fired) {
        struct timer *timer = core->fired;
        core->fired = timer->next_fired;
        stop(timer);
    }
}

static void on_timer(uv_timer_t *handle);

static void schedule(struct timer *timer, uint64_t least) {
    double wait = ceil(timer->due - (double)uv_now(&timer->core->loop));
    uv_timer_start(&timer->handle, on_timer,
                   wait > (double)least ? (uint64_t)wait : least, 0);
}

static void on_timer(uv_timer_t *handle) {
    struct timer *timer = handle->data;
    struct core *core = timer->core;
    double late = clock_ms() - timer->due;
    double micros = late > 0 ? late * 1000 : 0;
    times_add(&core->public.timers_late, (uint64_t)micros);
    batch_push(&core->batch, SYNC_TIMER, timer->id,
               micros < (double)UINT32_MAX ? (uint32_t)micros : UINT32_MAX, NULL, 0);
    core_wake(core);
    if (timer->interval <= 0) {
        timer->next_fired = core->fired;
        core->fired = timer;
        return;
    }
    double missed = late > 0 ? floor(late / timer->interval) : 0;
    timer->due += timer->interval * (missed + 1);
    schedule(timer, 1); /* not again while libuv runs this round of timers */
}

int timer_start(struct core *core, double delay, double interval) {
    if (!(delay <= LONGEST) || !(interval <= LONGEST)) { /* NaN isn't either */
        return UV_EINVAL;
    }
    struct timer *timer = calloc(1, sizeof(*timer));
    if (!timer) {
        return UV_ENOMEM;
    }
    if (batch_reserve(&core->batch, TIMER_EVENTS) < 0) {
        free(timer);
        return UV_ENOMEM;
    }
    timer->id = table_add(&core->timers, timer);
    if (timer->id == 0) {
        batch_unreserve(&core->batch, TIMER_EVENTS);
        free(timer);
        return UV_ENOMEM;
    }
    uv_timer_init(&core->loop, &timer->handle);
    timer->handle.data = timer;
    timer->core = core;
    timer->interval = interval > 0 ? fmax(interval, SHORTEST) : 0;
    timer->due = clock_ms() + fmax(delay, 0);
    schedule(timer, 0);
    return (int)timer->id;
}

void timer_stop(struct core *core, uint32_t id) {
    struct timer *timer = table_get(&core->timers, id);
    if (timer) {
        stop(timer);
    }
}
