/* batch.h: the events of a tick and the memory their bytes live in.
 *
 * The arena takes what sockets read; it is used anew each tick. Blocks that outlive
 * their owner only until the tick ends are given to batch_spend. Knows no libuv.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "sync.h"

enum {
    BATCH_WORK = 8192,        /* of one tick; a message is 1 of it at least */
    BATCH_FRESH = 4096,       /* of which what wasn't begun before has so much at least */
    BATCH_ARENA = 1024 * 1024 /* bytes read in one tick */
};

struct batch {
    struct sync_event *events;
    uint32_t count;
    uint32_t work;  /* that was done for this tick's messages, and that they will be */
    uint32_t limit; /* of the work */
    uint32_t capacity;
    uint32_t reserved; /* other events that may come in a tick */
    char *arena;
    size_t arena_used;
    struct spent *spent;
};

/* Returns 0, or -1 when memory ran out. */
int batch_init(struct batch *batch);
void batch_free(struct batch *batch);

/* Empties the batch: the tick is over. */
void batch_reset(struct batch *batch);

/* Makes room for `events` more events that aren't messages, so that pushing one never
 * fails: each object reserves, when it is made, what it may push in one tick. Events may
 * move to a larger block; the smaller one lives until the tick ends. */
int batch_reserve(struct batch *batch, uint32_t events);
void batch_unreserve(struct batch *batch, uint32_t events);

/* Appends an event; messages only while batch_has_room, and with their work counted. */
static inline void batch_push(struct batch *batch, uint32_t type, uint32_t id,
                              uint32_t value, const char *data, size_t length) {
    struct sync_event *event = &batch->events[batch->count++];
    event->type = type;
    event->id = id;
    event->value = value;
    event->length = (uint32_t)length;
    event->data = data;
}

static inline int batch_has_room(const struct batch *batch) {
    return batch->work < batch->limit;
}

/* Whether what was begun in earlier ticks has had its part of this one. */
static inline int batch_is_half_full(const struct batch *batch) {
    return batch->work >= BATCH_WORK - BATCH_FRESH;
}

/* That part is over. One long message may have taken more than all of it: nobody else
 * waits for that. */
static inline void batch_leave_room(struct batch *batch) {
    if (batch->limit < batch->work + BATCH_FRESH) {
        batch->limit = batch->work + BATCH_FRESH;
    }
}

/* A block that batch_spend may be given; NULL when memory ran out. */
char *batch_block_new(size_t size);
/* Frees such a block now, or when the tick ends. */
void batch_block_free(char *block);
void batch_spend(struct batch *batch, char *block);

/* Gives the memory of large ticks back to the system. */
void batch_trim(struct batch *batch);
