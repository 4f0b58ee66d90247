/* slab.c: blocks of one size, in memory of their own. */
#include "core/slab.h"

#include <string.h>
#include <sys/mman.h>

#ifdef __has_feature
#define HAS_ASAN __has_feature(address_sanitizer)
#elif defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#else
#define HAS_ASAN 0
#endif

#if HAS_ASAN

/* The sanitizer knows what malloc has given: then a block is one of its own. */

#include <stdlib.h>

void *slab_take(struct slabs *slabs, uint32_t size) {
    (void)slabs;
    return malloc(size);
}

void slab_give(struct slabs *slabs, void *block) {
    (void)slabs;
    free(block);
}

void slab_trim(struct slabs *slabs) {
    (void)slabs;
}

#else

enum {
    FIRST = 64, /* where the first block begins, past the head of its slab */
    ALIGNMENT = 16
};
_Static_assert(sizeof(struct slab) <= FIRST, "the head of a slab fits before its blocks");

static struct slab *slab_of(void *block) {
    size_t place = (uintptr_t)block & (SLAB_SIZE - 1);
    return (struct slab *)(void *)((char *)block - place);
}

static int is_full(const struct slabs *slabs, const struct slab *slab) {
    return !slab->free && slab->fresh + slabs->block_size > SLAB_SIZE;
}

static void open_slab(struct slabs *slabs, struct slab *slab) {
    slab->next = slabs->open;
    slab->before = NULL;
    if (slab->next) {
        slab->next->before = slab;
    }
    slabs->open = slab;
}

static void close_slab(struct slabs *slabs, struct slab *slab) {
    if (slab->before) {
        slab->before->next = slab->next;
    } else {
        slabs->open = slab->next;
    }
    if (slab->next) {
        slab->next->before = slab->before;
    }
}

/* Maps twice as much, and gives back what is not aligned. */
static struct slab *map_slab(void) {
    char *all = mmap(NULL, 2 * SLAB_SIZE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) {
        return NULL;
    }
    size_t before = (SLAB_SIZE - (uintptr_t)all % SLAB_SIZE) % SLAB_SIZE;
    if (before > 0) {
        munmap(all, before);
    }
    munmap(all + before + SLAB_SIZE, SLAB_SIZE - before);
    return (struct slab *)(void *)(all + before);
}

void *slab_take(struct slabs *slabs, uint32_t size) {
    slabs->block_size = (size + ALIGNMENT - 1) & ~(uint32_t)(ALIGNMENT - 1);
    struct slab *slab = slabs->open;
    if (!slab) {
        slab = map_slab();
        if (!slab) {
            return NULL;
        }
        slab->fresh = FIRST;
        slabs->empty++;
        open_slab(slabs, slab);
    }
    void *block = slab->free;
    if (block) {
        slab->free = slab->free->next;
    } else {
        block = (char *)slab + slab->fresh;
        slab->fresh += slabs->block_size;
    }
    slabs->empty -= slab->used == 0;
    slab->used++;
    if (is_full(slabs, slab)) {
        close_slab(slabs, slab);
    }
    return block;
}

void slab_give(struct slabs *slabs, void *block) {
    if (!block) {
        return;
    }
    struct slab *slab = slab_of(block);
    if (is_full(slabs, slab)) {
        open_slab(slabs, slab);
    }
    struct slab_block *freed = block;
    freed->next = slab->free;
    slab->free = freed;
    slab->used--;
    if (slab->used == 0) {
        if (slabs->empty < SLAB_SPARES) {
            slabs->empty++;
        } else {
            close_slab(slabs, slab);
            munmap(slab, SLAB_SIZE);
        }
    }
}

void slab_trim(struct slabs *slabs) {
    struct slab *next = NULL;
    for (struct slab *slab = slabs->open; slab; slab = next) {
        next = slab->next;
        if (slab->used == 0) {
            close_slab(slabs, slab);
            munmap(slab, SLAB_SIZE);
        }
    }
    slabs->empty = 0;
}

#endif

void *slab_take_zeroed(struct slabs *slabs, uint32_t size) {
    void *block = slab_take(slabs, size);
    if (block) {
        memset(block, 0, size);
    }
    return block;
}
