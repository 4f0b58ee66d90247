/* heap.c: the memory of Lua's objects. */
#include "core/heap.h"

#include <stdlib.h>
#include <string.h>

#include "core/slab.h"

enum {
    STEP = 16,  /* between two sizes of blocks */
    MOST = 512, /* bytes of what isn't malloc's */
    CLASSES = MOST / STEP
};

static struct slabs classes[CLASSES];
static size_t used;

static size_t class_of(size_t size) {
    return (size - 1) / STEP;
}

static void *take(size_t size) {
    if (size > MOST) {
        return malloc(size);
    }
    size_t class = class_of(size);
    void *block = slab_take_fast(&classes[class], (uint32_t)(class + 1) * STEP);
    used += block ? (class + 1) * STEP : 0;
    return block;
}

static void give(void *block, size_t size) {
    if (size > MOST) {
        free(block);
        return;
    }
    size_t class = class_of(size);
    used -= (class + 1) * STEP;
    slab_give_fast(&classes[class], block);
}

/* From a size to another, one of which isn't malloc's. */
static void *move(void *block, size_t old_size, size_t size) {
    if (old_size <= MOST && size <= MOST && class_of(old_size) == class_of(size)) {
        return block;
    }
    void *moved = take(size);
    if (moved) {
        memcpy(moved, block, old_size < size ? old_size : size);
        give(block, old_size);
    }
    return moved;
}

void *heap_allocate(void *context, void *block, size_t old_size, size_t size) {
    (void)context;
    if (!block) {
        return size > 0 ? take(size) : NULL;
    }
    if (size == 0) {
        give(block, old_size);
        return NULL;
    }
    return old_size > MOST && size > MOST ? realloc(block, size)
                                          : move(block, old_size, size);
}

size_t heap_used(void) {
    return used;
}

void heap_trim(void) {
    for (size_t i = 0; i < CLASSES; i++) {
        slab_trim(&classes[i]);
    }
}
