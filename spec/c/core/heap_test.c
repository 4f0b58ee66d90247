/* heap_test.c: the memory of Lua's objects. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/heap.h"
#include "sync.h"
#include "test.h"

enum { COUNT = 2000, MOST = 1500, ROUNDS = 100000 };

struct kept {
    unsigned char *bytes;
    size_t size;
    unsigned char mark;
};

static uint32_t state = 1;

static uint32_t random_below(uint32_t most) {
    state = state * 1664525U + 1013904223U;
    return (state >> 8) % most;
}

/* Looks at what a block begins and ends with, and whether all between is as it was. */
static int is_whole(const struct kept *kept, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (kept->bytes[i] != kept->mark) {
            return 0;
        }
    }
    return 1;
}

/* Gives a block another size, as Lua does: 0 takes it back. */
static void change(struct kept *kept, size_t size) {
    kept->bytes = heap_allocate(NULL, kept->bytes, kept->size, size);
    CHECK((kept->bytes != NULL) == (size > 0));
    CHECK_INT((uintptr_t)kept->bytes % 16, 0);
    CHECK(is_whole(kept, size < kept->size ? size : kept->size));
    kept->size = size;
    kept->mark = (unsigned char)random_below(256);
    if (size > 0) {
        memset(kept->bytes, kept->mark, size);
    }
}

TEST(heap_blocks_keep_their_bytes_whatever_sizes_they_are_given) {
    struct kept *kept = calloc(COUNT, sizeof(*kept));
    REQUIRE(kept);
    size_t before = heap_used();
    for (int round = 0; round < ROUNDS; round++) {
        size_t size = random_below(3) ? random_below(MOST) : 0;
        change(&kept[random_below(COUNT)], size);
    }
    CHECK(heap_used() > before);
    for (int i = 0; i < COUNT; i++) {
        change(&kept[i], 0);
    }
    CHECK_INT(heap_used(), before);
    heap_trim();
    change(&kept[0], 40);
    change(&kept[0], 0);
    free(kept);
}

TEST(heap_counts_as_memory_that_is_used) {
    enum { BLOCKS = 40000, SIZE = 100 };
    void **blocks = calloc(BLOCKS, sizeof(*blocks));
    REQUIRE(blocks);
    double before = sync_memory_used();
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = heap_allocate(NULL, NULL, 0, SIZE);
        REQUIRE(blocks[i]);
    }
    CHECK(sync_memory_used() - before >= (double)BLOCKS * SIZE);
    for (int i = 0; i < BLOCKS; i++) {
        heap_allocate(NULL, blocks[i], SIZE, 0);
    }
    CHECK(sync_memory_used() - before < (double)BLOCKS * SIZE / 2);
    free(blocks);
}

TEST(heap_takes_nothing_back_of_nothing) {
    CHECK(heap_allocate(NULL, NULL, 0, 0) == NULL);
}
