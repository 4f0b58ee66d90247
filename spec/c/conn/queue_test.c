/* queue_test.c: what becomes of a message that is sent, and of a queue at its end. */
#include <stdlib.h>
#include <string.h>

#include "conn/codec.h"
#include "conn/conn.h"
#include "core/core.h"
#include "server.h"
#include "test.h"

TEST(queue_says_full_above_high_water_and_drain_when_empty) {
    struct server server;
    char bytes[2000];
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_RAW);
    options.high_water = 1000;
    options.max_queue = 2000;
    server_memory(&server, &options, 1);
    memset(bytes, 'x', sizeof(bytes));
    CHECK_INT(sync_send(server.sync, 1, bytes, 1000), SYNC_SENT);
    CHECK_INT(sync_send(server.sync, 1, bytes, 1), SYNC_FULL);
    CHECK_INT(sync_send(server.sync, 1, bytes, 1), SYNC_FULL);
    CHECK_INT(sync_queued(server.sync, 1), 1002);
    CHECK_INT(server_take(&server, 1, bytes, 1001), 1001);
    server_settle(&server);
    CHECK_INT(server_saw(&server, SYNC_DRAIN, 1), 0);
    CHECK_INT(server_take(&server, 1, bytes, 1001), 1);
    server_settle(&server);
    CHECK_INT(server_saw(&server, SYNC_DRAIN, 1), 1);
    CHECK_INT(server_find(&server, SYNC_DRAIN, 1)->value, 0);
    /* A queue that never was above says nothing. */
    CHECK_INT(sync_send(server.sync, 1, bytes, 1000), SYNC_SENT);
    CHECK_INT(server_take(&server, 1, bytes, 2000), 1000);
    server_settle(&server);
    CHECK_INT(server_saw(&server, SYNC_DRAIN, 1), 1);
    server_close(&server);
}

TEST(queue_overflow_closes) {
    struct server server;
    char bytes[2000] = {0};
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_RAW);
    options.max_queue = 1000;
    options.high_water = 500;
    server_memory(&server, &options, 1);
    CHECK_INT(sync_send(server.sync, 1, bytes, 1000), SYNC_FULL);
    CHECK_INT(sync_send(server.sync, 1, "x", 1), SYNC_CLOSED);
    CHECK_INT(sync_send(server.sync, 1, "x", 1), SYNC_CLOSED);
    server_settle(&server);
    CHECK_INT(server_close_reason(&server, 1), SYNC_QUEUE_FULL);
    CHECK_INT(server_saw(&server, SYNC_CLOSE, 1), 1);
    CHECK_INT(server.sync->client_count, 0);
    server_close(&server);
}

TEST(queue_overflow_drops_and_counts) {
    struct server server;
    char bytes[2000] = {0};
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_RAW);
    options.overflow = SYNC_OVERFLOW_DROP;
    options.max_queue = 1000;
    options.high_water = 500;
    server_memory(&server, &options, 1);
    CHECK_INT(sync_send(server.sync, 1, bytes, 900), SYNC_FULL);
    CHECK_INT(sync_send(server.sync, 1, bytes, 101), SYNC_DROPPED);
    CHECK_INT(sync_send(server.sync, 1, bytes, 100), SYNC_FULL);
    CHECK_INT(sync_send(server.sync, 1, bytes, 1), SYNC_DROPPED);
    CHECK_INT(sync_queued(server.sync, 1), 1000);
    server_settle(&server);
    CHECK_INT(server_saw(&server, SYNC_OVERFLOW, 1), 1);
    CHECK_INT(sync_send(server.sync, 1, bytes, 1), SYNC_DROPPED);
    server_settle(&server);
    CHECK_INT(server_saw(&server, SYNC_OVERFLOW, 1), 1);
    CHECK_INT(server_saw(&server, SYNC_CLOSE, 1), 0);
    CHECK_INT((int)server.sync->messages_dropped, 3);
    CHECK_INT(server_take(&server, 1, bytes, 2000), 1000);
    server_settle(&server);
    REQUIRE(server_find(&server, SYNC_DRAIN, 1));
    CHECK_INT(server_find(&server, SYNC_DRAIN, 1)->value, 3);
    CHECK_INT(sync_send(server.sync, 1, bytes, 10), SYNC_SENT);
    server_close(&server);
}

TEST(queue_refuses_what_can_never_be_sent) {
    struct server server;
    static char bytes[70000];
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_LENGTH16);
    options.overflow = SYNC_OVERFLOW_CLOSE;
    server_memory(&server, &options, 1);
    CHECK_INT(sync_send(server.sync, 1, bytes, 65536), SYNC_TOO_LONG);
    CHECK_INT(sync_send(server.sync, 1, bytes, 65535), SYNC_SENT);
    CHECK_INT(sync_queued(server.sync, 1), 65537);
    server_close(&server);

    server_open(&server);
    options = server_options(SYNC_FRAMING_NULL);
    options.max_queue = 1000;
    server_memory(&server, &options, 1);
    CHECK_INT(sync_send(server.sync, 1, bytes, 1000), SYNC_TOO_LONG);
    CHECK_INT(sync_send(server.sync, 1, bytes, 999), SYNC_SENT);
    server_settle(&server);
    CHECK_INT(server_saw(&server, SYNC_CLOSE, 1), 0);
    server_close(&server);
}

TEST(queue_graceful_end_flushes_first) {
    struct server server;
    char seen[100];
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    server_memory(&server, &options, 1);
    server_feed(&server, 1, "late\n", 5);
    sync_send(server.sync, 1, "bye", 3);
    sync_end(server.sync, 1, 0, "", 0);
    CHECK_INT(sync_send(server.sync, 1, "more", 4), SYNC_CLOSED);
    server_settle(&server);
    CHECK_INT(server_saw(&server, SYNC_DATA, 1), 0);
    CHECK_INT(server_saw(&server, SYNC_CLOSE, 1), 0); /* it hasn't read yet */
    CHECK_INT(server_take(&server, 1, seen, 2), 2);
    server_settle(&server);
    CHECK_INT(server_saw(&server, SYNC_CLOSE, 1), 0);
    CHECK_INT(server_take(&server, 1, seen + 2, 98), 2);
    CHECK_BYTES(seen, 4, "bye\n", 4);
    server_settle(&server);
    CHECK_INT(server_close_reason(&server, 1), SYNC_BY_SERVER);
    CHECK_INT(server.sync->client_count, 0);
    server_close(&server);
}

TEST(queue_end_of_one_that_was_sent_nothing) {
    struct server server;
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    server_memory(&server, &options, 1);
    sync_end(server.sync, 1, 0, "", 0);
    sync_end(server.sync, 1, 0, "", 0);
    server_settle(&server);
    server_settle(&server);
    CHECK_INT(server_saw(&server, SYNC_CLOSE, 1), 1);
    CHECK_INT(server_close_reason(&server, 1), SYNC_BY_SERVER);
    server_close(&server);
}

TEST(queue_abort_loses_the_queue) {
    struct server server;
    char seen[10];
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    server_memory(&server, &options, 1);
    sync_send(server.sync, 1, "lost", 4);
    sync_abort(server.sync, 1);
    CHECK_INT(server_take(&server, 1, seen, sizeof(seen)), 0);
    CHECK_INT(sync_send(server.sync, 1, "x", 1), SYNC_CLOSED);
    server_settle(&server);
    CHECK_INT(server_close_reason(&server, 1), SYNC_BY_ABORT);
    CHECK_INT(server_saw(&server, SYNC_CLOSE, 1), 1);
    CHECK_INT(server.sync->client_count, 0);
    server_close(&server);
}

TEST(queue_abort_after_end_does_not_claim_that_all_was_written) {
    struct server server;
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    server_memory(&server, &options, 1);
    sync_send(server.sync, 1, "lost", 4);
    sync_end(server.sync, 1, 0, "", 0);
    server_settle(&server);
    sync_abort(server.sync, 1);
    server_settle(&server);
    CHECK_INT(server_close_reason(&server, 1), SYNC_BY_ABORT);
    server_close(&server);
}

TEST(queue_send_many_passes_zeros_the_exception_and_the_gone_over) {
    struct server server;
    char seen[10];
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    server_memory(&server, &options, 4);
    sync_abort(server.sync, 4);
    uint32_t slots[] = {0, 1, 2, 0, 3, 4, 99, 0};
    CHECK_INT(sync_send_many(server.sync, slots, 8, 2, "hi", 2), 2);
    CHECK_BYTES(seen, server_take(&server, 1, seen, 10), "hi\n", 3);
    CHECK_INT(server_take(&server, 2, seen, 10), 0);
    CHECK_BYTES(seen, server_take(&server, 3, seen, 10), "hi\n", 3);
    CHECK_INT(sync_send_many(server.sync, slots, 8, 0, "yo", 2), 3);
    CHECK_INT(sync_send_many(server.sync, slots, 0, 0, "yo", 2), 0);
    CHECK_INT((int)server.sync->messages_out, 5);
    server_close(&server);
}

/* One client of each framing; sends to all and compares with sync_send to each. */
static void check_send_many(size_t length) {
    struct server server;
    server_open(&server);
    uint32_t slots[CODEC_COUNT * 2];
    for (uint32_t i = 0; i < CODEC_COUNT; i++) {
        struct sync_options options = server_options(i);
        int32_t listener = sync_listen(server.sync, "memory:", 0, &options);
        slots[i] = (uint32_t)sync_memory_connect(server.sync, (uint32_t)listener);
        slots[CODEC_COUNT + i] =
            (uint32_t)sync_memory_connect(server.sync, (uint32_t)listener);
    }
    server_tick(&server, false);
    char *body = malloc(length + 1);
    char *many = malloc(length + 100);
    char *one = malloc(length + 100);
    REQUIRE(body && many && one);
    for (size_t i = 0; i < length; i++) {
        body[i] = (char)('a' + i % 26);
    }
    bool fits16 = length <= 65535;
    CHECK_INT(sync_send_many(server.sync, slots, CODEC_COUNT, 0, body, length),
              fits16 ? CODEC_COUNT : CODEC_COUNT - 1);
    sync_send_many(server.sync, slots, CODEC_COUNT, 0, "end", 3);
    for (uint32_t i = 0; i < CODEC_COUNT; i++) {
        sync_send(server.sync, slots[CODEC_COUNT + i], body, length);
        sync_send(server.sync, slots[CODEC_COUNT + i], "end", 3);
    }
    server_tick(&server, false);
    for (uint32_t i = 0; i < CODEC_COUNT; i++) {
        uint32_t size = (uint32_t)length + 100;
        uint32_t many_length = server_take(&server, slots[i], many, size);
        uint32_t one_length = server_take(&server, slots[CODEC_COUNT + i], one, size);
        CHECK(many_length >= 3);
        CHECK_BYTES(many, many_length, one, one_length);
    }
    free(body);
    free(many);
    free(one);
    server_close(&server);
}

TEST(queue_send_many_sends_what_send_does_in_every_framing) {
    static const size_t lengths[] = {0, 1, 511, 512, 1000, 20000, 65535, 65536, 300000};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        check_send_many(lengths[i]);
    }
}

TEST(queue_send_many_closes_only_whose_queue_is_full) {
    struct server server;
    static char bytes[5000];
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_RAW);
    options.max_queue = 10000;
    options.high_water = 10000;
    server_memory(&server, &options, 3);
    uint32_t slots[] = {1, 2, 3};
    CHECK_INT(sync_send_many(server.sync, slots, 3, 0, bytes, 5000), 3);
    CHECK_INT(sync_send_many(server.sync, slots, 3, 0, bytes, 5000), 3);
    CHECK_INT(server_take(&server, 2, bytes, 5000), 5000);
    CHECK_INT(sync_send_many(server.sync, slots, 3, 0, bytes, 5000), 1);
    server_settle(&server);
    CHECK_INT(server_close_reason(&server, 1), SYNC_QUEUE_FULL);
    CHECK_INT(server_close_reason(&server, 2), 0);
    CHECK_INT(server_close_reason(&server, 3), SYNC_QUEUE_FULL);
    server_close(&server);
}

TEST(queue_of_a_connection_that_leads_is_written_first) {
    struct server server;
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_RAW);
    server_memory(&server, &options, 2);
    options.leads = 1;
    int32_t listener = sync_listen(server.sync, "memory:", 0, &options);
    uint32_t leading = (uint32_t)sync_memory_connect(server.sync, (uint32_t)listener);
    server_settle(&server);
    const uint32_t sent[] = {1, leading, 2, leading, 1};
    const uint32_t written[] = {leading, 1, 2};
    for (size_t i = 0; i < sizeof(sent) / sizeof(*sent); i++) {
        sync_send(server.sync, sent[i], "x", 1);
    }
    const struct conn *conn = core_of(server.sync)->unflushed;
    for (size_t i = 0; i < sizeof(written) / sizeof(*written); i++) {
        REQUIRE(conn);
        CHECK_INT(conn->slot, written[i]);
        conn = conn->next_unflushed;
    }
    CHECK(!conn);
    server_settle(&server);
    char bytes[4];
    CHECK_INT(server_take(&server, leading, bytes, sizeof(bytes)), 2);
    CHECK_INT(server_take(&server, 1, bytes, sizeof(bytes)), 2);
    CHECK_INT(server_take(&server, 2, bytes, sizeof(bytes)), 1);
    server_close(&server);
}
