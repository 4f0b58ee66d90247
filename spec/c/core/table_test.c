/* table_test.c: ids are dense, name what they were given for, and come back. */
#include <stdlib.h>

#include "core/table.h"
#include "test.h"

static int things[5000];

TEST(table_ids_begin_at_one_and_are_dense) {
    struct table table = {0};
    CHECK(!table_get(&table, 0));
    CHECK(!table_get(&table, 1));
    CHECK(!table_get(&table, UINT32_MAX));
    for (uint32_t i = 1; i <= 1000; i++) {
        CHECK_INT(table_add(&table, &things[i]), i);
    }
    for (uint32_t i = 1; i <= 1000; i++) {
        CHECK(table_get(&table, i) == &things[i]);
    }
    CHECK(!table_get(&table, 0));
    CHECK(!table_get(&table, 1001));
    table_clear(&table);
    CHECK(!table_get(&table, 1));
}

TEST(table_uses_ids_again) {
    struct table table = {0};
    for (uint32_t i = 1; i <= 100; i++) {
        table_add(&table, &things[i]);
    }
    table_remove(&table, 17);
    CHECK(!table_get(&table, 17));
    CHECK_INT(table_add(&table, &things[200]), 17);
    CHECK_INT(table_add(&table, &things[201]), 101);
    table_clear(&table);
}

TEST(table_trims_to_what_is_left) {
    struct table table = {0};
    table_trim(&table); /* nothing there */
    for (uint32_t i = 1; i <= 4000; i++) {
        table_add(&table, &things[i]);
    }
    for (uint32_t i = 1; i <= 4000; i++) {
        if (i != 5 && i != 90) {
            table_remove(&table, i);
        }
    }
    uint32_t before = table.capacity;
    table_trim(&table);
    CHECK(table.capacity < before / 8);
    CHECK(table_get(&table, 5) == &things[5]);
    CHECK(table_get(&table, 90) == &things[90]);
    CHECK(!table_get(&table, 4000));
    /* The free ids are those between, each once. */
    bool seen[200] = {false};
    for (int i = 0; i < 100; i++) {
        uint32_t id = table_add(&table, &things[0]);
        REQUIRE(id > 0 && id < 200);
        CHECK(!seen[id] && id != 5 && id != 90);
        seen[id] = true;
    }
    table_remove(&table, 5);
    table_clear(&table);
    table_trim(&table);
}

TEST(table_follows_a_model_through_random_use) {
    enum { COUNT = 3000 };
    struct table table = {0};
    static int *model[COUNT + 1];
    uint32_t held = 0;
    for (int step = 0; step < 60000; step++) {
        uint32_t id = 1 + test_random(COUNT);
        if (test_random(1000) == 0) {
            table_trim(&table);
        } else if (model[id]) {
            CHECK(table_get(&table, id) == model[id]);
            table_remove(&table, id);
            model[id] = NULL;
            held--;
        } else if (held < COUNT) {
            int *thing = &things[test_random(5000)];
            id = table_add(&table, thing);
            REQUIRE(id >= 1 && id <= COUNT && !model[id]);
            model[id] = thing;
            held++;
        }
    }
    for (uint32_t id = 1; id <= COUNT; id++) {
        CHECK(table_get(&table, id) == model[id]);
        model[id] = NULL;
    }
    table_clear(&table);
}
