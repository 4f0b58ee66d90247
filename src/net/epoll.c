/* epoll.c: watches many descriptors by one epoll set within libuv's.
 *
 * A uv_poll_t for each of them would be 160 bytes more, and libuv's list of watchers;
 * what it costs is one more system call in each tick that reads something. Linux only.
 */
#include "net/backends.h"

#ifdef SYNC_EPOLL
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

_Static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT, "events are told as they are");

enum {
    MOST_EVENTS = 1024, /* of one look */
    MOST_LOOKS = 48     /* in a row: timers and listeners have their turn, too */
};

static void on_ready(uv_poll_t *poll, int status, int found) {
    (void)status;
    (void)found;
    const struct poller *poller = poll->data;
    struct epoll_event events[MOST_EVENTS];
    int count = MOST_EVENTS;
    for (int look = 0; look < MOST_LOOKS && count == MOST_EVENTS; look++) {
        count = epoll_wait(poller->fd, events, MOST_EVENTS, 0);
        for (int i = 0; i < count; i++) {
            poller->ready(events[i].data.ptr, events[i].events);
        }
    }
}

static int open_set(struct poller *poller) {
    poller->fd = epoll_create1(EPOLL_CLOEXEC);
    if (poller->fd < 0) {
        return -errno;
    }
    int error = uv_poll_init(poller->loop, &poller->poll, poller->fd);
    if (error < 0) {
        close(poller->fd);
    }
    return error;
}

static void close_set(struct poller *poller) {
    uv_close(&poller->handle, NULL);
    close(poller->fd);
}

/* One that is watched for nothing would still be told of again and again when it is
 * broken; with EPOLLET that is once. */
static struct epoll_event wanted(struct stream *stream) {
    uint32_t events = (stream->paused ? 0 : EPOLLIN) | (stream->full ? EPOLLOUT : 0);
    return (struct epoll_event){.events = events ? events : (uint32_t)EPOLLET,
                                .data.ptr = stream};
}

static int add(struct poller *poller, struct stream *stream) {
    struct epoll_event event = wanted(stream);
    if (epoll_ctl(poller->fd, EPOLL_CTL_ADD, stream->fd, &event) < 0) {
        return -errno;
    }
    if (poller->watched++ == 0) {
        uv_poll_start(&poller->poll, UV_READABLE, on_ready);
    }
    return 0;
}

static void watch(struct poller *poller, struct stream *stream) {
    struct epoll_event event = wanted(stream);
    epoll_ctl(poller->fd, EPOLL_CTL_MOD, stream->fd, &event);
}

static ssize_t read_now(struct poller *poller, struct stream *stream, char **bytes,
                        size_t size) {
    (void)poller;
    return stream_read_now(stream, *bytes, size);
}

static void remove_stream(struct poller *poller, struct stream *stream) {
    struct epoll_event event = {0}; /* kernels before 2.6.9 wanted one */
    epoll_ctl(poller->fd, EPOLL_CTL_DEL, stream->fd, &event);
    if (--poller->watched == 0) {
        uv_poll_stop(&poller->poll);
    }
    close(stream->fd);
}

static bool wait_in_libuv(struct poller *poller, bool block) {
    return uv_run(poller->loop, block ? UV_RUN_ONCE : UV_RUN_NOWAIT) != 0;
}

const struct backend epoll_backend = {.name = "epoll",
                                      .sleeps_in_libuv = true,
                                      .open = open_set,
                                      .close = close_set,
                                      .add = add,
                                      .watch = watch,
                                      .read = read_now,
                                      .remove = remove_stream,
                                      .wait = wait_in_libuv};
#endif
