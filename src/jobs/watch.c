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
    struct watch *next;
    struct watch **link;
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

static void on_closed(uv_handle_t *handle) {
    struct watch *watch = handle->data;
    batch_unreserve(&watch->core->batch, WATCH_EVENTS);
    free(watch);
}

static void stop(struct watch *watch) {
    *watch->link = watch->next;
    if (watch->next) {
        watch->next->link = watch->link;
    }
    uv_close((uv_handle_t *)&watch->handle, on_closed);
}

static struct watch *find(struct sync *sync, uint32_t id) {
    struct watch *watch = core_of(sync)->watches;
    while (watch && watch->id != id) {
        watch = watch->next;
    }
    return watch;
}

int32_t sync_watch_start(struct sync *sync, int32_t fd, uint32_t interest) {
    struct core *core = core_of(sync);
    struct watch *watch = calloc(1, sizeof(*watch));
    if (!watch || batch_reserve(&core->batch, WATCH_EVENTS) < 0) {
        free(watch);
        return UV_ENOMEM;
    }
    int error = uv_poll_init(&core->loop, &watch->handle, fd);
    if (error < 0) {
        batch_unreserve(&core->batch, WATCH_EVENTS);
        free(watch);
        return error;
    }
    core->next_request_id = core->next_request_id % INT32_MAX + 1;
    watch->id = core->next_request_id;
    watch->core = core;
    watch->handle.data = watch;
    watch->next = core->watches;
    watch->link = &core->watches;
    if (watch->next) {
        watch->next->link = &watch->next;
    }
    core->watches = watch;
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
    struct watch *watch = find(sync, id);
    return watch ? arm(watch, interest) : UV_EINVAL;
}

void sync_watch_stop(struct sync *sync, uint32_t id) {
    struct watch *watch = find(sync, id);
    if (watch) {
        stop(watch);
    }
}

void watch_stop_all(struct core *core) {
    while (core->watches) {
        stop(core->watches);
    }
}
