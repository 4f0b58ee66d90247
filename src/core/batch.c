/* batch.c: the events of a tick and the memory their bytes live in. */
#include "core/batch.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Messages of a tick: those begun before leave room for as many as there may be fresh. */
enum { MESSAGES_MOST = BATCH_WORK + BATCH_FRESH };

/* Header of a block; keeps the bytes behind it aligned. */
struct spent {
    _Alignas(16) struct spent *next;
};

static int resize(struct batch *batch, uint32_t capacity) {
    size_t size = capacity * sizeof(*batch->events);
    struct sync_event *events = (struct sync_event *)(void *)batch_block_new(size);
    if (!events) {
        return -1;
    }
    if (batch->events) {
        memcpy(events, batch->events, batch->count * sizeof(*events));
        batch_spend(batch, (char *)batch->events);
    }
    batch->events = events;
    batch->capacity = capacity;
    return 0;
}

int batch_init(struct batch *batch) {
    *batch = (struct batch){.limit = BATCH_WORK};
    batch->arena = mmap(NULL, BATCH_ARENA, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (batch->arena == MAP_FAILED) {
        batch->arena = NULL;
    }
    if (resize(batch, MESSAGES_MOST) < 0 || !batch->arena) {
        batch_free(batch);
        return -1;
    }
    return 0;
}

void batch_free(struct batch *batch) {
    batch_reset(batch);
    batch_block_free((char *)batch->events);
    if (batch->arena) {
        munmap(batch->arena, BATCH_ARENA);
    }
    *batch = (struct batch){0};
}

void batch_reset(struct batch *batch) {
    batch->count = 0;
    batch->work = 0;
    batch->limit = BATCH_WORK;
    batch->arena_used = 0;
    while (batch->spent) {
        struct spent *block = batch->spent;
        batch->spent = block->next;
        free(block);
    }
}

int batch_reserve(struct batch *batch, uint32_t events) {
    uint32_t needed = MESSAGES_MOST + batch->reserved + events;
    if (needed > batch->capacity && resize(batch, needed + needed / 2) < 0) {
        return -1;
    }
    batch->reserved += events;
    return 0;
}

void batch_unreserve(struct batch *batch, uint32_t events) {
    batch->reserved -= events;
}

char *batch_block_new(size_t size) {
    struct spent *block = malloc(sizeof(*block) + size);
    return block ? (char *)(block + 1) : NULL;
}

void batch_block_free(char *block) {
    if (block) {
        free((struct spent *)(void *)block - 1);
    }
}

void batch_spend(struct batch *batch, char *block) {
    if (block) {
        struct spent *spent = (struct spent *)(void *)block - 1;
        spent->next = batch->spent;
        batch->spent = spent;
    }
}

void batch_trim(struct batch *batch) {
    uint32_t needed = MESSAGES_MOST + batch->reserved;
    if (batch->count <= needed && batch->capacity > 2 * needed) {
        resize(batch, needed);
    }
    if (batch->arena_used == 0) {
        madvise(batch->arena, BATCH_ARENA, MADV_DONTNEED);
    }
}
