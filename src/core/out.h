/* out.h: the queue of bytes that wait to be written to one client.
 *
 * A queue is a list of pieces. Small messages are copied one behind the other into
 * pieces with room; large ones that go to many clients are shared by reference. Pieces
 * come from a pool that all queues of a core use, so a queue that is empty holds no
 * memory. Knows no socket: it is gathered into iovecs, and told what was written.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "core/slab.h"

/* Bytes that several queues send; freed with its last reference. */
struct shared {
    uint32_t references;
    uint32_t length;
    char bytes[];
};

struct piece {
    struct piece *next;
    char *bytes; /* what is unsent */
    struct shared *shared;
    uint32_t length; /* unsent bytes */
    uint32_t room;   /* bytes that can still be appended */
    uint32_t size;   /* of storage */
    char storage[];
};

struct out {
    struct piece *head;
    struct piece *tail;
    uint32_t bytes; /* unsent, those of a write in flight included */
};

struct pool {
    struct slabs small;
    struct piece *large; /* spares */
    uint32_t large_count;
};

/* A copy of head, body and tail with one reference, or NULL when memory ran out. */
struct shared *shared_new(const char *head, size_t head_length, const char *body,
                          size_t length, const char *tail, size_t tail_length);
void shared_release(struct shared *shared);

/* Queues `length` bytes that the caller writes at the returned place before it does
 * anything else with the queue. Returns NULL when memory ran out; then nothing is. */
char *out_claim(struct pool *pool, struct out *out, size_t length);

/* Queues a copy. Returns 0, or -1 when memory ran out; then nothing was queued. */
int out_append(struct pool *pool, struct out *out, const char *bytes, size_t length);

/* Queues a reference, or a copy where there's room for one. Returns 0, or -1 when
 * memory ran out. */
int out_append_shared(struct pool *pool, struct out *out, struct shared *shared);

/* Fills at most `count` iovecs with what is first in the queue; returns how many. */
int out_gather(const struct out *out, struct iovec *iovecs, int count);

/* Takes off what was written. */
void out_consume(struct pool *pool, struct out *out, size_t written);

/* Forgets all that is queued. */
void out_clear(struct pool *pool, struct out *out);

/* Frees the pool's spare pieces. */
void pool_clear(struct pool *pool);
