/* out.h: the queue of bytes that wait to be written to one client.
 *
 * A queue is a list of pieces. Small messages are copied one behind the other into
 * pieces with room; large ones that go to many clients are shared by reference. Pieces
 * come from a pool that all queues of a core use, so a queue that is empty holds no
 * memory. Knows no socket: it is gathered into iovecs, and told what was written.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "core/slab.h"

/* Bytes that several queues send; freed with its last reference. A run is one to which
 * messages are added: what is queued by reference then is the last. */
struct shared {
    uint32_t references;
    uint32_t start; /* of the message */
    uint32_t length;
    uint32_t size; /* of a run, else 0 */
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
    struct slabs references; /* pieces without storage */
    struct piece *large;     /* spares */
    uint32_t large_count;
};

/* A copy of head, body and tail with one reference, or NULL when memory ran out. */
struct shared *shared_new(const char *head, size_t head_length, const char *body,
                          size_t length, const char *tail, size_t tail_length);
void shared_release(struct shared *shared);

/* Adds a message to a run, which is begun, begun anew when nobody sends of it any more,
 * and exchanged when it's full. The caller has a reference to it. Returns it, or NULL
 * when memory ran out. Of a queue that stays, a reference keeps all of the run: so only
 * who is about to be written to is given one. */
struct shared *shared_run(struct shared **run, const char *head, size_t head_length,
                          const char *body, size_t length, const char *tail,
                          size_t tail_length);

/* A piece that has room for `length` more bytes, where the queue's last hasn't. */
struct piece *out_extend(struct pool *pool, struct out *out, size_t length);

/* Queues `length` bytes that the caller writes at the returned place before it does
 * anything else with the queue. Returns NULL when memory ran out; then nothing is. */
static inline char *out_claim(struct pool *pool, struct out *out, size_t length) {
    struct piece *piece = out->tail;
    if (!piece || piece->room < length) {
        piece = out_extend(pool, out, length);
    }
    if (!piece) {
        return NULL;
    }
    char *place = piece->storage + piece->size - piece->room;
    piece->length += (uint32_t)length;
    piece->room -= (uint32_t)length;
    out->bytes += (uint32_t)length;
    return place;
}

/* Queues a copy. Returns 0, or -1 when memory ran out; then nothing was queued. */
int out_append(struct pool *pool, struct out *out, const char *bytes, size_t length);

/* Queues a run's message without a reference, where the queue ends with the one before.
 * Returns whether it does. */
static inline bool out_follow(struct out *out, const struct shared *run) {
    struct piece *tail = out->tail;
    if (!tail || tail->shared != run ||
        tail->bytes + tail->length != run->bytes + run->start) {
        return false;
    }
    tail->length += run->length;
    out->bytes += run->length;
    return true;
}

/* Queues a reference, or a copy where there's room for one; what follows in a run on what
 * the queue ends with needs neither. Returns 0, or -1 when memory ran out. */
int out_append_shared(struct pool *pool, struct out *out, struct shared *shared);

/* Fills at most `count` iovecs with what is first in the queue; returns how many. */
int out_gather(const struct out *out, struct iovec *iovecs, int count);

/* Takes off what was written. */
void out_consume(struct pool *pool, struct out *out, size_t written);

/* Forgets all that is queued. */
void out_clear(struct pool *pool, struct out *out);

/* Frees the pool's spare pieces. */
void pool_clear(struct pool *pool);
