/* memory_test.c: the core from bytes to messages and back, without sockets. */
#include <stdlib.h>
#include <string.h>

#include "conn/codec.h"
#include "server.h"
#include "test.h"

static void feed_text(struct server *server, uint32_t slot, const char *text) {
    server_feed(server, slot, text, strlen(text));
}

static void check_messages(const struct server *server, uint32_t slot,
                           const char *wanted) {
    size_t length;
    const char *text = server_messages(server, slot, '|', &length);
    CHECK_BYTES(text, length, wanted, strlen(wanted));
}

/* "a", "", "bcd" in each framing but raw. */
static const struct {
    uint32_t framing;
    const char *bytes;
    size_t length;
} abc[] = {
    {SYNC_FRAMING_NULL, "a\0\0bcd\0", 7},
    {SYNC_FRAMING_LINE, "a\n\r\nbcd\r\n", 9},
    {SYNC_FRAMING_LENGTH16, "\0\1a\0\0\0\3bcd", 10},
    {SYNC_FRAMING_LENGTH32, "\0\0\0\1a\0\0\0\0\0\0\0\3bcd", 16},
    {SYNC_FRAMING_LENGTH24LE, "\1\0\0a\0\0\0\3\0\0bcd", 13},
};

enum { ABC = sizeof(abc) / sizeof(*abc) };

TEST(memory_connects_and_says_so_first) {
    struct server server;
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    int32_t listener = sync_listen(server.sync, "memory:", 0, &options);
    CHECK(listener > 0);
    int32_t slot = sync_memory_connect(server.sync, (uint32_t)listener);
    CHECK(slot > 0);
    CHECK_INT(sync_memory_feed(server.sync, (uint32_t)slot, "hi\n", 3), 3);
    server_settle(&server);
    REQUIRE(server.count >= 2);
    CHECK_INT(server.seen[0].type, SYNC_CONNECT);
    CHECK_INT(server.seen[0].id, slot);
    CHECK_INT(server.seen[0].value, listener);
    CHECK_INT(server.seen[1].type, SYNC_DATA);
    CHECK_BYTES(server.seen[1].data, server.seen[1].length, "hi", 2);
    CHECK_INT(server.sync->client_count, 1);
    CHECK_INT((int)server.sync->clients_accepted, 1);
    CHECK_INT((int)server.sync->messages_in, 1);
    CHECK_INT((int)server.sync->bytes_in, 3);
    CHECK_INT(sync_transport(server.sync, (uint32_t)slot), SYNC_TRANSPORT_MEMORY);
    char text[46];
    CHECK_INT(sync_peer(server.sync, (uint32_t)slot, text, sizeof(text)), 0);
    CHECK_TEXT(text, "");
    CHECK_INT(sync_listener_port(server.sync, (uint32_t)listener), 0);
    CHECK(sync_memory_connect(server.sync, 99) < 0);
    sync_listener_close(server.sync, (uint32_t)listener);
    CHECK(sync_memory_connect(server.sync, (uint32_t)listener) < 0);
    server_close(&server);
}

TEST(memory_tells_who_takes_bytes_of_bytes) {
    struct server server;
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    options.takes_bytes = 1;
    int32_t listener = sync_listen(server.sync, "memory:", 0, &options);
    int32_t slot = sync_memory_connect(server.sync, (uint32_t)listener);
    CHECK_INT(sync_memory_feed(server.sync, (uint32_t)slot, "hi\n", 3), 3);
    server_settle(&server);
    REQUIRE(server.count >= 2);
    CHECK_INT(server.seen[1].type, SYNC_BYTES);
    CHECK_INT(server.seen[1].id, slot);
    CHECK_BYTES(server.seen[1].data, server.seen[1].length, "hi", 2);
    server_close(&server);
}

TEST(memory_cuts_every_framing_whole_and_byte_by_byte) {
    for (int i = 0; i < ABC; i++) {
        for (size_t step = 1; step <= abc[i].length; step++) {
            struct server server;
            server_open(&server);
            struct sync_options options = server_options(abc[i].framing);
            server_memory(&server, &options, 1);
            for (size_t at = 0; at < abc[i].length; at += step) {
                size_t rest = abc[i].length - at;
                server_feed(&server, 1, abc[i].bytes + at, step < rest ? step : rest);
                server_settle(&server);
            }
            check_messages(&server, 1, "a||bcd|");
            server_close(&server);
        }
    }
}

TEST(memory_cuts_bytes_fed_one_at_a_time_in_one_tick) {
    for (int i = 0; i < ABC; i++) {
        struct server server;
        server_open(&server);
        struct sync_options options = server_options(abc[i].framing);
        server_memory(&server, &options, 1);
        for (size_t at = 0; at < abc[i].length; at++) {
            CHECK_INT(sync_memory_feed(server.sync, 1, abc[i].bytes + at, 1), 1);
        }
        server_settle(&server);
        check_messages(&server, 1, "a||bcd|");
        server_close(&server);
    }
}

TEST(memory_frames_what_is_sent) {
    for (int i = 0; i < ABC; i++) {
        struct server server;
        char seen[100];
        server_open(&server);
        struct sync_options options = server_options(abc[i].framing);
        server_memory(&server, &options, 1);
        CHECK_INT(sync_send(server.sync, 1, "a", 1), SYNC_SENT);
        CHECK_INT(sync_send(server.sync, 1, "", 0), SYNC_SENT);
        CHECK_INT(sync_send(server.sync, 1, "bcd", 3), SYNC_SENT);
        server_tick(&server, false);
        uint32_t length = server_take(&server, 1, seen, sizeof(seen));
        if (abc[i].framing == SYNC_FRAMING_LINE) {
            CHECK_BYTES(seen, length, "a\n\nbcd\n", 7);
        } else {
            CHECK_BYTES(seen, length, abc[i].bytes, abc[i].length);
        }
        CHECK_INT((int)server.sync->messages_out, 3);
        CHECK_INT((int)server.sync->bytes_out, length);
        server_close(&server);
    }
}

TEST(memory_raw_passes_bytes_as_they_are) {
    struct server server;
    char seen[10];
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_RAW);
    server_memory(&server, &options, 1);
    server_feed(&server, 1, "a\0\n", 3);
    server_settle(&server);
    size_t length;
    const char *text = server_messages(&server, 1, 0, &length);
    CHECK_BYTES(text, length, "a\0\n", 3);
    CHECK_INT(sync_send(server.sync, 1, "", 0), SYNC_SENT);
    CHECK_INT(sync_send(server.sync, 1, "x\0", 2), SYNC_SENT);
    CHECK_BYTES(seen, server_take(&server, 1, seen, sizeof(seen)), "x\0", 2);
    server_close(&server);
}

TEST(memory_hands_out_long_messages_whole) {
    enum { LENGTH = 300 * 1000 };
    struct server server;
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_NULL);
    options.max_message = LENGTH;
    server_memory(&server, &options, 1);
    char *bytes = malloc(LENGTH + 1);
    REQUIRE(bytes);
    for (size_t i = 0; i < LENGTH; i++) {
        bytes[i] = (char)(1 + i * 7 % 251);
    }
    bytes[LENGTH] = '\0';
    for (size_t at = 0; at <= LENGTH; at += 9999) {
        size_t rest = LENGTH + 1 - at;
        server_feed(&server, 1, bytes + at, rest < 9999 ? rest : 9999);
        server_tick(&server, false);
    }
    server_settle(&server);
    CHECK_INT(server_saw(&server, SYNC_DATA, 1), 1);
    size_t length;
    const char *text = server_messages(&server, 1, 0, &length);
    CHECK_BYTES(text, length, bytes, LENGTH);
    free(bytes);
    server_close(&server);
}

TEST(memory_takes_exactly_max_message_and_closes_at_one_more) {
    for (uint32_t framing = SYNC_FRAMING_NULL; framing < CODEC_COUNT; framing++) {
        for (uint32_t extra = 0; extra < 2; extra++) {
            enum { MOST = 1000 };
            struct server server;
            server_open(&server);
            struct sync_options options = server_options(framing);
            options.max_message = MOST;
            server_memory(&server, &options, 1);
            char body[MOST + 1];
            struct frame frame;
            memset(body, 'x', sizeof(body));
            codecs[framing].frame(MOST + extra, &frame);
            for (int i = 0; i < 2; i++) {
                server_feed(&server, 1, frame.head, frame.head_length);
                server_feed(&server, 1, body, MOST + extra);
                server_feed(&server, 1, frame.tail, frame.tail_length);
                server_settle(&server);
            }
            CHECK_INT(server_saw(&server, SYNC_DATA, 1), extra ? 0 : 2);
            CHECK_INT(server_close_reason(&server, 1), extra ? SYNC_MESSAGE_LONG : 0);
            CHECK_INT(server.sync->client_count, extra ? 0 : 1);
            server_close(&server);
        }
    }
}

TEST(memory_delivers_what_came_before_a_message_that_is_too_long) {
    struct server server;
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    options.max_message = 3;
    server_memory(&server, &options, 1);
    feed_text(&server, 1, "a\nbcd\nlong\ne\n");
    server_settle(&server);
    check_messages(&server, 1, "a|bcd|");
    CHECK_INT(server_close_reason(&server, 1), SYNC_MESSAGE_LONG);
    server_close(&server);
}

TEST(memory_client_end_drops_an_unfinished_message) {
    struct server server;
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    server_memory(&server, &options, 2);
    feed_text(&server, 1, "one\ntwo\nthr");
    sync_memory_end(server.sync, 1);
    sync_memory_end(server.sync, 2); /* said nothing at all */
    server_settle(&server);
    check_messages(&server, 1, "one|two|");
    CHECK_INT(server_close_reason(&server, 1), SYNC_BY_CLIENT);
    CHECK_INT(server_close_reason(&server, 2), SYNC_BY_CLIENT);
    CHECK_INT(server.sync->client_count, 0);
    server_close(&server);
}

TEST(memory_client_that_asks_and_ends_gets_its_answers) {
    enum { COUNT = 3000 };
    struct server server;
    server_open(&server);
    server.handle = server_echo;
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    server_memory(&server, &options, 1);
    static char asked[COUNT * 2];
    static char seen[COUNT * 2 + 1];
    for (size_t i = 0; i < sizeof(asked); i += 2) {
        asked[i] = (char)('a' + i % 26);
        asked[i + 1] = '\n';
    }
    CHECK_INT(sync_memory_feed(server.sync, 1, asked, sizeof(asked)), sizeof(asked));
    sync_memory_end(server.sync, 1);
    uint32_t taken = 0;
    for (int i = 0; i < 20 && taken < sizeof(seen); i++) {
        server_tick(&server, false);
        taken += server_take(&server, 1, seen + taken, (uint32_t)sizeof(seen) - taken);
    }
    CHECK_BYTES(seen, taken, asked, sizeof(asked));
    server_settle(&server);
    CHECK_INT(server_close_reason(&server, 1), SYNC_BY_CLIENT);
    CHECK_INT(server.sync->client_count, 0);
    server_close(&server);
}

TEST(memory_hands_out_at_most_1024_messages_of_a_client_a_tick) {
    enum { COUNT = 10000 };
    struct server server;
    static char bytes[COUNT];
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_NULL);
    server_memory(&server, &options, 2);
    server_feed(&server, 1, bytes, COUNT);
    feed_text(&server, 2, "x");
    server_feed(&server, 2, "", 1);
    server_tick(&server, false);
    CHECK_INT(server_saw(&server, SYNC_DATA, 1), 1024);
    CHECK_INT(server_saw(&server, SYNC_DATA, 2), 1);
    server_tick(&server, false);
    CHECK_INT(server_saw(&server, SYNC_DATA, 1), 2048);
    server_settle(&server);
    CHECK_INT(server_saw(&server, SYNC_DATA, 1), COUNT);
    server_close(&server);
}

TEST(memory_counts_the_calls_of_a_batch_as_messages_where_that_is_asked_for) {
    enum { BATCHES = 300 };
    static const char batch[] = "[1,2,3,4,5,6,7,8]";
    for (uint32_t counts = 0; counts < 2; counts++) {
        struct server server;
        server_open(&server);
        struct sync_options options = server_options(SYNC_FRAMING_NULL);
        options.counts_calls = counts;
        server_memory(&server, &options, 1);
        for (int i = 0; i < BATCHES; i++) {
            server_feed(&server, 1, batch, sizeof(batch));
        }
        server_tick(&server, false);
        CHECK_INT(server_saw(&server, SYNC_DATA, 1), counts ? 1024 / 8 : BATCHES);
        server_settle(&server);
        CHECK_INT(server_saw(&server, SYNC_DATA, 1), BATCHES);
        server_close(&server);
    }
}

TEST(memory_starves_nobody_while_many_have_much_to_say) {
    enum { CLIENTS = 12, COUNT = 20000 };
    struct server server;
    static char bytes[COUNT];
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_NULL);
    server_memory(&server, &options, CLIENTS);
    for (uint32_t slot = 1; slot <= CLIENTS; slot++) {
        CHECK_INT(sync_memory_feed(server.sync, slot, bytes, COUNT), COUNT);
    }
    /* In turns: no client is ever further ahead than a tick's share. */
    for (int tick = 0; tick < 30; tick++) {
        server_tick(&server, false);
        uint32_t least = UINT32_MAX;
        uint32_t most = 0;
        for (uint32_t slot = 1; slot <= CLIENTS; slot++) {
            uint32_t count = server_saw(&server, SYNC_DATA, slot);
            least = count < least ? count : least;
            most = count > most ? count : most;
        }
        if (!CHECK(most - least <= 1024)) {
            break;
        }
    }
    server_settle(&server);
    CHECK_INT(server_saw(&server, SYNC_DATA, 0), CLIENTS * COUNT);
    server_close(&server);
}

TEST(memory_feed_is_bounded_and_takes_the_rest_later) {
    enum { LENGTH = 1000 * 1000 };
    struct server server;
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    options.max_message = 1000;
    server_memory(&server, &options, 1);
    char *bytes = malloc(LENGTH);
    REQUIRE(bytes);
    for (size_t i = 0; i < LENGTH; i++) {
        bytes[i] = i % 100 == 99 ? '\n' : 'x';
    }
    uint32_t taken = sync_memory_feed(server.sync, 1, bytes, LENGTH);
    CHECK(taken >= 1000);
    CHECK(taken <= 1000 + 64 * 1024);
    server_feed(&server, 1, bytes + taken, LENGTH - taken);
    server_settle(&server);
    CHECK_INT(server_saw(&server, SYNC_DATA, 1), LENGTH / 100);
    free(bytes);
    server_close(&server);
}

TEST(memory_gone_slots_are_harmless) {
    static const uint32_t gone[] = {0, 1, 2, 77, UINT32_MAX};
    struct server server;
    char text[46];
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    server_memory(&server, &options, 1);
    sync_abort(server.sync, 1);
    server_settle(&server);
    server_settle(&server);
    for (size_t i = 0; i < sizeof(gone) / sizeof(*gone); i++) {
        CHECK_INT(sync_send(server.sync, gone[i], "x", 1), SYNC_CLOSED);
        CHECK_INT(sync_queued(server.sync, gone[i]), 0);
        CHECK_INT(sync_peer(server.sync, gone[i], text, sizeof(text)), 0);
        CHECK_INT(sync_memory_feed(server.sync, gone[i], "x", 1), 0);
        CHECK_INT(sync_memory_take(server.sync, gone[i], text, 1), 0);
        sync_end(server.sync, gone[i], 0, "", 0);
        sync_abort(server.sync, gone[i]);
        sync_memory_end(server.sync, gone[i]);
        sync_timer_stop(server.sync, gone[i]);
        sync_listener_close(server.sync, gone[i] == 1 ? 9 : gone[i]);
        CHECK_INT(sync_send_many(server.sync, &gone[i], 1, 0, "x", 1), 0);
    }
    server_close(&server);
}

TEST(memory_slot_is_used_again_only_after_its_close_was_seen) {
    struct server server;
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    uint32_t listener = server_memory(&server, &options, 1);
    sync_abort(server.sync, 1);
    CHECK_INT(sync_memory_connect(server.sync, listener), 2);
    server_tick(&server, false); /* the tick that hands SYNC_CLOSE out */
    CHECK_INT(server_saw(&server, SYNC_CLOSE, 1), 1);
    CHECK_INT(sync_memory_connect(server.sync, listener), 3);
    CHECK_INT(sync_send(server.sync, 1, "x", 1), SYNC_CLOSED);
    server_tick(&server, false);
    CHECK_INT(sync_memory_connect(server.sync, listener), 1);
    server_settle(&server);
    CHECK_INT(sync_send(server.sync, 1, "x", 1), SYNC_SENT);
    CHECK_INT(server_saw(&server, SYNC_CONNECT, 1), 2);
    server_close(&server);
}

TEST(memory_close_is_the_last_event_of_a_slot) {
    struct server server;
    static char bytes[5000];
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_NULL);
    options.high_water = 10;
    server_memory(&server, &options, 3);
    for (uint32_t slot = 1; slot <= 3; slot++) {
        server_feed(&server, slot, bytes, sizeof(bytes));
        sync_send(server.sync, slot, bytes, 100);
    }
    server_tick(&server, false);
    sync_abort(server.sync, 1);
    sync_end(server.sync, 2, 0, "", 0);
    sync_memory_end(server.sync, 3);
    for (int i = 0; i < 10; i++) {
        server_take(&server, 2, bytes, sizeof(bytes));
        server_take(&server, 3, bytes, sizeof(bytes));
        server_tick(&server, false);
    }
    bool closed[4] = {false};
    for (size_t i = 0; i < server.count; i++) {
        CHECK(!closed[server.seen[i].id]);
        closed[server.seen[i].id] |= server.seen[i].type == SYNC_CLOSE;
    }
    CHECK(closed[1] && closed[2] && closed[3]);
    server_close(&server);
}

TEST(memory_events_stay_readable_while_handlers_make_things) {
    struct server server;
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    uint32_t listener = server_memory(&server, &options, 1);
    feed_text(&server, 1, "one\ntwo\n");
    REQUIRE(sync_poll(server.sync, 0) == 2);
    for (int i = 0; i < 5000; i++) {
        CHECK(sync_memory_connect(server.sync, listener) > 0);
        CHECK(sync_timer_start(server.sync, 100000, 0) > 0);
    }
    const struct sync_event *event = &server.sync->events[1];
    CHECK_INT(event->type, SYNC_DATA);
    CHECK_BYTES(event->data, event->length, "two", 3);
    server_close(&server);
}

TEST(memory_bytes_stay_until_the_tick_ends) {
    /* The messages lie in the backlog, which more bytes and a close would move. */
    struct server server;
    static char more[60000];
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    server_memory(&server, &options, 2);
    feed_text(&server, 1, "one\ntwo\npart");
    feed_text(&server, 2, "three\n");
    REQUIRE(sync_poll(server.sync, 0) == 3);
    memset(more, 'x', sizeof(more));
    sync_memory_feed(server.sync, 1, more, sizeof(more));
    sync_abort(server.sync, 1);
    sync_abort(server.sync, 2);
    sync_flush(server.sync);
    CHECK_BYTES(server.sync->events[0].data, server.sync->events[0].length, "one", 3);
    CHECK_BYTES(server.sync->events[1].data, server.sync->events[1].length, "two", 3);
    CHECK_BYTES(server.sync->events[2].data, server.sync->events[2].length, "three", 5);
    server_close(&server);
}

TEST(memory_poll_says_when_nothing_is_left) {
    struct server server;
    server_open(&server);
    CHECK_INT(sync_poll(server.sync, 1), -1);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    uint32_t listener = server_memory(&server, &options, 1);
    sync_abort(server.sync, 1);
    sync_listener_close(server.sync, listener);
    CHECK_INT(sync_poll(server.sync, 1), 1);
    sync_flush(server.sync);
    CHECK_INT(sync_poll(server.sync, 1), -1);
    server_close(&server);
}

TEST(memory_poll_does_not_wait_for_the_time_outs_of_those_who_left) {
    struct server server;
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    options.idle_timeout = 5000;
    server_memory(&server, &options, 1);
    sync_abort(server.sync, 1);
    double begin = sync_now();
    while (sync_poll(server.sync, 1) >= 0) {
        sync_flush(server.sync);
    }
    CHECK(sync_now() - begin < 2);
    server_close(&server);
}

TEST(memory_trim_keeps_everything_in_use) {
    struct server server;
    char seen[100];
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    uint32_t listener = server_memory(&server, &options, 2000);
    server.handle = server_echo;
    for (uint32_t slot = 1; slot <= 2000; slot++) {
        if (slot != 3 && slot != 70) {
            sync_abort(server.sync, slot);
        }
    }
    feed_text(&server, 3, "a\nhalf");
    server_tick(&server, false);
    feed_text(&server, 70, "b\n");
    sync_trim(server.sync);
    server_tick(&server, false);
    sync_trim(server.sync);
    feed_text(&server, 3, "way\n");
    server_tick(&server, false);
    CHECK_BYTES(seen, server_take(&server, 3, seen, 100), "a\nhalfway\n", 10);
    CHECK_BYTES(seen, server_take(&server, 70, seen, 100), "b\n", 2);
    CHECK_INT(server.sync->client_count, 2);
    int32_t slot = sync_memory_connect(server.sync, listener);
    CHECK(slot > 0 && slot < 70 && slot != 3);
    server_close(&server);
}

TEST(memory_refuses_options_that_make_no_sense) {
    struct server server;
    server_open(&server);
    struct sync_options options = server_options(99);
    CHECK(sync_listen(server.sync, "memory:", 0, &options) < 0);
    options = server_options(SYNC_FRAMING_RAW);
    CHECK(sync_listen(server.sync, "127.0.0.1", 65536, &options) < 0);
    server_close(&server);
}

TEST(memory_closing_the_core_with_everything_in_the_air) {
    for (int ticks = 0; ticks < 3; ticks++) {
        struct server server;
        static char bytes[5000];
        server_open(&server);
        struct sync_options options = server_options(SYNC_FRAMING_NULL);
        options.idle_timeout = 10000;
        server_memory(&server, &options, 5);
        for (uint32_t slot = 1; slot <= 4; slot++) {
            sync_memory_feed(server.sync, slot, bytes, sizeof(bytes));
            sync_send(server.sync, slot, bytes, sizeof(bytes));
        }
        sync_memory_feed(server.sync, 5, "unfinished", 10);
        sync_timer_start(server.sync, 0, 0);
        sync_timer_start(server.sync, 10, 10);
        sync_resolve(server.sync, "localhost");
        for (int i = 0; i < ticks; i++) {
            server_tick(&server, false);
        }
        sync_end(server.sync, 1, 0, "", 0);
        sync_abort(server.sync, 2);
        sync_memory_end(server.sync, 3);
        server_close(&server);
    }
}
