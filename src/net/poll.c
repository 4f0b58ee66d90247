/* poll.c: watches each descriptor by a uv_poll_t: for systems without epoll. Uses nothing
 * that only one system has. */
#include "net/backends.h"

#include <stdlib.h>
#include <unistd.h>

/* Of one stream. libuv frees it some time after the descriptor was closed. */
struct watcher {
    uv_poll_t poll;
    struct poller *poller;
    struct stream *stream;
};

/* By descriptor: a stream has no room for a pointer, which most backends don't need. */
struct watchers {
    struct watcher **by_fd;
    size_t count;
};

static int open_none(struct poller *poller) {
    poller->state = calloc(1, sizeof(struct watchers));
    return poller->state ? 0 : UV_ENOMEM;
}

static void close_none(struct poller *poller) {
    struct watchers *watchers = poller->state;
    free(watchers->by_fd);
    free(watchers);
}

static struct watcher *watcher_of(struct poller *poller, const struct stream *stream) {
    const struct watchers *watchers = poller->state;
    return watchers->by_fd[stream->fd];
}

static void on_ready(uv_poll_t *poll, int status, int found);

static void watch(struct poller *poller, struct stream *stream) {
    struct watcher *watcher = watcher_of(poller, stream);
    int events = (stream->paused ? 0 : UV_READABLE) | (stream->full ? UV_WRITABLE : 0);
    if (events) {
        uv_poll_start(&watcher->poll, events, on_ready);
    } else {
        uv_poll_stop(&watcher->poll);
    }
}

/* libuv says of one that is broken only that, and watches it no more; there may be bytes
 * left that came before. */
static void on_ready(uv_poll_t *poll, int status, int found) {
    struct watcher *watcher = poll->data;
    uint32_t events = status < 0            ? (uint32_t)POLLERR
                      : found & UV_READABLE ? (uint32_t)POLLIN
                                            : 0;
    events |= found & UV_WRITABLE ? (uint32_t)POLLOUT : 0;
    watcher->poller->ready(watcher->stream, events);
    if (status < 0 && !uv_is_closing((uv_handle_t *)poll)) {
        watch(watcher->poller, watcher->stream);
    }
}

static int make_room(struct watchers *watchers, size_t fd) {
    if (fd < watchers->count) {
        return 0;
    }
    size_t count = 2 * fd + 64;
    struct watcher **by_fd = realloc(watchers->by_fd, count * sizeof(struct watcher *));
    if (!by_fd) {
        return UV_ENOMEM;
    }
    watchers->by_fd = by_fd;
    watchers->count = count;
    return 0;
}

static int add(struct poller *poller, struct stream *stream) {
    struct watchers *watchers = poller->state;
    int error = make_room(watchers, (size_t)stream->fd);
    struct watcher *watcher = error < 0 ? NULL : malloc(sizeof(*watcher));
    if (!watcher) {
        return UV_ENOMEM;
    }
    error = uv_poll_init(poller->loop, &watcher->poll, stream->fd);
    if (error < 0) {
        free(watcher);
        return error;
    }
    watcher->poll.data = watcher;
    watcher->poller = poller;
    watcher->stream = stream;
    watchers->by_fd[stream->fd] = watcher;
    watch(poller, stream);
    return 0;
}

static ssize_t read_now(struct poller *poller, struct stream *stream, char **bytes,
                        size_t size) {
    (void)poller;
    return stream_read_now(stream, *bytes, size);
}

static void on_closed(uv_handle_t *handle) {
    free(handle->data);
}

static void remove_stream(struct poller *poller, struct stream *stream) {
    uv_close((uv_handle_t *)&watcher_of(poller, stream)->poll, on_closed);
    close(stream->fd);
}

static bool wait_in_libuv(struct poller *poller, bool block) {
    return uv_run(poller->loop, block ? UV_RUN_ONCE : UV_RUN_NOWAIT) != 0;
}

const struct backend poll_backend = {.name = "poll",
                                     .sleeps_in_libuv = true,
                                     .open = open_none,
                                     .close = close_none,
                                     .add = add,
                                     .watch = watch,
                                     .read = read_now,
                                     .remove = remove_stream,
                                     .wait = wait_in_libuv};
