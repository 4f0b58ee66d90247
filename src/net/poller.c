/* poller.c: which backend there is, and what all have in common. */
#include "net/poller.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/backends.h"
#include "net/cores.h"

/* In the order in which auto tries them. */
static const struct backend *const backends[] = {
#ifdef SYNC_URING
    &uring_backend,
#endif
#ifdef SYNC_EPOLL
    &epoll_backend,
#endif
    &poll_backend,
    NULL,
};

static const struct backend *chosen; /* NULL: auto, and not looked for yet */
static bool automatic = true;
static const char *why;
static uint32_t threads;

static const char *problem_of(const struct backend *backend) {
    return backend->problem ? backend->problem() : NULL;
}

/* Takes the first that can be used, from a place in the list on. */
static void take_from(int i) {
    for (; backends[i + 1] && problem_of(backends[i]); i++) {
        why = problem_of(backends[i]);
    }
    chosen = backends[i];
}

static const struct backend *find(void) {
    if (!chosen) {
        why = backends[1] ? "it works here" : "no other is built in";
        take_from(0);
    }
    return chosen;
}

/* What worked when it was tried may fail later: memory that a user may lock, such as an
 * io_uring's, is shared by all processes of that user. Threads were asked for by name. */
static bool take_next(int error) {
    static char text[96];
    int i = 0;
    while (backends[i] && backends[i] != chosen) {
        i++;
    }
    if (!automatic || threads > 0 || !backends[i] || !backends[i + 1]) {
        return false;
    }
    snprintf(text, sizeof(text), "%s could not be opened: %s", chosen->name,
             uv_strerror(error));
    why = text;
    take_from(i + 1);
    return true;
}

int poller_choose(const char *name) {
    threads = 0;
    automatic = false;
    for (int i = 0; backends[i]; i++) {
        if (strcmp(name, backends[i]->name) == 0) {
            const char *problem = problem_of(backends[i]);
            why = problem ? problem : "it was chosen";
            chosen = backends[i];
            return problem ? UV_ENOTSUP : 0;
        }
    }
    chosen = NULL;
    automatic = true;
    return strcmp(name, "auto") == 0 ? 0 : UV_EINVAL;
}

static const char *problem_of_threads(uint32_t count) {
    static char text[128];
    if (!find()->thread_problem) {
        snprintf(text, sizeof(text), "only uring has threads, and this is %s",
                 chosen->name);
        return text;
    }
    if (count + 1 > cores_usable()) {
        snprintf(text, sizeof(text),
                 "it takes %u cores, one for Lua and one for each thread; there are %u",
                 count + 1, cores_usable());
        return text;
    }
    return chosen->thread_problem();
}

int poller_choose_threads(uint32_t count) {
    static char text[64];
    const char *problem = count > 0 ? problem_of_threads(count) : NULL;
    if (problem) {
        why = problem;
        return UV_ENOTSUP;
    }
    threads = count;
    if (count > 0) {
        snprintf(text, sizeof(text), "it was chosen, with %u thread%s", count,
                 count == 1 ? "" : "s");
        why = text;
    }
    return 0;
}

uint32_t poller_threads(void) {
    return threads;
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
    int error;
    find();
    do {
        *poller = (struct poller){.backend = chosen,
                                  .loop = loop,
                                  .ready = ready,
                                  .sent = sent,
                                  .handle = {.data = poller},
                                  .threads = threads,
                                  .fd = -1};
        error = chosen->open(poller);
    } while (error < 0 && take_next(error));
    return error;
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
