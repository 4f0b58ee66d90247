/* slab.h: blocks of one size, in memory of their own.
 *
 * With malloc what is needed for a moment lies between what stays (a client that is
 * answered while others come gets its queue's piece beside their connections), and memory
 * that is free in such small parts can't be given back to the system. So what stays, and
 * what doesn't, have slabs each. Knows nothing of what blocks are for.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
    SLAB_SIZE = 256 * 1024, /* bytes of a slab; also how it's aligned */
    SLAB_SPARES = 16        /* empty slabs that are kept: 4 MiB */
};

struct slab;

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

/* Gives empty slabs back to the system. */
void slab_trim(struct slabs *slabs);
