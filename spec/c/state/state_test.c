/* state_test.c: bounds, whose memory is read when, and what a member is sent. What is
 * sent in all sorts of lives is the model's, in spec/state/. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "state/state.h"
#include "test.h"

struct player {
    double x;
    double y;
    double hp;
};

static const char UINT8[] = {TYPE_UINT8};
static const char TEXT[] = {TYPE_STRING};

/* A state with the table `players`: x, y and a name, and hp for the owner. */
static struct sync_state *state_of(const struct sync_table *options) {
    struct sync_state *state = sync_state_new(7);
    struct sync_table root = {.most = 1, .most_bytes = 100};
    CHECK_INT(sync_state_table(state, "", 0, &root), 0);
    CHECK_INT(sync_state_table(state, "players", 7, options), 1);
    CHECK_INT(sync_state_field(state, 1, "x", 1, 0, 0, UINT8, 1), 0);
    CHECK_INT(sync_state_field(state, 1, "name", 4, 0, 0, TEXT, 1), 1);
    CHECK_INT(
        sync_state_field(state, 1, "hp", 2, 1, offsetof(struct player, hp), UINT8, 1), 2);
    return state;
}

static const struct sync_table ALL = {
    .keys = KEYS_INTEGER, .most = 100000, .most_bytes = 1000};
static const struct sync_table NEAR = {.keys = KEYS_INTEGER,
                                       .sees = SYNC_SEES_NEAR,
                                       .near = 10,
                                       .far = 11,
                                       .x_offset = offsetof(struct player, x),
                                       .y_offset = offsetof(struct player, y),
                                       .most = 100000,
                                       .most_bytes = 1000};

/* What the patch of a member is, and that it is what is wanted; length 0: none. */
static void check_patch(struct sync_state *state, int32_t member, const char *wanted,
                        size_t wanted_length) {
    size_t length;
    sync_state_compare(state);
    const char *bytes = sync_state_write(state, (uint32_t)member, 1, &length);
    CHECK_BYTES(bytes ? bytes : "", length, wanted, wanted_length);
    sync_state_end_patch(state);
}
#define CHECK_PATCH(state, member, wanted)                                               \
    check_patch(state, member, wanted, sizeof(wanted) - 1)

TEST(state_sends_a_snapshot_then_what_has_changed) {
    struct sync_state *state = state_of(&ALL);
    struct player player = {.x = 3};
    CHECK_INT(sync_state_add(state, 1, &player, -2, "", 0), 0);
    CHECK_INT(sync_state_put(state, 1, 0, 1, "ann", 3), 0);
    int32_t member = sync_state_join(state, SYNC_FORM_BINARY);
    CHECK_PATCH(state, member, "\xC1\1\7\0\1\0\12\1\0\3\6\3\3ann");
    CHECK_PATCH(state, member, "");
    player.x = 4;
    CHECK_PATCH(state, member, "\xC1\0\7\0\1\0\14\1\0\2\4");
    player.x = 4.2; /* less than the wire can tell */
    player.hp = 9;  /* nobody's */
    CHECK_PATCH(state, member, "");
    sync_state_own(state, 1, 0, (uint32_t)member);
    CHECK_PATCH(state, member, "\xC1\0\7\0\1\0\14\1\0\1\3\11");
    sync_state_own(state, 1, 0, 0);
    CHECK_PATCH(state, member, "\xC1\0\7\0\1\0\14\1\0\1\0");
    sync_state_remove(state, 1, 0);
    CHECK_PATCH(state, member, "\xC1\0\7\0\1\0\10\1\0");
    sync_state_free(state);
}

TEST(state_reads_no_struct_of_an_entity_that_was_removed) {
    struct sync_state *state = state_of(&ALL);
    int32_t member = sync_state_join(state, SYNC_FORM_BINARY);
    struct player *player = calloc(1, sizeof(*player)); /* ASan tells */
    uint32_t number = (uint32_t)sync_state_add(state, 1, player, 1, "", 0);
    CHECK_PATCH(state, member, "\xC1\1\7\0\1\0\12\1\0\2\0");
    sync_state_remove(state, 1, number);
    free(player);
    CHECK_PATCH(state, member, "\xC1\0\7\0\1\0\10\1\0");
    sync_state_free(state);
}

TEST(state_removed_and_set_again_is_gone_and_added) {
    struct sync_state *state = state_of(&ALL);
    int32_t member = sync_state_join(state, SYNC_FORM_BINARY);
    struct player player = {.x = 1};
    sync_state_add(state, 1, &player, 1, "", 0);
    CHECK_PATCH(state, member, "\xC1\1\7\0\1\0\12\1\0\2\2\1");
    sync_state_remove(state, 1, 0);
    CHECK_INT(sync_state_add(state, 1, &player, 1, "", 0), 0);
    CHECK_PATCH(state, member, "\xC1\0\7\0\1\0\10\1\0\12\1\0\2\2\1");
    sync_state_free(state);
}

TEST(state_sight_ends_further_out_than_it_begins) {
    struct sync_state *state = state_of(&NEAR);
    int32_t member = sync_state_join(state, SYNC_FORM_BINARY);
    struct player player = {.x = 10.5};
    sync_state_add(state, 1, &player, 1, "", 0);
    sync_state_look(state, (uint32_t)member, 1, 0, 0);
    CHECK_PATCH(state, member, "\xC1\1\7\0\1\0");
    player.x = 10;
    CHECK_PATCH(state, member, "\xC1\0\7\0\1\0\13\1\0\2\2\12");
    player.x = 10.9;
    CHECK_PATCH(state, member, "\xC1\0\7\0\1\0\14\1\0\2\13");
    player.x = 11.1;
    CHECK_PATCH(state, member, "\xC1\0\7\0\1\0\11\1\0");
    player.x = 10.9;
    CHECK_PATCH(state, member, "");
    sync_state_free(state);
}

TEST(state_a_new_entity_does_not_inherit_sight) {
    struct sync_state *state = state_of(&NEAR);
    int32_t member = sync_state_join(state, SYNC_FORM_BINARY);
    struct player player = {.x = 9};
    sync_state_add(state, 1, &player, 1, "", 0);
    sync_state_look(state, (uint32_t)member, 1, 0, 0);
    CHECK_PATCH(state, member, "\xC1\1\7\0\1\0\12\1\0\2\2\11");
    sync_state_remove(state, 1, 0);
    player.x = 10.5; /* where one that was seen would stay seen */
    sync_state_add(state, 1, &player, 1, "", 0);
    CHECK_PATCH(state, member, "\xC1\0\7\0\1\0\10\1\0");
    sync_state_free(state);
}

TEST(state_uses_low_numbers_again) {
    struct sync_state *state = state_of(&ALL);
    struct player player = {0};
    for (int i = 0; i < 200; i++) {
        CHECK_INT(sync_state_add(state, 1, &player, i, "", 0), i);
    }
    sync_state_remove(state, 1, 150);
    sync_state_remove(state, 1, 3);
    CHECK_INT(sync_state_add(state, 1, &player, 300, "", 0), 3);
    CHECK_INT(sync_state_add(state, 1, &player, 301, "", 0), 150);
    CHECK_INT(sync_state_add(state, 1, &player, 302, "", 0), 200);
    sync_state_free(state);
}

TEST(state_bounds_say_that_there_is_no_space) {
    struct sync_table options = ALL;
    options.most = 2;
    options.most_bytes = 10;
    struct sync_state *state = state_of(&options);
    struct player player = {0};
    CHECK_INT(sync_state_add(state, 1, &player, 1, "", 0), 0);
    CHECK_INT(sync_state_add(state, 1, &player, 2, "", 0), 1);
    CHECK_INT(sync_state_add(state, 1, &player, 3, "", 0), -ENOSPC);
    CHECK_INT(sync_state_put(state, 1, 0, 1, "12345678", 8), 0);
    CHECK_INT(sync_state_put(state, 1, 1, 1, "123", 3), -ENOSPC);
    CHECK_INT(sync_state_put(state, 1, 0, 1, "1234567", 7), 0);
    CHECK_INT(sync_state_put(state, 1, 1, 1, "123", 3), 0);
    CHECK_INT(sync_state_put(state, 1, 0, 1, "12345678", 8), -ENOSPC);
    sync_state_remove(state, 1, 1);
    CHECK_INT(sync_state_put(state, 1, 0, 1, "12345678", 8), 0);
    CHECK_INT(sync_state_add(state, 1, &player, 3, "", 0), 1);
    sync_state_free(state);
}

TEST(state_takes_nothing_that_is_not_there) {
    struct sync_state *state = state_of(&ALL);
    struct player player = {0};
    size_t length;
    CHECK_INT(sync_state_put(state, 1, 0, 1, "x", 1), -EINVAL);
    CHECK_INT(sync_state_put(state, 9, 0, 1, "x", 1), -EINVAL);
    CHECK_INT(sync_state_add(state, 9, &player, 1, "", 0), -EINVAL);
    sync_state_add(state, 1, &player, 1, "", 0);
    CHECK_INT(sync_state_put(state, 1, 0, 0, "x", 1), -EINVAL); /* a number */
    CHECK_INT(sync_state_put(state, 1, 0, 9, "x", 1), -EINVAL);
    CHECK_INT(sync_state_own(state, 1, 0, 5), -EINVAL);
    CHECK_INT(sync_state_own(state, 1, 70, 0), -EINVAL);
    CHECK_INT(sync_state_sight(state, 5, 1, 0, SYNC_SIGHT_SHOWN), -EINVAL);
    CHECK_INT(sync_state_join(state, 9), -EINVAL);
    CHECK_INT(sync_state_join(state, SYNC_FORM_AMF3), -EINVAL); /* no envelope */
    CHECK(!sync_state_write(state, 5, 1, &length));
    CHECK_INT(sync_state_field(state, 1, "late", 4, 0, 0, UINT8, 1), -EINVAL);
    sync_state_remove(state, 1, 70);
    sync_state_leave(state, 5);
    sync_state_free(state);
}

TEST(state_tells_once_of_a_field_out_of_range) {
    struct sync_state *state = state_of(&ALL);
    struct player player = {.x = 300};
    sync_state_add(state, 1, &player, 1, "", 0);
    CHECK_INT(sync_state_compare(state), 1);
    CHECK_INT(sync_state_saturated(state), 1 << 16);
    CHECK_INT(sync_state_saturated(state), -1);
    sync_state_end_patch(state);
    CHECK_INT(sync_state_compare(state), 0);
    sync_state_end_patch(state);
    sync_state_free(state);
}

/* Who is near, by the grid and by looking at each. */
TEST(grid_finds_who_is_near_wherever_that_is) {
    enum { COUNT = 500 };
    static const double scales[] = {1, 50, 1e3, 1e6, 1e12, 1e150};
    struct sync_state *state = state_of(&NEAR);
    struct player *players = calloc(COUNT, sizeof(*players));
    for (int i = 0; i < COUNT; i++) {
        sync_state_add(state, 1, &players[i], i, "", 0);
    }
    struct state_table *table = &state->tables[1];
    for (size_t s = 0; s < sizeof(scales) / sizeof(*scales); s++) {
        double reach = 8 * scales[s];
        for (int i = 0; i < COUNT; i++) {
            players[i].x = ((double)test_random(1000) - 500) / 10 * scales[s];
            players[i].y = ((double)test_random(1000) - 500) / 10 * scales[s];
        }
        players[3].x = NAN;
        grid_build(&table->grid, &table->entities, 0, sizeof(double), reach / 3);
        for (int look = 0; look < 50; look++) {
            double x = ((double)test_random(1000) - 500) / 10 * scales[s];
            double y = ((double)test_random(1000) - 500) / 10 * scales[s];
            memset(table->near_set, 0, table->words * sizeof(uint64_t));
            grid_see(&table->grid, x, y, reach, reach, NULL, table->near_set);
            for (uint32_t i = 0; i < COUNT; i++) {
                double dx = players[i].x - x;
                double dy = players[i].y - y;
                bool near = dx * dx + dy * dy <= reach * reach;
                CHECK_INT(bit_is(table->near_set, i), near);
            }
        }
    }
    sync_state_free(state);
    free(players);
}
