/* signals.c: signals as events. A signal that comes twice in one tick is one event.
 *
 * libuv watches those that may come again. Those that end the process are watched here:
 * the first one gives all of them back to the system, within its handler, so that the
 * second one, of whichever kind, ends a process that hangs, too. A timer of the system's
 * sends the second one by itself when a tick then takes too long.
 */
#include "core/signals.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum { NUMBERS = 65 };

struct signal_watch {
    union {
        uv_handle_t any;
        uv_signal_t signal;
        uv_async_t async; /* of one that ends the process */
    } handle;
    struct core *core;
    struct signal_watch *next;
    uint32_t pushed_tick;
    int number;
    bool once;
};

/* Those that end the process, by number. */
static _Atomic(struct signal_watch *) ending[NUMBERS];

/* What sends the second signal of each number; which has come, 0: none; and the seconds
 * that a tick may take. */
static timer_t second[NUMBERS];
static bool has_second[NUMBERS];
static atomic_int first;
static atomic_int patience;

/* 0 seconds: not any more. POSIX allows it in a signal's handler. */
static void send_second(int number, int seconds) {
    struct itimerspec when = {.it_value.tv_sec = seconds};
    if (has_second[number]) {
        timer_settime(second[number], 0, &when, NULL);
    }
}

void signals_tick(bool begins) {
    int number = atomic_load_explicit(&first, memory_order_relaxed);
    if (number) {
        send_second(number, begins ? atomic_load(&patience) : 0);
    }
}

static void push(struct signal_watch *watch) {
    struct core *core = watch->core;
    if (watch->pushed_tick != core->tick) {
        watch->pushed_tick = core->tick;
        batch_push(&core->batch, SYNC_SIGNAL, (uint32_t)watch->number, 0, NULL, 0);
    }
}

static void on_signal(uv_signal_t *handle, int number) {
    (void)number;
    push(handle->data);
}

static void on_ending_told(uv_async_t *handle) {
    push(handle->data);
}

/* The handler itself: it may interrupt anything, so it calls what POSIX allows. */
static void on_ending(int number) {
    for (int i = 1; i < NUMBERS; i++) {
        if (atomic_load(&ending[i])) {
            sigaction(i, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
        }
    }
    atomic_store(&first, number);
    send_second(number, atomic_load(&patience));
    struct signal_watch *watch = atomic_load(&ending[number]);
    if (watch) {
        uv_async_send(&watch->handle.async);
    }
}

static int start_ending(struct signal_watch *watch, int seconds) {
    struct sigaction action = {.sa_handler = on_ending, .sa_flags = SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = watch->number};
    sigfillset(&action.sa_mask);
    signals_tick(false);
    atomic_store(&first, 0);
    atomic_store(&patience, seconds);
    has_second[watch->number] =
        has_second[watch->number] ||
        timer_create(CLOCK_MONOTONIC, &event, &second[watch->number]) == 0;
    atomic_store(&ending[watch->number], watch);
    return sigaction(watch->number, &action, NULL) < 0 ? UV_EINVAL : 0;
}

static void stop_ending(struct signal_watch *watch) {
    if (atomic_load(&ending[watch->number]) == watch) {
        sigaction(watch->number, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
        atomic_store(&ending[watch->number], NULL);
    }
}

static void on_watch_closed(uv_handle_t *handle) {
    struct signal_watch *watch = handle->data;
    batch_unreserve(&watch->core->batch, 1);
    free(watch);
}

static struct signal_watch **find(struct core *core, int number) {
    struct signal_watch **link = &core->signals;
    while (*link && (*link)->number != number) {
        link = &(*link)->next;
    }
    return link;
}

/* Returns NULL when memory ran out. */
static struct signal_watch *make(struct core *core, int number, bool once) {
    struct signal_watch *watch = calloc(1, sizeof(*watch));
    if (!watch || batch_reserve(&core->batch, 1) < 0) {
        free(watch);
        return NULL;
    }
    int error = once ? uv_async_init(&core->loop, &watch->handle.async, on_ending_told)
                     : uv_signal_init(&core->loop, &watch->handle.signal);
    if (error < 0) {
        batch_unreserve(&core->batch, 1);
        free(watch);
        return NULL;
    }
    watch->core = core;
    watch->number = number;
    watch->once = once;
    watch->next = core->signals;
    core->signals = watch;
    uv_unref(&watch->handle.any);
    watch->handle.any.data = watch;
    return watch;
}

int signals_start(struct core *core, int number, int seconds) {
    bool once = seconds > 0;
    if (number < 1 || number >= NUMBERS) {
        return UV_EINVAL;
    }
    struct signal_watch *watch = *find(core, number);
    if (watch && watch->once != once) {
        signals_stop(core, number);
        watch = NULL;
    }
    if (!watch && !(watch = make(core, number, once))) {
        return UV_ENOMEM;
    }
    int error = once ? start_ending(watch, seconds)
                     : uv_signal_start(&watch->handle.signal, on_signal, number);
    if (error < 0) {
        signals_stop(core, number);
    }
    return error;
}

void signals_stop(struct core *core, int number) {
    struct signal_watch **link = find(core, number);
    struct signal_watch *watch = *link;
    if (watch) {
        *link = watch->next;
        if (watch->once) {
            stop_ending(watch);
        }
        uv_close(&watch->handle.any, on_watch_closed);
    }
}

void signals_stop_all(struct core *core) {
    while (core->signals) {
        signals_stop(core, core->signals->number);
    }
}
