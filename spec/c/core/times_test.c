/* times_test.c: the buckets of struct sync_times. */
#include <unistd.h>

#include "server.h"
#include "test.h"

#include "core/times.h"

TEST(times_fall_into_buckets_that_hold_them) {
    uint64_t micros = 0;
    while (micros < 20000000) {
        uint32_t bucket = times_bucket(micros);
        REQUIRE(bucket < SYNC_BUCKETS);
        CHECK((double)micros < times_end(bucket));
        CHECK(bucket == 0 || (double)micros >= times_end(bucket - 1));
        micros += 1 + micros / 97;
    }
}

TEST(times_buckets_grow_by_a_quarter_at_most) {
    for (uint32_t bucket = 4; bucket < SYNC_BUCKETS; bucket++) {
        CHECK(times_end(bucket) > times_end(bucket - 1));
        CHECK(times_end(bucket) <= 1.25 * times_end(bucket - 1));
    }
    CHECK_INT(times_bucket(UINT64_MAX), SYNC_BUCKETS - 1);
}

static uint64_t sum(const struct sync_times *times) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < SYNC_BUCKETS; i++) {
        total += times->bucket[i];
    }
    return total;
}

static void work_a_little(struct server *server, const struct sync_event *event) {
    (void)server;
    if (event->type == SYNC_TIMER) {
        usleep(2000);
    }
}

TEST(times_of_ticks_and_timers_are_counted) {
    struct server server;
    server_open(&server);
    server.handle = work_a_little;
    sync_timer_start(server.sync, 0, 3);
    WAIT(&server, server_saw(&server, SYNC_TIMER, 0) >= 5);
    server_tick(&server, false);
    CHECK(sum(&server.sync->timers_late) >= 5);
    CHECK_INT(sum(&server.sync->tick_times), server.sync->ticks);
    uint64_t slow = 0;
    for (uint32_t i = times_bucket(2000); i < SYNC_BUCKETS; i++) {
        slow += server.sync->tick_times.bucket[i];
    }
    CHECK(slow >= 5);
    CHECK(server.sync->busy >= 0.01);
    server_close(&server);
}
