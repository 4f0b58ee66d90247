/* signals.c: signals as events. A signal that comes twice in one tick is one event. */
#include "core/signals.h"

#include <stdlib.h>

struct signal_watch {
    uv_signal_t handle;
    struct core *core;
    struct signal_watch *next;
    uint32_t pushed_tick;
    int number;
    bool once;
};

static void on_signal(uv_signal_t *handle, int number) {
    struct signal_watch *watch = handle->data;
    struct core *core = watch->core;
    if (watch->pushed_tick != core->tick) {
        watch->pushed_tick = core->tick;
        batch_push(&core->batch, SYNC_SIGNAL, (uint32_t)number, 0, NULL, 0);
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

int signals_start(struct core *core, int number, bool once) {
    struct signal_watch *watch = *find(core, number);
    if (watch && watch->once != once) {
        signals_stop(core, number); /* a handle of libuv's can't change its way */
        watch = NULL;
    }
    if (!watch) {
        watch = calloc(1, sizeof(*watch));
        if (!watch || batch_reserve(&core->batch, 1) < 0) {
            free(watch);
            return UV_ENOMEM;
        }
        watch->core = core;
        watch->number = number;
        watch->once = once;
        watch->next = core->signals;
        core->signals = watch;
        uv_signal_init(&core->loop, &watch->handle);
        uv_unref((uv_handle_t *)&watch->handle);
        watch->handle.data = watch;
    }
    int error = once ? uv_signal_start_oneshot(&watch->handle, on_signal, number)
                     : uv_signal_start(&watch->handle, on_signal, number);
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
        uv_close((uv_handle_t *)&watch->handle, on_watch_closed);
    }
}

void signals_stop_all(struct core *core) {
    while (core->signals) {
        signals_stop(core, core->signals->number);
    }
}
