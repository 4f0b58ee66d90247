/* poller.c: which backend there is, and what all have in common. */
#include "net/poller.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/backends.h"

static const struct backend *const backends[] = {
#ifdef SYNC_EPOLL
    &epoll_backend, /* the first is what auto takes: it has served for longest */
#endif
#ifdef SYNC_URING
    &uring_backend,
#endif
    &poll_backend,
    NULL,
};

static const struct backend *chosen; /* NULL: auto, and not looked for yet */
static const char *why;

static const char *problem_of(const struct backend *backend) {
    return backend->problem ? backend->problem() : NULL;
}

static const struct backend *find(void) {
    if (!chosen) {
        int i = 0;
        why = backends[1] ? "it works here" : "no other is built in";
        for (; backends[i + 1] && problem_of(backends[i]); i++) {
            why = problem_of(backends[i]);
        }
        chosen = backends[i];
    }
    return chosen;
}

int poller_choose(const char *name) {
    for (int i = 0; backends[i]; i++) {
        if (strcmp(name, backends[i]->name) == 0) {
            const char *problem = problem_of(backends[i]);
            why = problem ? problem : "it was chosen";
            chosen = backends[i];
            return problem ? UV_ENOTSUP : 0;
        }
    }
    chosen = NULL;
    return strcmp(name, "auto") == 0 ? 0 : UV_EINVAL;
}

const char *poller_name(void) {
    return find()->name;
}

const char *poller_why(void) {
    find();
    return why;
}

int poller_open(struct poller *poller, uv_loop_t *loop, poller_ready *ready,
                poller_sent *sent) {
    *poller = (struct poller){.backend = find(),
                              .loop = loop,
                              .ready = ready,
                              .sent = sent,
                              .handle = {.data = poller},
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
