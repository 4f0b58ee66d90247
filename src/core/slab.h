/* slab.h: blocks of one size, in memory of their own.
 *
 * malloc puts blocks beside each other as they are asked for: the connection of a client
 * that stays beside a piece of a queue that is soon free. Free memory in such small parts
 * can't be given back to the system. So each kind of block that stays, and each that
 * doesn't, has slabs of its own. Knows nothing of what blocks are for.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
    SLAB_SIZE = 256 * 1024, /* bytes of a slab; also how it's aligned */
    SLAB_SPARES = 16        /* empty slabs that are kept: 4 MiB */
};

struct slab_block {
    struct slab_block *next;
};

struct slab {
    struct slab *next; /* of those that are open */
    struct slab *before;
    struct slab_block *free; /* blocks that were used */
    uint32_t used;
    uint32_t fresh; /* where the blocks begin that were never used, nor take memory */
};

/* All zeros is an empty set of slabs. */
struct slabs {
    struct slab *open;   /* those that have a free block */
    uint32_t block_size; /* once there is one */
    uint32_t empty;      /* slabs without a used block */
};

/* A block, or NULL when memory ran out. `size` is the same for all blocks of a set. */
void *slab_take(struct slabs *slabs, uint32_t size);
void *slab_take_zeroed(struct slabs *slabs, uint32_t size);
/* A block, or NULL, which is passed over. */
void slab_give(struct slabs *slabs, void *block);

/* The same, for those who take and give all the time: the usual case without a call. */
static inline void *slab_take_fast(struct slabs *slabs, uint32_t size) {
    struct slab *slab = slabs->open;
    struct slab_block *block = slab ? slab->free : NULL;
    if (!block || !block->next || slab->used == 0) {
        return slab_take(slabs, size);
    }
    slab->free = block->next;
    slab->used++;
    return block;
}

static inline void slab_give_fast(struct slabs *slabs, void *block) {
    uintptr_t place = (uintptr_t)block & (SLAB_SIZE - 1);
    struct slab *slab = (struct slab *)(void *)((char *)block - place);
    if (!slabs->open || !slab->free || slab->used < 2) {
        slab_give(slabs, block);
        return;
    }
    struct slab_block *freed = block;
    freed->next = slab->free;
    slab->free = freed;
    slab->used--;
}

/* Gives empty slabs back to the system. */
void slab_trim(struct slabs *slabs);
