/* poller.c: which backend there is, and what all have in common. */
#include "net/poller.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/backends.h"

static const struct backend *const backends[] = {
#ifdef SYNC_EPOLL
    &epoll_backend,
#endif
    &poll_backend,
};

enum { BACKENDS = sizeof(backends) / sizeof(*backends) };

static const struct backend *chosen; /* NULL: the first */

int poller_choose(const char *name) {
    for (int i = 0; i < BACKENDS; i++) {
        if (strcmp(name, backends[i]->name) == 0) {
            chosen = backends[i];
            return 0;
        }
    }
    if (strcmp(name, "auto") == 0) {
        chosen = NULL;
        return 0;
    }
    return UV_EINVAL;
}

int poller_open(struct poller *poller, uv_loop_t *loop, poller_ready *ready) {
    *poller = (struct poller){.backend = chosen ? chosen : backends[0],
                              .loop = loop,
                              .ready = ready,
                              .poll = {.data = poller},
                              .fd = -1};
    return poller->backend->open(poller);
}

void poller_close(struct poller *poller) {
    poller->backend->close(poller);
}

int stream_open(struct poller *poller, struct stream *stream, int fd) {
    *stream = (struct stream){.fd = fd};
    int error = poller->backend->add(poller, stream);
    if (error < 0) {
        close(fd);
    }
    return error;
}

void stream_watch_room(struct poller *poller, struct stream *stream, bool full) {
    if (stream->full != full) {
        stream->full = full;
        poller->backend->watch(poller, stream);
    }
}

void stream_watch_bytes(struct poller *poller, struct stream *stream, bool wanted) {
    if (stream->paused == wanted) {
        stream->paused = !wanted;
        poller->backend->watch(poller, stream);
    }
}

void stream_close(struct poller *poller, struct stream *stream, bool reset) {
    if (reset) {
        struct linger linger = {.l_onoff = 1, .l_linger = 0};
        setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    }
    poller->backend->remove(poller, stream);
}
