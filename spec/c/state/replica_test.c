/* replica_test.c: a copy writes what the home writes, and takes no bytes but whole ones.
 * What is copied in all sorts of lives is the model's, in spec/state/. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "state/state.h"
#include "test.h"

struct player {
    double x;
    double y;
    double hp;
};

enum { PLAYERS = 5 };

/* Two nodes: the home, whose members 1 and 2 are elsewhere, and the copy there. */
struct pair {
    struct sync_state *home;
    struct sync_state *copy;
    struct player players[PLAYERS];
    double tick;
};

static struct sync_state *declare(uint32_t sees) {
    static const char number[] = {TYPE_UINT8};
    static const char text[] = {TYPE_STRING};
    struct sync_state *state = sync_state_new(7);
    struct sync_table root = {.most = 1, .most_bytes = 100};
    struct sync_table players = {.keys = KEYS_INTEGER,
                                 .sees = sees,
                                 .near = 10,
                                 .far = 11,
                                 .x_offset = offsetof(struct player, x),
                                 .y_offset = offsetof(struct player, y),
                                 .most = 100,
                                 .most_bytes = 1000};
    CHECK_INT(sync_state_table(state, "", 0, &root), 0);
    CHECK_INT(sync_state_table(state, "players", 7, &players), 1);
    CHECK_INT(sync_state_field(state, 1, "x", 1, 0, 0, number, 1), 0);
    CHECK_INT(sync_state_field(state, 1, "name", 4, 0, 0, text, 1), 1);
    CHECK_INT(
        sync_state_field(state, 1, "hp", 2, 1, offsetof(struct player, hp), number, 1),
        2);
    return state;
}

static struct pair begin(void) {
    struct pair pair = {.home = declare(SYNC_SEES_NEAR), .copy = declare(SYNC_SEES_NEAR)};
    sync_state_replica(pair.copy);
    for (uint32_t i = 1; i <= 2; i++) {
        CHECK_INT(sync_state_join(pair.home, SYNC_FORM_BINARY), (int32_t)i);
        sync_state_elsewhere(pair.home, i, 10 * i);
    }
    return pair;
}

static void end(struct pair *pair) {
    sync_state_free(pair->home);
    sync_state_free(pair->copy);
}

static void populate(struct pair *pair) {
    for (uint32_t i = 0; i < PLAYERS; i++) {
        pair->players[i] = (struct player){4 * i, 0, i};
        CHECK_INT(sync_state_add(pair->home, 1, &pair->players[i], i, "", 0), (int)i);
        CHECK_INT(sync_state_put(pair->home, 1, i, 1, "name", 4), 0);
    }
    CHECK_INT(sync_state_own(pair->home, 1, 0, 1), 0);
    CHECK_INT(sync_state_own(pair->home, 1, 4, 2), 0);
}

/* Bytes of their own, so that one that is read behind them is seen. */
static int32_t apply(struct sync_state *copy, const char *bytes, size_t length) {
    char *whole = malloc(length > 0 ? length : 1);
    memcpy(whole, bytes, length);
    int32_t code = sync_state_apply(copy, whole, length);
    free(whole);
    return code;
}

/* A patch, for both: what the members get is the same. */
static void patch(struct pair *pair) {
    size_t length;
    size_t other;
    pair->tick++;
    sync_state_compare(pair->home);
    sync_state_copy(pair->home, pair->tick);
    const char *changes = sync_state_copied(pair->home, 0, &length);
    if (!changes) {
        changes = sync_state_copied(pair->home, 1, &length);
    }
    CHECK_INT(apply(pair->copy, changes, length), SYNC_APPLIED);
    CHECK(sync_state_tick(pair->copy) == pair->tick);
    for (uint32_t i = 1; i <= 2; i++) {
        uint32_t there = sync_state_find(pair->copy, 10 * i);
        const char *bytes = sync_state_write(pair->home, i, pair->tick, &length);
        const char *same = sync_state_write(pair->copy, there, pair->tick, &other);
        CHECK_BYTES(same ? same : "", other, bytes ? bytes : "", length);
    }
    sync_state_end_patch(pair->home);
    sync_state_end_patch(pair->copy);
}

TEST(replica_writes_what_the_home_writes) {
    struct pair pair = begin();
    populate(&pair);
    patch(&pair);
    pair.players[2].x = 200;
    pair.players[0].hp = 77;
    sync_state_input(pair.home, 2, 5);
    patch(&pair);
    sync_state_remove(pair.home, 1, 3);
    CHECK_INT(sync_state_add(pair.home, 1, &pair.players[3], 33, "", 0), 3);
    CHECK_INT(sync_state_own(pair.home, 1, 4, 1), 0);
    CHECK_INT(sync_state_sight(pair.home, 2, 1, 2, SYNC_SIGHT_SHOWN), 0);
    patch(&pair);
    CHECK_INT(sync_state_sight(pair.home, 1, 1, 0, SYNC_SIGHT_HIDDEN), 0);
    patch(&pair);
    patch(&pair);
    end(&pair);
}

TEST(replica_knows_a_number_that_is_anothers_by_now) {
    struct pair pair = begin();
    populate(&pair);
    patch(&pair);
    sync_state_leave(pair.home, 2);
    CHECK_INT(sync_state_join(pair.home, SYNC_FORM_BINARY), 2);
    sync_state_elsewhere(pair.home, 2, 30);
    CHECK_INT(sync_state_own(pair.home, 1, 4, 2), 0);
    sync_state_compare(pair.home);
    sync_state_copy(pair.home, 2);
    size_t length;
    const char *changes = sync_state_copied(pair.home, 0, &length);
    CHECK_INT(apply(pair.copy, changes, length), SYNC_APPLIED);
    CHECK_INT(sync_state_find(pair.copy, 20), 0);
    CHECK_INT(sync_state_find(pair.copy, 30), 2);
    CHECK_INT(pair.copy->tables[1].entities.owner[4], 2);
    end(&pair);
}

TEST(replica_takes_whole_messages_alone) {
    struct pair pair = begin();
    size_t length;
    size_t changed;
    populate(&pair);
    sync_state_compare(pair.home);
    sync_state_copy(pair.home, 1);
    const char *bytes = sync_state_copied(pair.home, 1, &length);
    char *snapshot = malloc(length);
    memcpy(snapshot, bytes, length);
    sync_state_end_patch(pair.home);
    pair.players[1].x = 9;
    CHECK_INT(sync_state_put(pair.home, 1, 1, 1, "other", 5), 0);
    sync_state_input(pair.home, 1, 300);
    sync_state_compare(pair.home);
    sync_state_copy(pair.home, 2);
    const char *changes = sync_state_copied(pair.home, 0, &changed);
    int refused = 0;
    for (size_t cut = 0; cut < length; cut++) {
        int32_t code = apply(pair.copy, snapshot, cut);
        refused += code < 0;
        CHECK(code == -EPROTO || code == -EINVAL || code == SYNC_APPLIED ||
              code == SYNC_APPLIED_OLD);
    }
    CHECK(refused > 10);
    for (size_t cut = 0; cut < changed; cut++) {
        sync_state_free(pair.copy);
        pair.copy = declare(SYNC_SEES_NEAR);
        sync_state_replica(pair.copy);
        CHECK_INT(apply(pair.copy, snapshot, length), SYNC_APPLIED);
        sync_state_end_patch(pair.copy);
        int32_t code = apply(pair.copy, changes, cut);
        /* A cut between two sections is a message, but it isn't this one. */
        CHECK(code == -EPROTO || code == SYNC_APPLIED);
        if (code < 0) {
            CHECK_INT(apply(pair.copy, changes, changed), SYNC_APPLIED_MISSED);
        }
    }
    free(snapshot);
    end(&pair);
}

TEST(replica_of_another_declaration_takes_nothing) {
    struct pair pair = begin();
    size_t length;
    sync_state_compare(pair.home);
    sync_state_copy(pair.home, 1);
    const char *bytes = sync_state_copied(pair.home, 1, &length);
    struct sync_state *other = declare(SYNC_SEES_ALL);
    CHECK_INT(apply(other, bytes, length), -EINVAL); /* it is no copy */
    sync_state_replica(other);
    CHECK_INT(apply(other, bytes, length), -EINVAL);
    CHECK_INT(sync_state_join(other, SYNC_FORM_BINARY), -EINVAL);
    sync_state_free(other);
    end(&pair);
}
