/* wheel_test.c: every deadline is called up, in time and once. */
#include <stdlib.h>

#include "core/wheel.h"
#include "test.h"

enum { ROUND = WHEEL_BUCKETS * WHEEL_STEP };

/* Counts what is due at `now`. */
static int due_at(struct wheel *wheel, uint64_t now) {
    int count = 0;
    while (wheel_next_due(wheel, now)) {
        count++;
    }
    return count;
}

TEST(wheel_calls_up_in_the_step_after_it_was_due) {
    for (uint64_t due = 0; due < 3 * WHEEL_STEP; due++) {
        struct wheel wheel = {0};
        struct deadline deadline = {0};
        wheel_set(&wheel, &deadline, due);
        CHECK(deadline.link);
        CHECK_INT(due_at(&wheel, due), 0);
        CHECK_INT(due_at(&wheel, due + WHEEL_STEP), 1);
        CHECK(!deadline.link);
        CHECK_INT(wheel.count, 0);
        CHECK_INT(due_at(&wheel, due + 10 * ROUND), 0);
    }
}

TEST(wheel_sorts_by_step) {
    struct wheel wheel = {0};
    struct deadline deadlines[20] = {{0}};
    for (int i = 0; i < 20; i++) {
        wheel_set(&wheel, &deadlines[i], (uint64_t)((i * 7) % 20) * 100);
    }
    uint64_t last = 0;
    struct deadline *deadline;
    for (int i = 0; i < 20; i++) {
        deadline = wheel_next_due(&wheel, 5000);
        REQUIRE(deadline);
        CHECK(deadline->due >= last);
        last = deadline->due;
    }
    CHECK(!wheel_next_due(&wheel, 5000));
}

TEST(wheel_lets_far_deadlines_go_round) {
    struct wheel wheel = {0};
    struct deadline near = {0};
    struct deadline far = {0};
    struct deadline farther = {0};
    wheel_set(&wheel, &near, 1000);
    wheel_set(&wheel, &far, 1000 + 2 * ROUND);
    wheel_set(&wheel, &farther, 1000 + 7 * (uint64_t)ROUND);
    CHECK_INT(due_at(&wheel, 1050), 1);
    CHECK(!near.link);
    for (uint64_t now = 1050; now < 1000 + 2 * ROUND; now += WHEEL_STEP) {
        CHECK_INT(due_at(&wheel, now), 0);
    }
    CHECK_INT(due_at(&wheel, 1050 + 2 * ROUND), 1);
    CHECK(!far.link);
    CHECK_INT(due_at(&wheel, 1000 + 7 * (uint64_t)ROUND), 0);
    CHECK_INT(due_at(&wheel, 1050 + 7 * (uint64_t)ROUND), 1);
}

TEST(wheel_moves_and_removes) {
    struct wheel wheel = {0};
    struct deadline deadlines[3] = {{0}};
    wheel_remove(&wheel, &deadlines[0]); /* isn't in */
    for (int i = 0; i < 3; i++) {
        wheel_set(&wheel, &deadlines[i], 500);
    }
    CHECK_INT(wheel.count, 3);
    wheel_set(&wheel, &deadlines[1], 2000);
    CHECK_INT(wheel.count, 3);
    wheel_remove(&wheel, &deadlines[2]);
    wheel_remove(&wheel, &deadlines[2]);
    CHECK_INT(wheel.count, 2);
    CHECK(wheel_next_due(&wheel, 600) == &deadlines[0]);
    CHECK(!wheel_next_due(&wheel, 600));
    wheel_set(&wheel, &deadlines[1], 700);
    CHECK(wheel_next_due(&wheel, 800) == &deadlines[1]);
    CHECK_INT(wheel.count, 0);
}

TEST(wheel_takes_a_deadline_that_has_passed) {
    struct wheel wheel = {0};
    struct deadline deadline = {0};
    CHECK_INT(due_at(&wheel, 100000), 0);
    wheel_set(&wheel, &deadline, 5000);
    CHECK_INT(due_at(&wheel, 100000 + WHEEL_STEP), 1);
}

TEST(wheel_survives_jumps_of_the_clock) {
    struct wheel wheel = {0};
    struct deadline deadlines[300] = {{0}};
    uint64_t start = (uint64_t)1 << 40;
    for (uint64_t i = 0; i < 300; i++) {
        wheel_set(&wheel, &deadlines[i], start + i * 1000);
    }
    CHECK_INT(due_at(&wheel, start + 400000), 300);
    for (uint64_t i = 0; i < 300; i++) {
        wheel_set(&wheel, &deadlines[i], 2 * start + i * 1000);
    }
    CHECK_INT(due_at(&wheel, 2 * start + 149100), 150);
    CHECK_INT(wheel.count, 150);
    CHECK_INT(due_at(&wheel, 2 * start + ((uint64_t)1 << 50)), 150);
}

TEST(wheel_says_how_long_to_wait) {
    struct wheel wheel = {0};
    struct deadline deadline = {0};
    CHECK_INT(wheel_wait(&wheel, 0), -1);
    wheel_next_due(&wheel, 1000);
    wheel_set(&wheel, &deadline, 1500);
    int64_t wait = wheel_wait(&wheel, 1000);
    CHECK(wait >= 500);
    CHECK(wait <= 500 + WHEEL_STEP);
    wheel_set(&wheel, &deadline, 1000 + 100 * (uint64_t)ROUND);
    wait = wheel_wait(&wheel, 1000);
    CHECK(wait > 0);
    CHECK(wait <= 100 * (int64_t)ROUND + WHEEL_STEP);
}

/* Random use next to a list that is searched. Whoever waits as wheel_wait says finds
 * every deadline at most a step late. */
static void compare_with_model(uint32_t reach, uint32_t jump) {
    enum { COUNT = 200 };
    struct wheel wheel = {0};
    struct deadline deadlines[COUNT] = {{0}};
    bool set[COUNT] = {false};
    uint64_t due[COUNT] = {0};
    uint64_t now = 123456;
    while (wheel_next_due(&wheel, now)) {
    }
    for (int step = 0; step < 20000; step++) {
        uint32_t i = test_random(COUNT);
        uint32_t what = test_random(10);
        if (what < 6) {
            due[i] = now + test_random(reach);
            wheel_set(&wheel, &deadlines[i], due[i]);
            set[i] = true;
        } else if (what < 7) {
            wheel_remove(&wheel, &deadlines[i]);
            set[i] = false;
        } else {
            int64_t wait = wheel_wait(&wheel, now);
            now += test_random(3) || wait < 0 ? test_random(jump) : (uint64_t)wait;
            struct deadline *called;
            while ((called = wheel_next_due(&wheel, now))) {
                size_t k = (size_t)(called - deadlines);
                CHECK(set[k]);
                CHECK(due[k] < now || due[k] == now);
                set[k] = false;
            }
            for (int k = 0; k < COUNT; k++) {
                bool overdue = set[k] && due[k] + WHEEL_STEP <= now;
                if (!CHECK(!overdue)) {
                    return;
                }
            }
        }
        uint32_t count = 0;
        for (int k = 0; k < COUNT; k++) {
            count += set[k];
            CHECK(set[k] == (deadlines[k].link != NULL));
        }
        if (!CHECK_INT(wheel.count, count)) {
            return;
        }
    }
}

TEST(wheel_agrees_with_a_list_when_deadlines_are_near) {
    compare_with_model(1000, 120);
}

TEST(wheel_agrees_with_a_list_when_deadlines_are_far) {
    compare_with_model(20 * ROUND, 2 * ROUND);
}

TEST(wheel_agrees_with_a_list_when_the_clock_jumps) {
    compare_with_model(3 * ROUND, 30 * ROUND);
}
