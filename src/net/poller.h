/* poller.h: what the core asks of the system for connections' sockets: to say when there
 * are bytes or there is room, to receive, to send, to close, and to sleep until something
 * is to be done.
 *
 * A backend is a table of these functions. epoll.c has one that Linux has; poll.c one
 * that needs nothing but libuv. In both a socket is ready, and is then read and written
 * in place. Knows no connection: what is ready is told by a function that the core hands
 * over.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <uv.h>

#include "net/stream.h"

/* What a stream was sent together with others has left: so many bytes of it, or an error
 * code; UV_EAGAIN: nothing. */
typedef void poller_sent(struct stream *stream, ssize_t sent);

/* A stream is ready for these events of poll(2), or broken: any other than POLLIN and
 * POLLOUT. It's told again in the next tick what was not made use of. */
typedef void poller_ready(struct stream *stream, uint32_t events);

struct poller;

struct backend {
    const char *name;
    bool sleeps_in_libuv; /* uv_stop ends its sleep */

    /* Why it can't be used here, a text that lives for ever, or NULL. NULL: it always
     * can. */
    const char *(*problem)(void);

    /* The same for threads that send and receive. NULL: it has none. */
    const char *(*thread_problem)(void);

    /* Makes what the poller needs. Returns 0 or an error code. */
    int (*open)(struct poller *poller);

    /* No stream is watched any more. */
    void (*close)(struct poller *poller);

    /* Watches a stream for bytes. Returns 0, or an error code. */
    int (*add)(struct poller *poller, struct stream *stream);

    /* What it's watched for has changed: `full` and `paused` say for what. */
    void (*watch)(struct poller *poller, struct stream *stream);

    /* Receives once: as stream_read. */
    ssize_t (*read)(struct poller *poller, struct stream *stream, char **bytes,
                    size_t size);

    /* Sends later, together with what others send: as stream_send. NULL: none of it. */
    bool (*send)(struct poller *poller, struct stream *stream, const struct iovec *pieces,
                 int count);

    /* Sends now what was to be sent later, and tells what came of it; and closes what was
     * removed. */
    void (*push)(struct poller *poller);

    /* The next wait doesn't sleep: somebody waits for what comes of a send. */
    void (*hurry)(struct poller *poller);

    /* Gives memory back to the system. NULL: there is none. */
    void (*trim)(struct poller *poller);

    /* Whether nothing of a stream is under way in the kernel, once it isn't watched for
     * bytes: what was received is then read as always. NULL: nothing ever is. */
    bool (*rests)(struct poller *poller, struct stream *stream);

    /* Ends the watching, and closes the descriptor; while that takes its time, the stream
     * is `closing`. */
    void (*remove)(struct poller *poller, struct stream *stream);

    /* Tells of streams that are ready, and runs libuv's loop; with `block` it sleeps
     * until there is something. Returns whether anything is left that could happen. */
    bool (*wait)(struct poller *poller, bool block);
};

struct poller {
    const struct backend *backend;
    uv_loop_t *loop;
    poller_ready *ready;
    poller_sent *sent;
    bool gathers; /* what is written now may be sent together */
    union {       /* the backend's own, as the rest */
        uv_handle_t handle;
        uv_poll_t poll;
        uv_async_t alive;
    };
    void *state;
    int fd;
    uint32_t threads; /* that send and receive for this one; 0: none */
    uint32_t watched; /* while there are any, libuv's loop is alive */
};

/* Names the backend that pollers get from now on: "auto" (uring, or where that can't be
 * used epoll, or poll) or one of those that are built in. Returns 0; UV_EINVAL for
 * another name; or UV_ENOTSUP for one that can't be used here, which poller_why then
 * explains. */
int poller_choose(const char *name);

/* Says how many threads send and receive for each poller from now on, 0:
 * none. Returns 0, or UV_ENOTSUP where the backend has no such, or there are too few
 * cores for them and for who fills and drains their rings; poller_why then says why. */
int poller_choose_threads(uint32_t count);
uint32_t poller_threads(void);

/* The backend that pollers get, and why that one. */
const char *poller_name(void);
const char *poller_why(void);

/* Returns 0 or an error code. By "auto", where a backend that worked can't be opened now,
 * it is the next one from then on. */
int poller_open(struct poller *poller, uv_loop_t *loop, poller_ready *ready,
                poller_sent *sent);

/* No stream may be watched any more. */
void poller_close(struct poller *poller);

static inline bool poller_wait(struct poller *poller, bool block) {
    return poller->backend->wait(poller, block);
}

/* From now on streams' sends are gathered, as far as the backend can; until this is
 * called again. What was gathered leaves with the next poller_wait or poller_push. */
static inline void poller_gather(struct poller *poller, bool gathers) {
    poller->gathers = gathers && poller->backend->send;
}

/* Sends what was gathered. */
static inline void poller_push(struct poller *poller) {
    if (poller->backend->push) {
        poller->backend->push(poller);
    }
}

/* See the backend's. */
static inline void poller_hurry(struct poller *poller) {
    poller->backend->hurry(poller);
}

/* Gives memory back to the system, between two ticks. */
static inline void poller_trim(struct poller *poller) {
    if (poller->backend->trim) {
        poller->backend->trim(poller);
    }
}

/* Takes over a socket that doesn't block, and watches it for bytes. Returns 0, or an
 * error code; then fd is closed. */
int stream_open(struct poller *poller, struct stream *stream, int fd);

/* Begins or ends to watch for room to write, or for bytes to read. */
void stream_watch_room(struct poller *poller, struct stream *stream, bool full);
void stream_watch_bytes(struct poller *poller, struct stream *stream, bool wanted);

/* Receives once, at most `size` bytes. *bytes is where they may be put; it becomes where
 * they are, until the tick ends. Returns how many, UV_EOF, UV_EAGAIN, or an error code.
 */
static inline ssize_t stream_read(struct poller *poller, struct stream *stream,
                                  char **bytes, size_t size) {
    return poller->backend->read(poller, stream, bytes, size);
}

/* Sends the pieces, or the first of them, later; until that is told they stay, and
 * nothing else is sent. Returns false where it can't be: then stream_write does. */
static inline bool stream_send(struct poller *poller, struct stream *stream,
                               const struct iovec *pieces, int count) {
    return poller->gathers && poller->backend->send(poller, stream, pieces, count);
}

/* See the backend's. */
static inline bool stream_rests(struct poller *poller, struct stream *stream) {
    return !poller->backend->rests || poller->backend->rests(poller, stream);
}

/* Closes; with `reset` a TCP client sees a reset and nothing of it stays. */
void stream_close(struct poller *poller, struct stream *stream, bool reset);
