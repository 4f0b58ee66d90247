/* ring.h: an io_uring and the buffers that it receives into. Knows no stream.
 *
 * All sockets share the buffers: the kernel takes one when bytes come, so a client that
 * is silent has none. Taken ones are the tick's until it ends, and are then given back in
 * the order of their addresses, so that what one client sent lies together.
 */
#pragma once

#ifdef SYNC_URING
#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "net/pump.h"

enum {
    RING_BUFFERS = 1024,          /* at most: few are used while few are needed */
    RING_BUFFER = 4096,           /* bytes of one */
    RING_CLIENT_MOST = 64 * 1024, /* bytes that one client may hold of them */
    RING_PIECES = 8               /* iovecs of one send */
};

/* What a send of several pieces points to, until the kernel has read it. */
struct ring_message {
    struct msghdr header;
    struct iovec pieces[RING_PIECES];
};

enum ring_kind {
    RING_OWN,    /* its owner's calls do the work */
    RING_THREAD, /* a thread's do, see pump.h: its owner's only wake that */
    RING_SLEEPER /* to sleep in: it has no buffers */
};

struct ring {
    struct io_uring uring;
    struct pump pump; /* of RING_THREAD */
    enum ring_kind kind;
    struct io_uring_buf_ring *entries; /* of the buffers */
    char *buffers;
    uint64_t taken[RING_BUFFERS / 64]; /* by number: which were, in this tick */
    uint32_t taken_count;
    uint32_t used; /* the first so many are the kernel\'s, or taken */
    uint32_t next; /* the buffer behind the one that was given back last */
    struct ring_message *messages; /* by place in the submission queue */
    bool limits; /* the kernel ends a receive at RING_CLIENT_MOST; else each takes one
                    buffer */
    bool defers; /* completions are made when they are asked for:
                    IORING_SETUP_DEFER_TASKRUN */
};

/* Makes a ring. Returns 0 or an error code. */
int ring_open(struct ring *ring, enum ring_kind kind, bool limits);
void ring_close(struct ring *ring);

/* Why rings of a kind can't be used here, a text that lives for ever; or NULL, and sets
 * what to open them with. Looks once. */
const char *ring_problem(enum ring_kind kind, bool *limits);

/* An entry to be filled, or NULL when the kernel takes none at the moment. */
struct io_uring_sqe *ring_entry(struct ring *ring);

/* Fills an entry so that it receives bytes of a socket into the ring's buffers, or sends
 * pieces, at most RING_PIECES. A send that was done whole has no completion. */
void ring_receive(const struct ring *ring, struct io_uring_sqe *entry, int fd);
void ring_send(struct ring *ring, struct io_uring_sqe *entry, int fd,
               const struct iovec *pieces, int count);

/* Fills an entry whose completion says that all sends before it have been done. */
void ring_mark(struct io_uring_sqe *entry);

/* Hands all entries to the kernel, which then has done the sends; or, with a thread, does
 * them in their order. */
void ring_submit(struct ring *ring);

/* Waits for a completion of a ring with a thread, for so many ms at most. */
void ring_wait_for_one(struct ring *ring, int timeout);

/* The same, and sleeps until there is a completion, at most so many ms (-1: for ever). */
void ring_wait(struct ring *ring, int timeout);

/* Asks for completions that must be asked for. */
void ring_get(struct ring *ring);

/* Whether the kernel has completions that must be asked for. */
static inline bool ring_has_more(const struct ring *ring) {
    uint32_t flags = __atomic_load_n(ring->uring.sq.kflags, __ATOMIC_RELAXED);
    return flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

/* The buffer that a completion has taken. */
char *ring_take(struct ring *ring, const struct io_uring_cqe *completion);

/* Gives back what was taken. */
void ring_give_back(struct ring *ring);

/* Gives the memory of buffers that nothing lies in back to the system. */
void ring_trim(struct ring *ring);
#endif
