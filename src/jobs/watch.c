/* watch.c: descriptors that belong to other libraries, told as events when they are
 * ready.
 *
 * Level-triggered and at most one event a tick each, so a library that reads only a part
 * is told again. The descriptor is never closed here.
 */
#include "jobs/watch.h"

#include <stdlib.h>

enum { WATCH_EVENTS = 1 /* of one watch in a tick */ };

struct watch {
    uv_poll_t handle;
    struct core *core;
    uint32_t id;
    uint32_t interest;
};

static int arm(struct watch *watch, uint32_t interest);

/* libuv says of a broken descriptor only that, and watches it no more. What came before
 * may still be there, and its end behind that, so it is watched on. */
static void on_ready(uv_poll_t *handle, int status, int events) {
    struct watch *watch = handle->data;
    uint32_t value = status < 0 ? SYNC_BROKEN | watch->interest : 0;
    value |= events & UV_READABLE ? SYNC_READABLE : 0;
    value |= events & UV_WRITABLE ? SYNC_WRITABLE : 0;
    batch_push(&watch->core->batch, SYNC_WATCH, watch->id, value, NULL, 0);
    if (status < 0) {
        arm(watch, watch->interest);
    }
}

static int arm(struct watch *watch, uint32_t interest) {
    int events = (interest & SYNC_READABLE ? UV_READABLE : 0) |
                 (interest & SYNC_WRITABLE ? UV_WRITABLE : 0);
    watch->interest = interest & (SYNC_READABLE | SYNC_WRITABLE);
    return events ? uv_poll_start(&watch->handle, events, on_ready)
                  : uv_poll_stop(&watch->handle);
}

static void forget(struct watch *watch) {
    batch_unreserve(&watch->core->batch, WATCH_EVENTS);
    table_remove(&watch->core->watches, watch->id);
    free(watch);
}

/* Until then the id is nobody else's, so that an event of this tick is for who stopped
 * it. */
static void on_closed(uv_handle_t *handle) {
    forget(handle->data);
}

static void stop(struct watch *watch) {
    uv_close((uv_handle_t *)&watch->handle, on_closed);
}

static struct watch *find(const struct core *core, uint32_t id) {
    struct watch *watch = table_get(&core->watches, id);
    return watch && !uv_is_closing((uv_handle_t *)&watch->handle) ? watch : NULL;
}

/* A watch that has an id, and no handle yet; NULL when memory ran out. */
static struct watch *add(struct core *core) {
    struct watch *watch = calloc(1, sizeof(*watch));
    uint32_t id = watch ? table_add(&core->watches, watch) : 0;
    if (id > 0 && batch_reserve(&core->batch, WATCH_EVENTS) == 0) {
        watch->core = core;
        watch->handle.data = watch;
        watch->id = id;
        return watch;
    }
    if (id > 0) {
        table_remove(&core->watches, id);
    }
    free(watch);
    return NULL;
}

int32_t sync_watch_start(struct sync *sync, int32_t fd, uint32_t interest) {
    struct core *core = core_of(sync);
    struct watch *watch = add(core);
    if (!watch) {
        return UV_ENOMEM;
    }
    int error = uv_poll_init(&core->loop, &watch->handle, fd);
    if (error < 0) {
        forget(watch);
        return error;
    }
    if (interest & SYNC_UNHELD) {
        uv_unref((uv_handle_t *)&watch->handle);
    }
    error = arm(watch, interest);
    if (error < 0) {
        stop(watch);
        return error;
    }
    return (int32_t)watch->id;
}

int32_t sync_watch_change(struct sync *sync, uint32_t id, uint32_t interest) {
    struct watch *watch = find(core_of(sync), id);
    return watch ? arm(watch, interest) : UV_EINVAL;
}

void sync_watch_stop(struct sync *sync, uint32_t id) {
    struct watch *watch = find(core_of(sync), id);
    if (watch) {
        stop(watch);
    }
}

void watch_stop_all(struct core *core) {
    for (uint32_t id = 1; id < core->watches.used; id++) {
        sync_watch_stop(&core->public, id);
    }
}
