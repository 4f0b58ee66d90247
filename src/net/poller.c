/* poller.c: see poller.h. */
#include "net/poller.h"

#include <errno.h>
#include <unistd.h>

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

int poller_open(struct poller *poller, uv_loop_t *loop, poller_ready *ready) {
    poller->ready = ready;
    poller->watched = 0;
    poller->poll.data = poller;
    poller->fd = epoll_create1(EPOLL_CLOEXEC);
    if (poller->fd < 0) {
        return -errno;
    }
    int error = uv_poll_init(loop, &poller->poll, poller->fd);
    if (error < 0) {
        close(poller->fd);
    }
    return error;
}

void poller_close(struct poller *poller) {
    uv_close((uv_handle_t *)&poller->poll, NULL);
    close(poller->fd);
}

/* One that is watched for nothing would still be told of again and again when it is
 * broken; with EPOLLET that is once. */
static struct epoll_event wanted(uint32_t events, void *data) {
    return (struct epoll_event){.events = events ? events : (uint32_t)EPOLLET,
                                .data.ptr = data};
}

int poller_add(struct poller *poller, int fd, uint32_t events, void *data) {
    struct epoll_event event = wanted(events, data);
    if (epoll_ctl(poller->fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        return -errno;
    }
    if (poller->watched++ == 0) {
        uv_poll_start(&poller->poll, UV_READABLE, on_ready);
    }
    return 0;
}

void poller_change(struct poller *poller, int fd, uint32_t events, void *data) {
    struct epoll_event event = wanted(events, data);
    epoll_ctl(poller->fd, EPOLL_CTL_MOD, fd, &event);
}

void poller_remove(struct poller *poller, int fd) {
    struct epoll_event event = {0}; /* kernels before 2.6.9 wanted one */
    epoll_ctl(poller->fd, EPOLL_CTL_DEL, fd, &event);
    if (--poller->watched == 0) {
        uv_poll_stop(&poller->poll);
    }
}
