/* poller.h: watches many descriptors by one epoll set within libuv's.
 *
 * A uv_poll_t for each of them would be 160 bytes more, and libuv's list of watchers;
 * what it costs is one more system call in each tick that reads something. Linux only, as
 * accept4 and memfd_create are.
 */
#pragma once

#include <stdint.h>
#include <sys/epoll.h>
#include <uv.h>

/* A descriptor is ready for these events of epoll, or broken; `data` is what it was added
 * with. */
typedef void poller_ready(void *data, uint32_t events);

struct poller {
    uv_poll_t poll; /* of the set itself */
    poller_ready *ready;
    int fd;
    uint32_t watched; /* while there are any, libuv's loop is alive */
};

/* Returns 0 or an error code. */
int poller_open(struct poller *poller, uv_loop_t *loop, poller_ready *ready);

/* No descriptor may be watched any more. */
void poller_close(struct poller *poller);

/* Watches a descriptor for EPOLLIN, EPOLLOUT, both or 0. Returns 0 or an error code. */
int poller_add(struct poller *poller, int fd, uint32_t events, void *data);
void poller_change(struct poller *poller, int fd, uint32_t events, void *data);

/* Call it before the descriptor is closed. What has been found ready already is still
 * told.
 */
void poller_remove(struct poller *poller, int fd);
