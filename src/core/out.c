/* out.c: a client's queue of unsent bytes, and the pool its pieces come from. */
#include "core/out.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Sizes of a whole piece. Most clients are sent less than a small one holds in a tick;
 * one that is sent more goes on in large ones. Spares hold at most 4 MiB of small pieces
 * (see slab.h), which a broadcast to 2,000 clients takes, and 1 MiB of large. */
enum {
    SMALL_PIECE = 2048,
    LARGE_PIECE = 17 * 1024, /* a message of 16 KiB fits, with its frame */
    SMALL_ROOM = SMALL_PIECE - sizeof(struct piece),
    LARGE_ROOM = LARGE_PIECE - sizeof(struct piece),
    LARGE_SPARES = 60,
    RUN_SIZE = 16 * 1024 - sizeof(struct shared)
};

struct shared *shared_new(const char *head, size_t head_length, const char *body,
                          size_t length, const char *tail, size_t tail_length) {
    size_t total = head_length + length + tail_length;
    struct shared *shared = malloc(sizeof(*shared) + total);
    if (!shared) {
        return NULL;
    }
    *shared = (struct shared){.references = 1, .length = (uint32_t)total};
    memcpy(shared->bytes, head, head_length);
    memcpy(shared->bytes + head_length, body, length);
    memcpy(shared->bytes + head_length + length, tail, tail_length);
    return shared;
}

/* A run with room for so much, whose last message ends where the next may begin. */
static struct shared *run_with_room(struct shared **run, size_t length) {
    struct shared *shared = *run;
    if (shared && shared->references == 1) {
        shared->start = shared->length = 0;
    }
    if (shared && shared->size - shared->start - shared->length >= length) {
        return shared;
    }
    size_t size = length > RUN_SIZE ? length : RUN_SIZE;
    struct shared *fresh = malloc(sizeof(*fresh) + size);
    if (!fresh) {
        return NULL;
    }
    *fresh = (struct shared){.references = 1, .size = (uint32_t)size};
    if (shared) {
        shared_release(shared);
    }
    *run = fresh;
    return fresh;
}

struct shared *shared_run(struct shared **run, const char *head, size_t head_length,
                          const char *body, size_t length, const char *tail,
                          size_t tail_length) {
    size_t total = head_length + length + tail_length;
    struct shared *shared = run_with_room(run, total);
    if (!shared) {
        return NULL;
    }
    shared->start += shared->length;
    shared->length = (uint32_t)total;
    char *place = shared->bytes + shared->start;
    memcpy(place, head, head_length);
    memcpy(place + head_length, body, length);
    memcpy(place + head_length + length, tail, tail_length);
    return shared;
}

void shared_release(struct shared *shared) {
    if (--shared->references == 0) {
        free(shared);
    }
}

static struct piece *allocate(struct pool *pool, size_t size) {
    if (size == SMALL_ROOM) {
        return slab_take_fast(&pool->small, SMALL_PIECE);
    }
    if (size == 0) {
        return slab_take_fast(&pool->references, sizeof(struct piece));
    }
    struct piece *spare = size == LARGE_ROOM ? pool->large : NULL;
    if (spare) {
        pool->large = spare->next;
        pool->large_count--;
        return spare;
    }
    return malloc(sizeof(struct piece) + size);
}

static struct piece *piece_new(struct pool *pool, size_t size) {
    struct piece *piece = allocate(pool, size);
    if (!piece) {
        return NULL;
    }
    piece->size = (uint32_t)size;
    piece->next = NULL;
    piece->bytes = piece->storage;
    piece->shared = NULL;
    piece->length = 0;
    piece->room = piece->size;
    return piece;
}

static void piece_free(struct pool *pool, struct piece *piece) {
    if (piece->shared) {
        shared_release(piece->shared);
    }
    if (piece->size == SMALL_ROOM) {
        slab_give_fast(&pool->small, piece);
    } else if (piece->size == 0) {
        slab_give_fast(&pool->references, piece);
    } else if (piece->size == LARGE_ROOM && pool->large_count < LARGE_SPARES) {
        piece->next = pool->large;
        pool->large = piece;
        pool->large_count++;
    } else {
        free(piece);
    }
}

static void link_piece(struct out *out, struct piece *piece) {
    if (out->tail) {
        out->tail->next = piece;
    } else {
        out->head = piece;
    }
    out->tail = piece;
}

struct piece *out_extend(struct pool *pool, struct out *out, size_t length) {
    bool begins = !out->tail || out->tail->shared;
    size_t size = begins && length <= SMALL_ROOM ? (size_t)SMALL_ROOM
                  : length <= LARGE_ROOM         ? (size_t)LARGE_ROOM
                                                 : length;
    struct piece *piece = piece_new(pool, size);
    if (piece) {
        link_piece(out, piece);
    }
    return piece;
}

int out_append(struct pool *pool, struct out *out, const char *bytes, size_t length) {
    if (length == 0) {
        return 0;
    }
    char *place = out_claim(pool, out, length);
    if (!place) {
        return -1;
    }
    memcpy(place, bytes, length);
    return 0;
}

int out_append_shared(struct pool *pool, struct out *out, struct shared *shared) {
    const struct piece *tail = out->tail;
    char *bytes = shared->bytes + shared->start;
    if (out_follow(out, shared)) {
        return 0;
    }
    if (tail && tail->room >= shared->length) {
        /* A reference would waste more than it saves: nothing goes into that room
         * later. So the memory of a queue stays in proportion to its bytes. */
        return out_append(pool, out, bytes, shared->length);
    }
    struct piece *piece = piece_new(pool, 0);
    if (!piece) {
        return -1;
    }
    shared->references++;
    piece->shared = shared;
    piece->bytes = bytes;
    piece->length = shared->length;
    link_piece(out, piece);
    out->bytes += shared->length;
    return 0;
}

int out_gather(const struct out *out, struct iovec *iovecs, int count) {
    int n = 0;
    for (struct piece *piece = out->head; piece && n < count; piece = piece->next) {
        if (piece->length > 0) {
            iovecs[n].iov_base = piece->bytes;
            iovecs[n].iov_len = piece->length;
            n++;
        }
    }
    return n;
}

void out_consume(struct pool *pool, struct out *out, size_t written) {
    out->bytes -= (uint32_t)written;
    while (out->head && written >= out->head->length) {
        struct piece *piece = out->head;
        written -= piece->length;
        out->head = piece->next;
        piece_free(pool, piece);
    }
    if (!out->head) {
        out->tail = NULL;
    } else {
        out->head->bytes += written;
        out->head->length -= (uint32_t)written;
    }
}

void out_clear(struct pool *pool, struct out *out) {
    while (out->head) {
        struct piece *piece = out->head;
        out->head = piece->next;
        piece_free(pool, piece);
    }
    out->tail = NULL;
    out->bytes = 0;
}

void pool_clear(struct pool *pool) {
    while (pool->large) {
        struct piece *next = pool->large->next;
        free(pool->large);
        pool->large = next;
    }
    pool->large_count = 0;
    slab_trim(&pool->small);
    slab_trim(&pool->references);
}
