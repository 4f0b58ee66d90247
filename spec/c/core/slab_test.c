/* slab_test.c: blocks of one size, in memory of their own. */
#include <stdlib.h>
#include <string.h>

#include "core/slab.h"
#include "test.h"

enum { SIZE = 500, COUNT = 3000 };

/* Takes blocks, and writes each one's number all over it. */
static void fill(struct slabs *slabs, unsigned char **blocks) {
    for (int i = 0; i < COUNT; i++) {
        blocks[i] = slab_take(slabs, SIZE);
        REQUIRE(blocks[i]);
        CHECK_INT((uintptr_t)blocks[i] % 16, 0);
        memset(blocks[i], i % 251, SIZE);
    }
}

static int is_whole(const unsigned char *block, int i) {
    for (int at = 0; at < SIZE; at++) {
        if (block[at] != i % 251) {
            return 0;
        }
    }
    return 1;
}

TEST(slab_blocks_do_not_overlap_in_whatever_order_they_come_back) {
    struct slabs slabs = {0};
    unsigned char **blocks = calloc(COUNT, sizeof(*blocks));
    REQUIRE(blocks);
    fill(&slabs, blocks);
    uint32_t random = 1;
    for (int round = 0; round < 20000; round++) {
        random = random * 1664525U + 1013904223U;
        int i = (int)((random >> 8) % COUNT);
        CHECK(is_whole(blocks[i], i));
        slab_give(&slabs, blocks[i]);
        random = random * 1664525U + 1013904223U;
        int j = (int)((random >> 8) % COUNT);
        if (j != i) {
            CHECK(is_whole(blocks[j], j));
            slab_give(&slabs, blocks[j]);
            blocks[j] = slab_take(&slabs, SIZE);
            REQUIRE(blocks[j]);
            memset(blocks[j], j % 251, SIZE);
        }
        blocks[i] = slab_take_zeroed(&slabs, SIZE);
        REQUIRE(blocks[i]);
        CHECK_INT(blocks[i][0] + blocks[i][SIZE - 1], 0);
        memset(blocks[i], i % 251, SIZE);
    }
    for (int i = 0; i < COUNT; i++) {
        CHECK(is_whole(blocks[i], i));
        slab_give(&slabs, blocks[i]);
    }
    slab_give(&slabs, NULL); /* harmless */
    slab_trim(&slabs);
    CHECK(!slabs.open);
    CHECK_INT(slabs.empty, 0);
    free(blocks);
}

TEST(slab_keeps_no_more_empty_slabs_than_it_says) {
    struct slabs slabs = {0};
    enum { BLOCK = 16 * 1024, BLOCKS = 1000 };
    void *blocks[BLOCKS];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            blocks[i] = slab_take(&slabs, BLOCK);
            REQUIRE(blocks[i]);
        }
        CHECK_INT(slabs.empty, 0);
        for (int i = 0; i < BLOCKS; i++) {
            slab_give(&slabs, blocks[i]);
        }
        CHECK(slabs.empty <= SLAB_SPARES);
    }
    slab_trim(&slabs);
    CHECK(!slabs.open);
}
