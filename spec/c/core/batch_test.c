/* batch_test.c: there is room for every event that was reserved. */
#include <string.h>

#include "core/batch.h"
#include "sync.h"
#include "test.h"

TEST(batch_keeps_events_in_order) {
    struct batch batch;
    REQUIRE(batch_init(&batch) == 0);
    batch_push(&batch, SYNC_DATA, 7, 0, "abc", 3);
    batch_push(&batch, SYNC_CLOSE, 7, SYNC_RESET, NULL, 0);
    CHECK_INT(batch.count, 2);
    CHECK_INT(batch.events[0].type, SYNC_DATA);
    CHECK_INT(batch.events[0].id, 7);
    CHECK_BYTES(batch.events[0].data, batch.events[0].length, "abc", 3);
    CHECK_INT(batch.events[1].type, SYNC_CLOSE);
    CHECK_INT(batch.events[1].value, SYNC_RESET);
    batch_reset(&batch);
    CHECK_INT(batch.count, 0);
    CHECK_INT(batch.work, 0);
    batch_free(&batch);
}

TEST(batch_leaves_room_whatever_was_begun_before) {
    static const uint32_t before[] = {0, BATCH_WORK - BATCH_FRESH, BATCH_WORK, 100000};
    struct batch batch;
    CHECK_INT(batch_init(&batch), 0);
    for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
        batch.work = before[i];
        CHECK_INT(batch_is_half_full(&batch), i > 0);
        batch_leave_room(&batch);
        CHECK_INT(batch.limit, i < 2 ? BATCH_WORK : before[i] + BATCH_FRESH);
        batch.work = batch.limit;
        CHECK(!batch_has_room(&batch));
        batch_reset(&batch);
        CHECK_INT(batch.limit, BATCH_WORK);
    }
    batch_free(&batch);
}

TEST(batch_has_room_for_a_full_tick_and_all_that_is_reserved) {
    struct batch batch;
    enum { OTHERS = 30000 };
    REQUIRE(batch_init(&batch) == 0);
    for (uint32_t i = 0; i < OTHERS; i += 4) {
        REQUIRE(batch_reserve(&batch, 4) == 0);
    }
    uint32_t messages = 0;
    while (batch_has_room(&batch)) {
        batch_push(&batch, SYNC_DATA, 1, messages++, "x", 1);
        batch.work++;
    }
    CHECK_INT(messages, BATCH_WORK);
    for (uint32_t i = 0; i < OTHERS; i++) {
        batch_push(&batch, SYNC_CLOSE, i, i, NULL, 0);
    }
    CHECK(batch.count <= batch.capacity);
    CHECK_INT(batch.events[0].value, 0);
    CHECK_INT(batch.events[BATCH_WORK + OTHERS - 1].value, OTHERS - 1);
    batch_free(&batch);
}

TEST(batch_gives_memory_back) {
    struct batch batch;
    REQUIRE(batch_init(&batch) == 0);
    batch_reserve(&batch, 200000);
    uint32_t large = batch.capacity;
    batch_unreserve(&batch, 200000);
    batch_trim(&batch);
    CHECK(batch.capacity < large / 2);
    CHECK(batch.capacity >= BATCH_WORK);
    /* What the batch holds stays when it's trimmed. */
    batch_reserve(&batch, 200000);
    batch_push(&batch, SYNC_DATA, 1, 5, "abc", 3);
    batch_unreserve(&batch, 200000);
    batch_trim(&batch);
    CHECK_INT(batch.events[0].value, 5);
    batch_free(&batch);
}

TEST(batch_keeps_spent_blocks_until_the_tick_ends) {
    struct batch batch;
    REQUIRE(batch_init(&batch) == 0);
    char *blocks[10];
    for (int i = 0; i < 10; i++) {
        blocks[i] = batch_block_new(1000);
        REQUIRE(blocks[i]);
        CHECK_INT((uintptr_t)blocks[i] % 16, 0);
        memset(blocks[i], 'a' + i, 1000);
        batch_spend(&batch, blocks[i]);
    }
    for (int i = 0; i < 10; i++) {
        CHECK_INT(blocks[i][999], 'a' + i);
    }
    batch_reset(&batch); /* a sanitizer would see what isn't freed */
    batch_spend(&batch, NULL);
    batch_block_free(NULL);
    batch_block_free(batch_block_new(10));
    batch_spend(&batch, batch_block_new(10));
    batch_free(&batch);
}
