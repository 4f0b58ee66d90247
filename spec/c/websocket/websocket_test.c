/* websocket_test.c: WebSockets over memory connections, whatever way their bytes come. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "server.h"
#include "test.h"
#include "text.h"
#include "websocket/deflate.h"

#define COUNT(all) (sizeof(all) / sizeof(*(all)))

/* First bytes of frames. */
enum {
    MORE = 0x00,
    TEXT_BEGIN = 0x01,
    BINARY_BEGIN = 0x02,
    END = 0x80,
    TEXT = 0x81,
    BINARY = 0x82,
    CLOSE = 0x88,
    PING = 0x89,
    PONG = 0x8a,
    PACKED = 0x40 /* + any of them: RSV1 */
};

static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
                              "Connection: Upgrade\r\n\r\n";
static const char accepted[] = "HTTP/1.1 101 Switching Protocols\r\n\r\n";

/* A core with WebSockets, in slots from 1 on. */
struct peer {
    struct server server; /* first, so that the handler finds the rest */
    struct sync_websocket settings;
    struct inflater *inflater; /* of what is sent */
    bool echo;
    uint32_t code; /* sync_close_code when SYNC_CLOSE came */
    uint32_t listener;
};

static void handle(struct server *server, const struct sync_event *event) {
    struct peer *peer = (struct peer *)server;
    if (event->type == SYNC_REQUEST) {
        CHECK_INT(sync_upgrade(server->sync, event->id, accepted, sizeof(accepted) - 1,
                               &peer->settings),
                  SYNC_SENT);
    } else if (event->type == SYNC_CLOSE) {
        peer->code = sync_close_code(server->sync, event->id);
    } else if (peer->echo) {
        server_echo(server, event);
    }
}

static struct sync_options options_of(uint32_t framing) {
    struct sync_options options = server_options(framing);
    options.transports = SYNC_STREAMS | SYNC_HTTP | SYNC_WEBSOCKET;
    options.max_head = 8192;
    options.max_headers = 64;
    return options;
}

/* Connects one more client with the peer's settings of now. Returns its slot. */
static uint32_t peer_connect(struct peer *peer) {
    char answer[sizeof(accepted)];
    int32_t slot = sync_memory_connect(peer->server.sync, peer->listener);
    if (slot <= 0) {
        abort();
    }
    server_feed(&peer->server, (uint32_t)slot, request, sizeof(request) - 1);
    server_settle(&peer->server);
    CHECK_BYTES(answer,
                server_take(&peer->server, (uint32_t)slot, answer, sizeof(answer)),
                accepted, sizeof(accepted) - 1);
    CHECK_INT(sync_transport(peer->server.sync, (uint32_t)slot),
              SYNC_TRANSPORT_WEBSOCKET);
    return (uint32_t)slot;
}

static void peer_open(struct peer *peer, const struct sync_options *options) {
    *peer = (struct peer){.echo = false};
    server_open(&peer->server);
    peer->server.handle = handle;
    int32_t listener = sync_listen(peer->server.sync, "memory:", 0, options);
    if (listener <= 0) {
        abort();
    }
    peer->listener = (uint32_t)listener;
}

static void peer_close(struct peer *peer) {
    inflater_free(peer->inflater);
    server_close(&peer->server);
}

/* permessage-deflate, with the largest windows. */
static struct sync_websocket deflate_of(bool takeover) {
    return (struct sync_websocket){.deflate = 1,
                                   .send_window_bits = 15,
                                   .receive_window_bits = 15,
                                   .send_takeover = takeover,
                                   .receive_takeover = takeover};
}

/* What a client sends */

static void add_header(struct text *stream, unsigned char first, uint64_t length,
                       const char *mask) {
    char head[14] = {(char)first};
    size_t size = 2;
    size_t form = length > 65535 ? 8 : length > 125 ? 2 : 0;
    head[1] = (char)(0x80 | (form == 8 ? 127 : form == 2 ? 126 : length));
    for (size_t i = form; i > 0; i--) {
        head[size++] = (char)(length >> 8 * (i - 1));
    }
    memcpy(head + size, mask, 4);
    text_add(stream, head, size + 4);
}

static void add_frame(struct text *stream, unsigned char first, const char *payload,
                      size_t length) {
    char mask[4];
    for (size_t i = 0; i < sizeof(mask); i++) {
        mask[i] = (char)test_random(256);
    }
    add_header(stream, first, length, mask);
    size_t begin = stream->length;
    text_add(stream, payload, length);
    for (size_t i = 0; i < length; i++) {
        stream->bytes[begin + i] = (char)(stream->bytes[begin + i] ^ mask[i % 4]);
    }
}

/* What a client was sent, a frame each: "text hello|pong |close 1000 bye|". */
static void tell_frame(struct peer *peer, FILE *story, unsigned char first,
                       const char *payload, size_t length) {
    static const char *const names[] = {"more", "text", "binary", "?",    "?",    "?",
                                        "?",    "?",    "close",  "ping", "pong", "?",
                                        "?",    "?",    "?",      "?"};
    static char room[300000];
    if (first & PACKED) {
        size_t used = sizeof(room);
        size_t rest = 0;
        fprintf(story, "packed ");
        CHECK_INT(inflater_run(peer->inflater, &payload, &length, room, &used),
                  INFLATE_DONE);
        rest = sizeof(room) - used;
        CHECK_INT(inflater_finish(peer->inflater, peer->settings.send_takeover,
                                  room + used, &rest),
                  INFLATE_DONE);
        payload = room;
        length = used + rest;
    }
    CHECK(first & END);
    fprintf(story, "%s ", names[first & 15]);
    if ((first & 15) == 8 && length >= 2) {
        fprintf(story, "%d ", (unsigned char)payload[0] << 8 | (unsigned char)payload[1]);
        payload += 2;
        length -= 2;
    }
    fwrite(payload, 1, length, story);
    fputc('|', story);
}

static struct text sent_to(struct peer *peer, uint32_t slot) {
    static char bytes[1 << 20];
    struct text text = {0};
    FILE *story = open_memstream(&text.bytes, &text.length);
    if (!story) {
        abort();
    }
    size_t length = server_take(&peer->server, slot, bytes, sizeof(bytes));
    size_t at = 0;
    while (at + 2 <= length) {
        unsigned char first = (unsigned char)bytes[at];
        unsigned char second = (unsigned char)bytes[at + 1];
        size_t form = second == 127 ? 8 : second == 126 ? 2 : 0;
        size_t size = form > 0 ? 0 : second;
        for (size_t i = 0; i < form && at + 2 + i < length; i++) {
            size = size << 8 | (unsigned char)bytes[at + 2 + i];
        }
        at += 2 + form;
        if (!CHECK(second < 128) || !CHECK(at + size <= length)) {
            break;
        }
        tell_frame(peer, story, first, bytes + at, size);
        at += size;
    }
    CHECK_INT(at, length);
    fclose(story);
    return text;
}

static void check_sent(struct peer *peer, uint32_t slot, const char *wanted,
                       size_t length) {
    struct text sent = sent_to(peer, slot);
    CHECK_BYTES(sent.bytes, sent.length, wanted, length);
    text_clear(&sent);
}

/* Feeds a stream in pieces of `step` bytes, or of random sizes where it is 0. */
static void feed_pieces(struct peer *peer, uint32_t slot, const struct text *stream,
                        size_t step) {
    size_t at = 0;
    while (at < stream->length && server_close_reason(&peer->server, slot) == 0) {
        size_t size = step ? step : 1 + test_random(20);
        size = size < stream->length - at ? size : stream->length - at;
        server_feed(&peer->server, slot, stream->bytes + at, size);
        server_settle(&peer->server);
        at += size;
    }
}

static void check_messages(struct peer *peer, uint32_t slot, const char *wanted,
                           size_t length) {
    size_t size;
    const char *messages = server_messages(&peer->server, slot, '|', &size);
    CHECK_BYTES(messages, size, wanted, length);
}

/* Scenes: what a client sends, and what comes of it. */

struct part {
    unsigned char first;
    bool raw; /* these very bytes, instead of a frame */
    const char *payload;
    size_t length;
};

#define FRAME(first, text)                                                               \
    { first, false, text, sizeof(text) - 1 }
#define RAW(text)                                                                        \
    { 0, true, text, sizeof(text) - 1 }

struct scene {
    const char *messages; /* each with a bar behind it */
    const char *sent;     /* as sent_to tells it */
    uint32_t reason;      /* of the close; 0: there was none */
    struct part parts[10];
};

#define SCENE(messages, sent, reason, ...)                                               \
    {                                                                                    \
        messages, sent, reason, {                                                        \
            __VA_ARGS__                                                                  \
        }                                                                                \
    }
#define GIVES(messages, ...) SCENE(messages, "", 0, __VA_ARGS__)
#define BREAKS(code, ...)    SCENE("", "close " code " |", SYNC_BROKE_PROTOCOL, __VA_ARGS__)

/* What a scene is played on. */
struct stage {
    uint32_t framing;
    uint32_t max_message;
    struct sync_websocket settings;
};

static void play(const struct stage *stage, const struct scene *scene, size_t step) {
    struct peer peer;
    struct text stream = {0};
    struct sync_options options = options_of(stage->framing);
    options.max_message = stage->max_message;
    for (size_t i = 0; i < COUNT(scene->parts) && scene->parts[i].payload; i++) {
        const struct part *part = &scene->parts[i];
        if (part->raw) {
            text_add(&stream, part->payload, part->length);
        } else {
            add_frame(&stream, part->first, part->payload, part->length);
        }
    }
    peer_open(&peer, &options);
    peer.settings = stage->settings;
    peer_connect(&peer);
    feed_pieces(&peer, 1, &stream, step ? step : stream.length);
    check_sent(&peer, 1, scene->sent, strlen(scene->sent));
    server_settle(&peer.server);
    check_messages(&peer, 1, scene->messages, strlen(scene->messages));
    CHECK_INT(server_close_reason(&peer.server, 1), scene->reason);
    peer_close(&peer);
    text_clear(&stream);
}

/* Plays scenes whole, byte by byte, and in a few other pieces. */
static void play_all(const struct stage *stage, const struct scene *scenes,
                     size_t count) {
    static const size_t steps[] = {0, 1, 2, 3, 5, 7};
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < COUNT(steps); k++) {
            play(stage, &scenes[i], steps[k]);
        }
    }
}

static const struct stage plain = {SYNC_FRAMING_RAW, 65536, {0}};

/* 125 bytes. */
#define LONG_TEXT                                                                        \
    "0123456789012345678901234567890123456789012345678901234567890123456789"             \
    "0123456789012345678901234567890123456789012345678901234"

TEST(websocket_messages_come_in_one_frame_or_many) {
    static const struct scene scenes[] = {
        GIVES("hello|", FRAME(TEXT, "hello")),
        GIVES("|", FRAME(TEXT, "")),
        GIVES("\xff\xfe|", FRAME(BINARY, "\xff\xfe")),
        GIVES("|", FRAME(BINARY, "")),
        GIVES("a|b|c|", FRAME(TEXT, "a"), FRAME(BINARY, "b"), FRAME(TEXT, "c")),
        GIVES(LONG_TEXT "|", FRAME(TEXT, LONG_TEXT)),
        GIVES(LONG_TEXT "+|", FRAME(TEXT, LONG_TEXT "+")),
        GIVES("hello|", FRAME(TEXT_BEGIN, "hel"), FRAME(END, "lo")),
        GIVES("|", FRAME(TEXT_BEGIN, ""), FRAME(END, "")),
        GIVES("x|", FRAME(TEXT_BEGIN, ""), FRAME(MORE, ""), FRAME(END, "x")),
        GIVES("x|", FRAME(TEXT_BEGIN, "x"), FRAME(MORE, ""), FRAME(END, "")),
        GIVES("abcd|e|", FRAME(BINARY_BEGIN, "a"), FRAME(MORE, "b"), FRAME(MORE, "c"),
              FRAME(END, "d"), FRAME(TEXT, "e")),
        SCENE("", "", 0, FRAME(TEXT_BEGIN, "never ended"), FRAME(MORE, "...")),
    };
    play_all(&plain, scenes, COUNT(scenes));
}

TEST(websocket_control_frames_come_between_fragments) {
    static const struct scene scenes[] = {
        SCENE("", "pong |", 0, FRAME(PING, "")),
        SCENE("", "pong \xff|", 0, FRAME(PING, "\xff")),
        SCENE("", "pong " LONG_TEXT "|", 0, FRAME(PING, LONG_TEXT)),
        SCENE("", "", 0, FRAME(PONG, ""), FRAME(PONG, "unasked")),
        SCENE("abc|", "pong 1|pong 3|pong 4|", 0, FRAME(TEXT_BEGIN, "a"),
              FRAME(PING, "1"), FRAME(MORE, "b"), FRAME(PONG, "2"), FRAME(PING, "3"),
              FRAME(END, "c"), FRAME(PING, "4")),
        SCENE("\xe2\x82\xac|", "pong \xac|", 0, FRAME(TEXT_BEGIN, "\xe2\x82"),
              FRAME(PING, "\xac"), FRAME(END, "\xac")),
        SCENE("", "close 1000 |", SYNC_BY_CLIENT, FRAME(TEXT_BEGIN, "a"),
              FRAME(CLOSE, "\x03\xe8"), FRAME(END, "b")),
    };
    play_all(&plain, scenes, COUNT(scenes));
}

TEST(websocket_refuses_frames_that_break_the_protocol) {
    static const struct scene scenes[] = {
        BREAKS("1002", FRAME(END, "a")),
        BREAKS("1002", FRAME(MORE, "a")),
        SCENE("a|", "close 1002 |", SYNC_BROKE_PROTOCOL, FRAME(TEXT, "a"),
              FRAME(END, "b")),
        BREAKS("1002", FRAME(TEXT_BEGIN, "a"), FRAME(TEXT, "b")),
        BREAKS("1002", FRAME(BINARY_BEGIN, ""), FRAME(BINARY_BEGIN, "")),
        BREAKS("1002", FRAME(0x09, "part of a ping")),
        BREAKS("1002", FRAME(0x08, "")),
        BREAKS("1002", FRAME(PING, LONG_TEXT "+")),
        BREAKS("1002", FRAME(CLOSE, "\x03\xe8" LONG_TEXT)),
        BREAKS("1002", FRAME(0x83, "")),
        BREAKS("1002", FRAME(0x8b, "")),
        BREAKS("1002", FRAME(PACKED | TEXT, "")),
        BREAKS("1002", FRAME(0xa1, "")),
        BREAKS("1002", FRAME(0x91, "")),
        BREAKS("1002", RAW("\x81\x01x")), /* no mask */
        BREAKS("1002", RAW("\x81\xfe\x00\x7dmask")),
        BREAKS("1002", RAW("\x81\xff\x80\0\0\0\0\0\0\0mask")),
        /* What came before counts, what comes behind doesn't. */
        SCENE("a|", "pong b|close 1002 |", SYNC_BROKE_PROTOCOL, FRAME(TEXT, "a"),
              FRAME(PING, "b"), FRAME(0x83, ""), FRAME(TEXT, "c"), FRAME(PING, "d")),
    };
    play_all(&plain, scenes, COUNT(scenes));
}

TEST(websocket_text_is_utf8_wherever_it_is_cut) {
    static const struct scene scenes[] = {
        GIVES("\xf0\x9f\x98\x80|", FRAME(TEXT, "\xf0\x9f\x98\x80")),
        GIVES("\xf0\x9f\x98\x80|", FRAME(TEXT_BEGIN, "\xf0"), FRAME(MORE, "\x9f\x98"),
              FRAME(MORE, ""), FRAME(END, "\x80")),
        BREAKS("1007", FRAME(TEXT, "a\xff")),
        BREAKS("1007", FRAME(TEXT, "\xed\xa0\x80")),
        BREAKS("1007", FRAME(TEXT, "\xc0\x80")),
        BREAKS("1007", FRAME(TEXT, "\xe2\x82")),
        BREAKS("1007", FRAME(TEXT_BEGIN, "\xe2\x82"), FRAME(END, "")),
        BREAKS("1007", FRAME(TEXT_BEGIN, "\xe2\x82"), FRAME(END, "a")),
        SCENE("a|", "close 1007 |", SYNC_BROKE_PROTOCOL, FRAME(TEXT, "a"),
              FRAME(TEXT, "\xe2"), FRAME(TEXT, "\x82\xac")),
        /* It's found out before the message ends. */
        BREAKS("1007", FRAME(TEXT_BEGIN, "a\xff")),
        BREAKS("1007", RAW("\x81\xfe\x40\x00\0\0\0\0a\xf4\x90")),
        /* A message's state isn't left to the next. */
        GIVES("\xe2\x82|a|", FRAME(BINARY, "\xe2\x82"), FRAME(TEXT, "a")),
        GIVES("\xff\xc0|", FRAME(BINARY_BEGIN, "\xff"), FRAME(END, "\xc0")),
    };
    play_all(&plain, scenes, COUNT(scenes));
}

TEST(websocket_answers_a_close_and_takes_nothing_behind_it) {
    static const struct scene scenes[] = {
        SCENE("", "close |", SYNC_BY_CLIENT, FRAME(CLOSE, "")),
        SCENE("", "close 1001 |", SYNC_BY_CLIENT, FRAME(CLOSE, "\x03\xe9")),
        SCENE("", "close 1000 |", SYNC_BY_CLIENT,
              FRAME(CLOSE, "\x03\xe8good \xe2\x82\xac")),
        BREAKS("1002", FRAME(CLOSE, "\x03")),
        BREAKS("1007", FRAME(CLOSE, "\x03\xe8\xff")),
        BREAKS("1007", FRAME(CLOSE, "\x03\xe8\xe2\x82")),
        SCENE("a|", "close 1000 |", SYNC_BY_CLIENT, FRAME(TEXT, "a"),
              FRAME(CLOSE, "\x03\xe8"), FRAME(TEXT, "b"), FRAME(PING, ""),
              FRAME(CLOSE, "\x03\xe9")),
    };
    play_all(&plain, scenes, COUNT(scenes));
}

TEST(websocket_takes_the_codes_that_a_close_may_have) {
    static const struct {
        uint32_t code;
        bool valid;
    } codes[] = {{0, false},    {999, false},  {1000, true},  {1003, true},
                 {1004, false}, {1005, false}, {1006, false}, {1007, true},
                 {1011, true},  {1014, true},  {1015, false}, {1016, false},
                 {1100, false}, {2999, false}, {3000, true},  {3999, true},
                 {4000, true},  {4999, true},  {5000, false}, {65535, false}};
    for (size_t i = 0; i < COUNT(codes); i++) {
        struct peer peer;
        struct text stream = {0};
        struct sync_options options = options_of(SYNC_FRAMING_RAW);
        char payload[2] = {(char)(codes[i].code >> 8), (char)codes[i].code};
        char wanted[30];
        uint32_t answer = codes[i].valid ? codes[i].code : 1002;
        snprintf(wanted, sizeof(wanted), "close %u |", answer);
        peer_open(&peer, &options);
        peer_connect(&peer);
        add_frame(&stream, CLOSE, payload, 2);
        feed_pieces(&peer, 1, &stream, stream.length);
        CHECK_INT(sync_close_code(peer.server.sync, 1), answer);
        check_sent(&peer, 1, wanted, strlen(wanted));
        server_settle(&peer.server);
        CHECK_INT(server_close_reason(&peer.server, 1),
                  codes[i].valid ? SYNC_BY_CLIENT : SYNC_BROKE_PROTOCOL);
        peer_close(&peer);
        text_clear(&stream);
    }
}

TEST(websocket_takes_nothing_behind_a_close_that_waits_for_the_tick_to_end) {
    struct peer peer;
    struct text stream = {0};
    struct sync_options options = options_of(SYNC_FRAMING_RAW);
    peer_open(&peer, &options);
    peer_connect(&peer);
    add_frame(&stream, TEXT, "one", 3);
    add_frame(&stream, CLOSE, "", 0);
    server_feed(&peer.server, 1, stream.bytes, stream.length);
    server_tick(&peer.server, false); /* "one" may still be answered */
    CHECK_INT(server_saw(&peer.server, SYNC_DATA, 1), 1);
    CHECK_INT(sync_send(peer.server.sync, 1, "1", 1), SYNC_SENT);
    text_clear(&stream);
    add_frame(&stream, TEXT, "two", 3);
    server_feed(&peer.server, 1, stream.bytes, stream.length);
    server_settle(&peer.server);
    check_messages(&peer, 1, "one|", 4);
    check_sent(&peer, 1, "text 1|close |", 14);
    peer_close(&peer);
    text_clear(&stream);
}

/* Limits */

TEST(websocket_counts_a_message_when_it_is_put_together) {
    static const struct stage stage = {SYNC_FRAMING_RAW, 10, {0}};
    static const struct scene scenes[] = {
        GIVES("0123456789|", FRAME(TEXT, "0123456789")),
        SCENE("a|", "close 1009 |", SYNC_MESSAGE_LONG, FRAME(TEXT, "a"),
              FRAME(TEXT, "0123456789+")),
        SCENE("0123456789|", "pong " LONG_TEXT "|", 0, FRAME(TEXT_BEGIN, "01234"),
              FRAME(PING, LONG_TEXT), FRAME(END, "56789")),
        SCENE("", "close 1009 |", SYNC_MESSAGE_LONG, FRAME(TEXT_BEGIN, "01234"),
              FRAME(END, "56789+")),
        GIVES("0123456789|", FRAME(BINARY_BEGIN, "0123456789"), FRAME(MORE, ""),
              FRAME(END, "")),
        SCENE("", "close 1009 |", SYNC_MESSAGE_LONG, FRAME(BINARY_BEGIN, "0123456789"),
              FRAME(MORE, ""), FRAME(MORE, "+")),
        GIVES("0123456789|9876543210|", FRAME(TEXT, "0123456789"),
              FRAME(TEXT, "9876543210")),
        /* A header is enough. */
        SCENE("", "close 1009 |", SYNC_MESSAGE_LONG, RAW("\x82\x8bmask")),
        SCENE("", "close 1009 |", SYNC_MESSAGE_LONG,
              RAW("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xffmask")),
        SCENE("", "close 1009 |", SYNC_MESSAGE_LONG, FRAME(TEXT_BEGIN, "x"),
              RAW("\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xffmask")),
    };
    play_all(&stage, scenes, COUNT(scenes));
    static const struct stage nothing = {SYNC_FRAMING_RAW, 0, {0}};
    static const struct scene none[] = {
        GIVES("||", FRAME(TEXT, ""), FRAME(BINARY, "")),
        SCENE("", "close 1009 |", SYNC_MESSAGE_LONG, FRAME(TEXT, "x")),
    };
    play_all(&nothing, none, COUNT(none));
}

TEST(websocket_takes_messages_up_to_max_message) {
    enum { MOST = 200000 };
    struct peer peer;
    struct text stream = {0};
    struct sync_options options = options_of(SYNC_FRAMING_RAW);
    char *bytes = malloc(MOST);
    REQUIRE(bytes);
    for (size_t i = 0; i < MOST; i++) {
        bytes[i] = (char)('a' + test_random(26));
    }
    options.max_message = MOST;
    peer_open(&peer, &options);
    peer_connect(&peer);
    add_frame(&stream, TEXT, bytes, MOST);
    add_frame(&stream, BINARY_BEGIN, bytes, 65536);
    for (size_t at = 65536; at < MOST; at += 1000) {
        add_frame(&stream, MORE, bytes + at, MOST - at < 1000 ? MOST - at : 1000);
    }
    add_frame(&stream, END, "", 0);
    feed_pieces(&peer, 1, &stream, 777);
    size_t length;
    const char *messages = server_messages(&peer.server, 1, '|', &length);
    if (CHECK_INT(length, 2 * (MOST + 1))) {
        CHECK_BYTES(messages, MOST, bytes, MOST);
        CHECK_BYTES(messages + MOST + 1, MOST, bytes, MOST);
    }
    peer_close(&peer);
    text_clear(&stream);
    free(bytes);
}

TEST(websocket_hands_out_at_most_1024_messages_of_a_client_a_tick) {
    enum { MANY = 3000 };
    for (uint32_t stream = 0; stream < 2; stream++) {
        struct peer peer;
        struct text bytes = {0};
        static char zeros[MANY];
        struct sync_options options = options_of(SYNC_FRAMING_NULL);
        peer_open(&peer, &options);
        peer_connect(&peer);
        for (int i = 0; i < MANY && !stream; i++) {
            add_frame(&bytes, TEXT, "", 0);
        }
        if (stream) {
            add_frame(&bytes, BINARY, zeros, MANY);
        }
        add_frame(&bytes, TEXT, "last", 4);
        server_feed(&peer.server, 1, bytes.bytes, bytes.length);
        server_tick(&peer.server, false);
        CHECK_INT(server_saw(&peer.server, SYNC_DATA, 1), 1024);
        server_tick(&peer.server, false);
        CHECK_INT(server_saw(&peer.server, SYNC_DATA, 1), 2048);
        server_settle(&peer.server);
        CHECK_INT(server_saw(&peer.server, SYNC_DATA, 1), MANY + 1);
        size_t length;
        const char *messages = server_messages(&peer.server, 1, '|', &length);
        CHECK_BYTES(messages + length - 6, 6, "|last|", 6);
        peer_close(&peer);
        text_clear(&bytes);
    }
}

TEST(websocket_pings_of_a_client_that_does_not_read_fill_no_more_than_its_queue) {
    struct peer peer;
    struct text stream = {0};
    struct sync_options options = options_of(SYNC_FRAMING_RAW);
    options.max_queue = 100;
    options.high_water = 100;
    peer_open(&peer, &options);
    peer_connect(&peer);
    for (int i = 0; i < 1000; i++) {
        add_frame(&stream, PING, "0123456789", 10);
    }
    feed_pieces(&peer, 1, &stream, 500);
    CHECK_INT(sync_queued(peer.server.sync, 1), 8 * 12);
    struct text sent = sent_to(&peer, 1);
    CHECK_INT(sent.length, 8 * (sizeof("pong 0123456789|") - 1));
    text_clear(&sent);
    text_clear(&stream);
    add_frame(&stream, PING, "again", 5);
    add_frame(&stream, TEXT, "alive", 5);
    feed_pieces(&peer, 1, &stream, 500);
    check_sent(&peer, 1, "pong again|", 11);
    check_messages(&peer, 1, "alive|", 6);
    peer_close(&peer);
    text_clear(&stream);
}

/* Byte streams */

TEST(websocket_binary_frames_carry_the_byte_stream) {
    static const struct stage stage = {SYNC_FRAMING_NULL, 10, {0}};
    static const struct scene scenes[] = {
        GIVES("a|b|", FRAME(BINARY, "a\0b\0")),
        GIVES("a||", FRAME(BINARY, "a\0\0")),
        GIVES("abc|d|", FRAME(BINARY, "ab"), FRAME(BINARY, "c"), FRAME(BINARY, "\0d\0e")),
        GIVES("|", FRAME(BINARY, ""), FRAME(BINARY, "\0"), FRAME(BINARY, "")),
        SCENE("ab|cd|", "pong p|", 0, FRAME(BINARY_BEGIN, "ab\0c"), FRAME(PING, "p"),
              FRAME(MORE, ""), FRAME(END, "d\0")),
        /* Text is a message by itself, and leaves the stream alone. */
        GIVES("text|abc|", FRAME(BINARY, "ab"), FRAME(TEXT, "text"),
              FRAME(BINARY, "c\0")),
        GIVES("\xff\xc0|", FRAME(BINARY, "\xff\xc0\0")),
        /* A frame may be longer than a message, and a message not. */
        GIVES("0123456789|0123456789|0123456789|", FRAME(BINARY, "0123456789\0"
                                                                 "0123456789\0"
                                                                 "0123456789\0")),
        SCENE("a|", "close 1009 |", SYNC_MESSAGE_LONG,
              FRAME(BINARY, "a\0"
                            "0123456789+")),
        SCENE("", "close 1009 |", SYNC_MESSAGE_LONG, FRAME(BINARY, "012345"),
              FRAME(BINARY, "6789"), FRAME(BINARY, "+")),
        SCENE("", "close 1009 |", SYNC_MESSAGE_LONG, FRAME(TEXT, "0123456789+")),
        /* What isn't ended when it closes is lost. */
        SCENE("a|", "close |", SYNC_BY_CLIENT, FRAME(BINARY, "a\0b"), FRAME(CLOSE, "")),
        SCENE("a|", "close 1002 |", SYNC_BROKE_PROTOCOL, FRAME(BINARY_BEGIN, "a\0b"),
              FRAME(BINARY, "c\0")),
    };
    play_all(&stage, scenes, COUNT(scenes));
}

TEST(websocket_streams_are_cut_by_every_framing) {
    static const struct {
        uint32_t framing;
        struct scene scene;
    } cases[] = {
        {SYNC_FRAMING_LINE, GIVES("a|b||", FRAME(BINARY, "a\r"), FRAME(BINARY, "\nb\n\n"),
                                  FRAME(BINARY, "c"))},
        {SYNC_FRAMING_LENGTH16,
         GIVES("abc||d|", FRAME(BINARY, "\0"), FRAME(BINARY, "\3ab"),
               FRAME(BINARY, "c\0\0\0\1d\0"))},
        {SYNC_FRAMING_LENGTH32, GIVES("abc||d|", FRAME(BINARY, "\0\0\0\3ab"),
                                      FRAME(BINARY, "c\0\0\0\0\0\0\0\1d"))},
        {SYNC_FRAMING_LENGTH32, SCENE("a|", "close 1009 |", SYNC_MESSAGE_LONG,
                                      FRAME(BINARY, "\0\0\0\1a\0\0\0\x0b"))},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct stage stage = {cases[i].framing, 10, {0}};
        play_all(&stage, &cases[i].scene, 1);
    }
}

TEST(websocket_that_asks_for_messages_gets_one_for_each_binary_frame) {
    static const struct stage stage = {
        SYNC_FRAMING_LENGTH16, 10, {.mode = SYNC_WEBSOCKET_MESSAGES}};
    static const struct scene scenes[] = {
        GIVES("a|\xff\xff||", FRAME(BINARY, "a"), FRAME(BINARY, "\xff\xff"),
              FRAME(BINARY, "")),
        GIVES("ab|c|", FRAME(BINARY_BEGIN, "a"), FRAME(END, "b"), FRAME(TEXT, "c")),
        SCENE("", "close 1009 |", SYNC_MESSAGE_LONG, FRAME(BINARY, "0123456789+")),
    };
    play_all(&stage, scenes, COUNT(scenes));
}

/* Answers */

/* Sends frames to an echo, one at a time, and checks what it sends. */
static void check_echo(uint32_t framing, uint32_t mode, const struct part *parts,
                       const char *wanted, size_t length) {
    struct peer peer;
    struct text stream = {0};
    struct text sent = {0};
    struct sync_options options = options_of(framing);
    peer_open(&peer, &options);
    peer.echo = true;
    peer.settings.mode = mode;
    peer_connect(&peer);
    for (const struct part *part = parts; part->payload; part++) {
        add_frame(&stream, part->first, part->payload, part->length);
        feed_pieces(&peer, 1, &stream, 0);
        struct text text = sent_to(&peer, 1);
        text_add(&sent, text.bytes, text.length);
        text_clear(&text);
        text_clear(&stream);
    }
    CHECK_BYTES(sent.bytes, sent.length, wanted, length);
    text_clear(&sent);
    peer_close(&peer);
}

#define ECHO(framing, mode, wanted, ...)                                                 \
    check_echo(framing, mode, (const struct part[]){__VA_ARGS__, {0, false, NULL, 0}},   \
               wanted, sizeof(wanted) - 1)

TEST(websocket_answers_as_it_was_asked) {
    ECHO(SYNC_FRAMING_RAW, SYNC_WEBSOCKET_MIRROR, "text a|binary b|text |binary |",
         FRAME(TEXT, "a"), FRAME(BINARY, "b"), FRAME(TEXT, ""), FRAME(BINARY, ""));
    ECHO(SYNC_FRAMING_NULL, SYNC_WEBSOCKET_MIRROR, "text a|binary b\0|binary \0|text c|",
         FRAME(TEXT, "a"), FRAME(BINARY, "b\0\0"), FRAME(TEXT, "c"));
    ECHO(SYNC_FRAMING_LINE, SYNC_WEBSOCKET_MIRROR, "binary ab\n|", FRAME(BINARY, "a"),
         FRAME(BINARY, "b\r\n"));
    ECHO(SYNC_FRAMING_LENGTH16, SYNC_WEBSOCKET_MIRROR, "binary \0\1a|",
         FRAME(BINARY, "\0\1a"));
    ECHO(SYNC_FRAMING_LENGTH32, SYNC_WEBSOCKET_MIRROR, "binary \0\0\0\1a|",
         FRAME(BINARY, "\0\0\0\1a"));
    ECHO(SYNC_FRAMING_NULL, SYNC_WEBSOCKET_MESSAGES, "binary b\0|text c|",
         FRAME(BINARY, "b\0"), FRAME(TEXT, "c"));
}

/* All that came in one segment is answered in the kind of each. */
TEST(websocket_answers_each_message_of_a_segment_in_its_own_kind) {
    enum { MANY = 100 };
    struct peer peer;
    struct sync_options options = options_of(SYNC_FRAMING_RAW);
    struct text stream = {0};
    struct text wanted = {0};
    peer_open(&peer, &options);
    peer.echo = true;
    peer_connect(&peer);
    for (int i = 0; i < MANY; i++) {
        bool binary = i % 3 == 0 || i % 7 == 0;
        add_frame(&stream, binary ? BINARY : TEXT, "a", 1);
        text_add(&wanted, binary ? "binary a|" : "text a|", binary ? 9 : 7);
    }
    feed_pieces(&peer, 1, &stream, stream.length);
    check_sent(&peer, 1, wanted.bytes, wanted.length);
    text_clear(&stream);
    text_clear(&wanted);
    peer_close(&peer);
}

TEST(websocket_a_message_that_has_begun_turns_no_answer) {
    struct peer peer;
    struct sync_options options = options_of(SYNC_FRAMING_RAW);
    struct text stream = {0};
    peer_open(&peer, &options);
    peer.echo = true;
    peer_connect(&peer);
    add_frame(&stream, TEXT, "a", 1);
    add_frame(&stream, BINARY_BEGIN, "b", 1);
    feed_pieces(&peer, 1, &stream, stream.length);
    CHECK_INT(sync_send(peer.server.sync, 1, "event", 5), SYNC_SENT);
    check_sent(&peer, 1, "text a|text event|", 18);
    text_clear(&stream);
    peer_close(&peer);
}

/* The same of a byte stream, whose message is answered where it ends. */
TEST(websocket_a_stream_turns_answers_with_its_messages) {
    struct peer peer;
    struct sync_options options = options_of(SYNC_FRAMING_NULL);
    struct text stream = {0};
    peer_open(&peer, &options);
    peer.echo = true;
    peer_connect(&peer);
    add_frame(&stream, TEXT, "a", 1);
    add_frame(&stream, BINARY, "b", 1);
    feed_pieces(&peer, 1, &stream, stream.length);
    CHECK_INT(sync_send(peer.server.sync, 1, "event", 5), SYNC_SENT);
    text_clear(&stream);
    add_frame(&stream, TEXT, "c", 1);
    add_frame(&stream, BINARY, "d\0e\0", 4);
    add_frame(&stream, TEXT, "f", 1);
    feed_pieces(&peer, 1, &stream, stream.length);
    static const char wanted[] =
        "text a|text event|text c|binary bd\0|binary e\0|text f|";
    check_sent(&peer, 1, wanted, sizeof(wanted) - 1);
    text_clear(&stream);
    peer_close(&peer);
}

TEST(websocket_is_sent_the_kind_that_is_asked_for) {
    struct peer peer;
    struct sync_options options = options_of(SYNC_FRAMING_NULL);
    peer_open(&peer, &options);
    peer_connect(&peer);
    struct sync *sync = peer.server.sync;
    uint32_t slots[] = {1, (uint32_t)sync_memory_connect(sync, peer.listener)};
    server_feed(&peer.server, slots[1], "\0", 1); /* a byte stream has no kinds */
    server_settle(&peer.server);
    CHECK_INT(sync_send_as(sync, 1, "a", 1, SYNC_KIND_BINARY), SYNC_SENT);
    CHECK_INT(sync_send_as(sync, 1, "\xff", 1, SYNC_KIND_TEXT), SYNC_SENT);
    CHECK_INT(sync_send(sync, 1, "b", 1), SYNC_SENT);
    CHECK_INT(sync_send_many_as(sync, slots, 2, 0, "c", 1, SYNC_KIND_BINARY), 2);
    CHECK_INT(sync_send_many_as(sync, slots, 2, 0, "d", 1, SYNC_KIND_TEXT), 2);
    sync_turn(sync, 1, SYNC_KIND_BINARY);
    CHECK_INT(sync_send_many(sync, slots, 2, 0, "e", 1), 2);
    static const char wanted[] =
        "binary a\0|binary \xff|text b|binary c\0|text d|binary e\0|";
    check_sent(&peer, 1, wanted, sizeof(wanted) - 1);
    char bytes[16];
    CHECK_BYTES(bytes, server_take(&peer.server, slots[1], bytes, sizeof(bytes)),
                "c\0d\0e\0", 6);
    peer_close(&peer);
}

TEST(websocket_that_has_said_nothing_is_sent_text_or_what_was_agreed_on) {
    static const struct {
        uint32_t framing;
        struct sync_websocket settings;
        const char *wanted;
        size_t length;
    } cases[] = {
        {SYNC_FRAMING_NULL, {0}, "text a|", 7},
        {SYNC_FRAMING_NULL, {.binary = 1}, "binary a\0|", 10},
        {SYNC_FRAMING_RAW, {.binary = 1}, "binary a|", 9},
        {SYNC_FRAMING_NULL,
         {.mode = SYNC_WEBSOCKET_MESSAGES, .binary = 1},
         "binary a|",
         9},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct peer peer;
        struct sync_options options = options_of(cases[i].framing);
        peer_open(&peer, &options);
        peer.settings = cases[i].settings;
        peer_connect(&peer);
        CHECK_INT(sync_sends_text(peer.server.sync, 1), !cases[i].settings.binary);
        CHECK_INT(sync_send(peer.server.sync, 1, "a", 1), SYNC_SENT);
        check_sent(&peer, 1, cases[i].wanted, cases[i].length);
        peer_close(&peer);
    }
}

TEST(websocket_sends_what_is_no_text_in_binary_frames) {
    struct peer peer;
    struct sync_options options = options_of(SYNC_FRAMING_NULL);
    peer_open(&peer, &options);
    peer_connect(&peer);
    uint32_t slot = 1;
    CHECK_INT(sync_send(peer.server.sync, 1, "\xe2\x82\xac", 3), SYNC_SENT);
    CHECK_INT(sync_send(peer.server.sync, 1, "\xe2\x82", 2), SYNC_SENT);
    CHECK_INT(sync_send_many(peer.server.sync, &slot, 1, 0, "\xff", 1), 1);
    CHECK_INT(sync_send_many(peer.server.sync, &slot, 1, 0, "a", 1), 1);
    static const char wanted[] = "text \xe2\x82\xac|binary \xe2\x82|binary \xff|text a|";
    check_sent(&peer, 1, wanted, sizeof(wanted) - 1);
    peer_close(&peer);
}

TEST(websocket_frames_messages_of_every_length) {
    static const uint32_t lengths[] = {0,   1,   125,   126,   127,
                                       511, 512, 65535, 65536, 70000};
    static char bytes[70000];
    struct peer peer;
    struct sync_options options = options_of(SYNC_FRAMING_NULL);
    peer_open(&peer, &options);
    peer_connect(&peer);
    peer.settings.binary = 1;
    peer_connect(&peer);
    memset(bytes, 'x', sizeof(bytes));
    for (size_t i = 0; i < 2 * COUNT(lengths); i++) {
        static const uint32_t slots[] = {1, 0, 2};
        struct text wanted[2] = {{0}, {0}};
        uint32_t length = lengths[i / 2];
        text_add(&wanted[0], "text ", 5);
        text_add(&wanted[0], bytes, length);
        text_add(&wanted[0], "|", 1);
        text_add(&wanted[1], "binary ", 7);
        text_add(&wanted[1], bytes, length);
        text_add(&wanted[1], "\0|", 2);
        if (i % 2 == 0) {
            CHECK_INT(sync_send_many(peer.server.sync, slots, 3, 0, bytes, length), 2);
        } else {
            CHECK_INT(sync_send(peer.server.sync, 1, bytes, length), SYNC_SENT);
            CHECK_INT(sync_send(peer.server.sync, 2, bytes, length), SYNC_SENT);
        }
        check_sent(&peer, 1, wanted[0].bytes, wanted[0].length);
        check_sent(&peer, 2, wanted[1].bytes, wanted[1].length);
        text_clear(&wanted[0]);
        text_clear(&wanted[1]);
    }
    peer_close(&peer);
}

TEST(websocket_is_told_why_it_ends) {
    static const struct {
        uint32_t code;
        const char *why;
        size_t length;
        const char *wanted;
    } cases[] = {
        {0, "", 0, "text a|close 1000 |"},
        {1001, "bye", 3, "text a|close 1001 bye|"},
        {4999, LONG_TEXT, 123, NULL},                     /* as long as it may be */
        {4000, LONG_TEXT, 124, "text a|close 4000 |"},    /* too long */
        {4000, "\xe2\x82\xac", 2, "text a|close 4000 |"}, /* no UTF-8 */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct peer peer;
        struct text stream = {0};
        char wanted[200];
        struct sync_options options = options_of(SYNC_FRAMING_RAW);
        peer_open(&peer, &options);
        peer_connect(&peer);
        sync_send(peer.server.sync, 1, "a", 1);
        sync_end(peer.server.sync, 1, cases[i].code, cases[i].why, cases[i].length);
        sync_end(peer.server.sync, 1, 1011, "twice", 5);
        CHECK_INT(sync_send(peer.server.sync, 1, "b", 1), SYNC_CLOSED);
        add_frame(&stream, TEXT, "late", 4);
        feed_pieces(&peer, 1, &stream, stream.length);
        snprintf(wanted, sizeof(wanted), "text a|close %u %.*s|", cases[i].code,
                 (int)cases[i].length, cases[i].why);
        const char *text = cases[i].wanted ? cases[i].wanted : wanted;
        check_sent(&peer, 1, text, strlen(text));
        server_settle(&peer.server);
        CHECK_INT(server_saw(&peer.server, SYNC_DATA, 1), 0);
        CHECK_INT(server_close_reason(&peer.server, 1), SYNC_BY_SERVER);
        CHECK_INT(peer.code, cases[i].code ? cases[i].code : 1000);
        peer_close(&peer);
        text_clear(&stream);
    }
}

TEST(websocket_that_ends_without_a_close_has_left) {
    struct peer peer;
    struct text stream = {0};
    struct sync_options options = options_of(SYNC_FRAMING_NULL);
    peer_open(&peer, &options);
    peer_connect(&peer);
    add_frame(&stream, TEXT, "a", 1);
    add_frame(&stream, BINARY_BEGIN, "b\0c", 3);
    feed_pieces(&peer, 1, &stream, 1);
    sync_memory_end(peer.server.sync, 1);
    server_settle(&peer.server);
    check_messages(&peer, 1, "a|b|", 4);
    CHECK_INT(server_close_reason(&peer.server, 1), SYNC_BY_CLIENT);
    peer_close(&peer);
    text_clear(&stream);
}

TEST(websocket_frames_may_follow_the_request_at_once) {
    struct peer peer;
    struct text stream = {0};
    struct sync_options options = options_of(SYNC_FRAMING_RAW);
    text_add(&stream, request, sizeof(request) - 1);
    add_frame(&stream, TEXT, "a", 1);
    add_frame(&stream, TEXT, "b", 1);
    for (size_t step = 1; step <= stream.length; step++) {
        peer_open(&peer, &options);
        CHECK_INT(sync_memory_connect(peer.server.sync, peer.listener), 1);
        feed_pieces(&peer, 1, &stream, step);
        check_messages(&peer, 1, "a|b|", 4);
        peer_close(&peer);
    }
    text_clear(&stream);
}

/* permessage-deflate */

/* Packs a message with the client's deflater, and sends it in frames of `part` bytes of
 * payload with pings between. */
static void add_packed(struct text *stream, struct deflater *deflater, bool keep,
                       unsigned char opcode, const char *bytes, size_t length,
                       size_t part) {
    size_t bound = deflater_bound(deflater, length);
    char *packed = malloc(bound);
    if (!packed) {
        abort();
    }
    ssize_t size = deflater_message(deflater, keep, bytes, length, packed, bound);
    CHECK(size > 0);
    size_t rest = (size_t)size;
    for (size_t at = 0; at < (size_t)size; at += part, rest -= part) {
        unsigned char first = at == 0 ? PACKED | opcode : MORE;
        if (rest <= part) {
            add_frame(stream, first | END, packed + at, rest);
            break;
        }
        add_frame(stream, first, packed + at, part);
        add_frame(stream, PING, "", 0);
    }
    free(packed);
}

TEST(websocket_inflates_messages_however_they_are_cut) {
    static const char text[] = "hello hello hello, and hello again";
    for (int keep = 0; keep < 2; keep++) {
        for (size_t part = 1; part < 30; part += 1 + part / 4) {
            for (size_t step = 0; step < 4; step++) {
                struct peer peer;
                struct text stream = {0};
                struct sync_options options = options_of(SYNC_FRAMING_NULL);
                struct deflater *deflater = deflater_new(15, 6);
                REQUIRE(deflater);
                peer_open(&peer, &options);
                peer.settings = deflate_of(keep);
                peer_connect(&peer);
                for (int i = 0; i < 2; i++) {
                    add_packed(&stream, deflater, keep, TEXT_BEGIN, text,
                               sizeof(text) - 1, part);
                    add_packed(&stream, deflater, keep, BINARY_BEGIN, "a\0b\0c", 5, part);
                    add_frame(&stream, TEXT, "plain", 5);
                    add_packed(&stream, deflater, keep, TEXT_BEGIN, "", 0, part);
                }
                feed_pieces(&peer, 1, &stream, step);
                static const char wanted[] =
                    "hello hello hello, and hello again|a|b|plain||"
                    "hello hello hello, and hello again|ca|b|plain||";
                check_messages(&peer, 1, wanted, sizeof(wanted) - 1);
                CHECK_INT(server_close_reason(&peer.server, 1), 0);
                peer_close(&peer);
                text_clear(&stream);
                deflater_free(deflater);
            }
        }
    }
}

/* What comes of one compressed message under a limit of 1000 bytes. */
static void check_packed(unsigned char opcode, const char *bytes, size_t length,
                         uint32_t code) {
    static const size_t steps[] = {1, 0, 1 << 20};
    for (size_t i = 0; i < COUNT(steps); i++) {
        struct peer peer;
        struct text stream = {0};
        struct sync_options options = options_of(SYNC_FRAMING_RAW);
        options.max_message = 1000;
        struct deflater *deflater = deflater_new(15, 6);
        REQUIRE(deflater);
        peer_open(&peer, &options);
        peer.settings = deflate_of(true);
        peer_connect(&peer);
        add_packed(&stream, deflater, true, opcode, bytes, length, 1 << 20);
        feed_pieces(&peer, 1, &stream, steps[i]);
        CHECK_INT(server_saw(&peer.server, SYNC_DATA, 1), code == 0);
        CHECK_INT(sync_close_code(peer.server.sync, 1), code);
        if (code == 0) {
            CHECK_BYTES(server_find(&peer.server, SYNC_DATA, 1)->data,
                        server_find(&peer.server, SYNC_DATA, 1)->length, bytes, length);
        }
        peer_close(&peer);
        text_clear(&stream);
        deflater_free(deflater);
    }
}

TEST(websocket_counts_and_checks_a_message_when_it_is_inflated) {
    static char bytes[1 << 20];
    memset(bytes, 'a', sizeof(bytes));
    check_packed(TEXT_BEGIN, bytes, 1000, 0);
    check_packed(TEXT_BEGIN, bytes, 1001, 1009);
    check_packed(BINARY_BEGIN, bytes, sizeof(bytes), 1009);
    bytes[500] = (char)0xff;
    check_packed(BINARY_BEGIN, bytes, 1000, 0);
    check_packed(TEXT_BEGIN, bytes, 1000, 1007);
    bytes[500] = 'a';
    bytes[999] = (char)0xc3; /* unfinished */
    check_packed(TEXT_BEGIN, bytes, 1000, 1007);
}

/* Bytes handed out to a slot, or to all for 0, by the last tick. */
static size_t handed_out(const struct server *server, uint32_t slot) {
    size_t bytes = 0;
    for (size_t i = 0; i < server->count; i++) {
        const struct seen *seen = &server->seen[i];
        bool counts = seen->type == SYNC_DATA && (slot == 0 || seen->id == slot);
        bytes += counts && seen->tick == server->ticks ? seen->length : 0;
    }
    return bytes;
}

TEST(websocket_inflates_a_message_over_several_ticks) {
    enum { SIZE = 1 << 20, TICK = 128 * 1024 };
    static char bytes[SIZE];
    for (size_t i = 0; i < SIZE; i++) { /* it packs well, and no place is like the next */
        bytes[i] = (char)('a' + (i >> 10) % 26 + (i % 1024 == 0));
    }
    for (int mode = 0; mode < 4; mode++) {
        struct peer peer;
        struct text stream = {0};
        bool keep = mode & 1;
        unsigned char opcode = mode & 2 ? BINARY_BEGIN : TEXT_BEGIN; /* a byte stream */
        struct sync_options options = options_of(SYNC_FRAMING_NULL);
        options.max_message = SIZE;
        struct deflater *deflater = deflater_new(15, 6);
        REQUIRE(deflater);
        peer_open(&peer, &options);
        peer.settings = deflate_of(keep);
        peer_connect(&peer);
        bytes[SIZE - 1] = mode & 2 ? '\0' : 'z';
        for (int i = 0; i < 2; i++) {
            add_packed(&stream, deflater, keep, opcode, bytes, SIZE, 1 << 20);
        }
        add_frame(&stream, PING, "p", 1);
        REQUIRE(stream.length < 20000);
        server_feed(&peer.server, 1, stream.bytes, stream.length);
        uint32_t before = peer.server.ticks;
        WAIT(&peer.server, server_saw(&peer.server, SYNC_DATA, 1) == 2);
        CHECK(peer.server.ticks - before >= 2 * SIZE / TICK);
        size_t length;
        const char *got = server_messages(&peer.server, 1, '|', &length);
        size_t each = SIZE - (mode & 2 ? 1 : 0);
        REQUIRE(length == 2 * (each + 1));
        CHECK(memcmp(got, bytes, each) == 0 && memcmp(got + each + 1, bytes, each) == 0);
        server_settle(&peer.server);
        check_sent(&peer, 1, "pong p|", 7);
        peer_close(&peer);
        text_clear(&stream);
        deflater_free(deflater);
    }
}

TEST(websocket_what_is_inflated_is_bounded_for_each_client_and_for_all) {
    enum {
        CLIENTS = 20,
        EACH = 30,
        SIZE = 65000,
        BATCH = 1024 * 1024,
        TICK = 128 * 1024
    };
    static char bytes[SIZE];
    struct peer peer;
    struct text stream = {0};
    struct sync_options options = options_of(SYNC_FRAMING_NULL);
    struct deflater *deflater = deflater_new(15, 6);
    REQUIRE(deflater);
    memset(bytes, 'a', sizeof(bytes));
    for (int i = 0; i < EACH; i++) {
        add_packed(&stream, deflater, false, TEXT_BEGIN, bytes, SIZE, 1 << 20);
    }
    deflater_free(deflater);
    REQUIRE(stream.length < 100 * EACH);
    peer_open(&peer, &options);
    peer.settings = deflate_of(false);
    for (uint32_t slot = 1; slot <= CLIENTS + 1; slot++) {
        peer_connect(&peer);
    }
    for (uint32_t slot = 1; slot <= CLIENTS; slot++) {
        server_feed(&peer.server, slot, stream.bytes, stream.length);
    }
    text_clear(&stream);
    add_frame(&stream, TEXT, "honest", 6);
    server_feed(&peer.server, CLIENTS + 1, stream.bytes, stream.length);
    text_clear(&stream);
    uint32_t begin = peer.server.ticks;
    while (server_saw(&peer.server, SYNC_DATA, 0) < CLIENTS * EACH + 1) {
        server_tick(&peer.server, false);
        CHECK(handed_out(&peer.server, 0) <= BATCH + SIZE);
        CHECK(handed_out(&peer.server, 1) <= TICK + SIZE);
        REQUIRE(peer.server.ticks - begin < CLIENTS * EACH);
    }
    const struct seen *honest = server_find(&peer.server, SYNC_DATA, CLIENTS + 1);
    REQUIRE(honest);
    CHECK(honest->tick - begin <= CLIENTS / 2);
    peer_close(&peer);
}

TEST(websocket_refuses_what_is_not_compressed_rightly) {
    static const struct stage stage = {
        SYNC_FRAMING_RAW,
        65536,
        {.deflate = 1, .send_window_bits = 15, .receive_window_bits = 15}};
    static const struct scene scenes[] = {
        /* RFC 7692 section 7.2.3: "Hello", in one frame and in two. */
        GIVES("Hello|", FRAME(PACKED | TEXT, "\xf2\x48\xcd\xc9\xc9\x07\x00")),
        SCENE("Hello|", "pong p|", 0, FRAME(PACKED | TEXT_BEGIN, "\xf2\x48\xcd"),
              FRAME(PING, "p"), FRAME(END, "\xc9\xc9\x07\x00")),
        GIVES("Hello|", FRAME(PACKED | TEXT, "\x00\x05\x00\xfa\xffHello\x00")),
        GIVES("Hello|", FRAME(PACKED | TEXT, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00")),
        GIVES("|", FRAME(PACKED | TEXT, "\x00")),
        GIVES("plain|", FRAME(TEXT, "plain")),
        /* A block of a type that there isn't. */
        BREAKS("1007", FRAME(PACKED | TEXT, "\x07\x00")),
        /* One that refers to what was never there: no context was kept. */
        SCENE("Hello|", "close 1007 |", SYNC_BROKE_PROTOCOL,
              FRAME(PACKED | TEXT, "\xf2\x48\xcd\xc9\xc9\x07\x00"),
              FRAME(PACKED | TEXT, "\xf2\x00\x11\x00\x00")),
        BREAKS("1002", FRAME(PACKED | TEXT_BEGIN, "\xf2\x48"),
               FRAME(PACKED | END, "\xcd\xc9\xc9\x07\x00")),
        BREAKS("1002", FRAME(PACKED | PING, "")),
        BREAKS("1002", FRAME(PACKED | CLOSE, "")),
        BREAKS("1002", FRAME(0xa1, "")),
    };
    play_all(&stage, scenes, COUNT(scenes));
    struct stage keeping = stage;
    keeping.settings.receive_takeover = 1;
    static const struct scene kept[] = {
        GIVES("Hello|Hello|", FRAME(PACKED | TEXT, "\xf2\x48\xcd\xc9\xc9\x07\x00"),
              FRAME(PACKED | TEXT, "\xf2\x00\x11\x00\x00")),
    };
    play_all(&keeping, kept, COUNT(kept));
}

TEST(websocket_compresses_what_it_sends_from_a_length_on) {
    static char long_text[2000];
    memset(long_text, 'l', sizeof(long_text));
    for (int keep = 0; keep < 2; keep++) {
        struct peer peer;
        struct sync_options options = options_of(SYNC_FRAMING_NULL);
        options.compress_from = 10;
        peer_open(&peer, &options);
        peer.settings = deflate_of(keep);
        peer.inflater = inflater_new(15);
        REQUIRE(peer.inflater);
        peer_connect(&peer);
        static const uint32_t slot = 1;
        struct sync *sync = peer.server.sync;
        /* To one, and to many, by turns: a client's own context and the one for all. */
        for (int round = 0; round < 3; round++) {
            CHECK_INT(sync_send(sync, 1, "0123456789", 10), SYNC_SENT);
            CHECK_INT(sync_send(sync, 1, "short", 5), SYNC_SENT);
            CHECK_INT(sync_send_many(sync, &slot, 1, 0, "0123456789", 10), 1);
            CHECK_INT(sync_send_many(sync, &slot, 1, 0, "short", 5), 1);
            CHECK_INT(sync_send(sync, 1, "012345678\xff", 10), SYNC_SENT);
            CHECK_INT(sync_send_many(sync, &slot, 1, 0, long_text, sizeof(long_text)), 1);
            CHECK(sync_queued(sync, 1) < 200);
            struct text wanted = {0};
            static const char begin[] =
                "packed text 0123456789|text short|packed text 0123456789|text short|"
                "packed binary 012345678\xff|packed text ";
            text_add(&wanted, begin, sizeof(begin) - 1);
            text_add(&wanted, long_text, sizeof(long_text));
            text_add(&wanted, "|", 1);
            check_sent(&peer, 1, wanted.bytes, wanted.length);
            text_clear(&wanted);
        }
        struct text stream = {0};
        peer.echo = true;
        add_frame(&stream, BINARY, "0123456789\0", 11);
        feed_pieces(&peer, 1, &stream, 3);
        check_sent(&peer, 1, "packed binary 0123456789\0|", 26);
        text_clear(&stream);
        peer_close(&peer);
    }
}

TEST(websocket_clients_choose_no_compressor_of_their_own) {
    enum { CLIENTS = 100 };
    static char text[4000];
    for (size_t i = 0; i < sizeof(text); i++) { /* it refers back by 600 bytes */
        text[i] = (char)('a' + test_random(26));
        text[i] = i % 1200 < 600 ? text[i] : text[i - 600];
    }
    struct peer peer;
    struct sync_options options = options_of(SYNC_FRAMING_NULL);
    options.compress_from = 10;
    peer_open(&peer, &options);
    uint32_t slots[CLIENTS];
    for (uint32_t i = 0; i < CLIENTS; i++) {
        peer.settings = deflate_of(false);
        peer.settings.send_window_bits = 9 + i % 7;
        slots[i] = peer_connect(&peer);
    }
    struct mallinfo2 before = mallinfo2();
    CHECK_INT(sync_send_many(peer.server.sync, slots, CLIENTS, 0, text, sizeof(text)),
              CLIENTS);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        CHECK_INT(sync_send(peer.server.sync, slots[i], "0123456789", 10), SYNC_SENT);
    }
    struct mallinfo2 after = mallinfo2();
    CHECK(after.uordblks + after.hblkhd - before.uordblks - before.hblkhd < 300 * 1024);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        struct text wanted = {0};
        text_add(&wanted, "packed text ", 12);
        text_add(&wanted, text, sizeof(text));
        text_add(&wanted, "|packed text 0123456789|", 24);
        peer.inflater = inflater_new(9 + (int)i % 7);
        REQUIRE(peer.inflater);
        check_sent(&peer, slots[i], wanted.bytes, wanted.length);
        inflater_free(peer.inflater);
        peer.inflater = NULL;
        text_clear(&wanted);
    }
    peer_close(&peer);
}

TEST(websocket_keeps_the_contexts_of_clients_apart) {
    static const char *const texts[] = {"The quick brown fox jumps over the lazy dog",
                                        "Pack my box with five dozen liquor jugs"};
    struct peer peer;
    struct deflater *deflaters[2];
    struct inflater *inflaters[2];
    struct sync_options options = options_of(SYNC_FRAMING_RAW);
    options.compress_from = 1;
    peer_open(&peer, &options);
    peer.settings = deflate_of(true);
    peer.echo = true;
    for (uint32_t i = 0; i < 2; i++) {
        deflaters[i] = deflater_new(15, 6);
        inflaters[i] = inflater_new(15);
        REQUIRE(deflaters[i] && inflaters[i]);
        CHECK_INT(peer_connect(&peer), i + 1);
    }
    /* By turns, so that each message but the first refers to one two turns ago. */
    for (uint32_t turn = 0; turn < 6; turn++) {
        uint32_t i = turn % 2;
        struct text stream = {0};
        char wanted[60];
        snprintf(wanted, sizeof(wanted), "packed text %s|", texts[i]);
        add_packed(&stream, deflaters[i], true, TEXT_BEGIN, texts[i], strlen(texts[i]),
                   1000);
        feed_pieces(&peer, i + 1, &stream, 4);
        CHECK(turn < 2 || sync_queued(peer.server.sync, i + 1) < 20);
        peer.inflater = inflaters[i];
        check_sent(&peer, i + 1, wanted, strlen(wanted));
        text_clear(&stream);
    }
    CHECK_INT(server_saw(&peer.server, SYNC_DATA, 0), 6);
    peer.inflater = NULL;
    peer_close(&peer);
    for (uint32_t i = 0; i < 2; i++) {
        deflater_free(deflaters[i]);
        inflater_free(inflaters[i]);
    }
}

/* Time */

TEST(websocket_that_is_silent_is_pinged_and_stays_when_it_answers) {
    struct peer peer;
    struct text stream = {0};
    struct sync_options options = options_of(SYNC_FRAMING_RAW);
    options.ping_interval = 20;
    options.pong_timeout = 60000;
    peer_open(&peer, &options);
    peer_connect(&peer);
    add_frame(&stream, PONG, "", 0);
    for (int i = 0; i < 3; i++) {
        WAIT(&peer.server, sync_queued(peer.server.sync, 1) > 0);
        check_sent(&peer, 1, "ping |", 6);
        feed_pieces(&peer, 1, &stream, 1);
    }
    CHECK_INT(server_saw(&peer.server, SYNC_DATA, 1), 0);
    CHECK_INT(server_close_reason(&peer.server, 1), 0);
    peer_close(&peer);
    text_clear(&stream);
}

TEST(websocket_that_answers_no_ping_is_closed) {
    struct peer peer;
    struct sync_options options = options_of(SYNC_FRAMING_RAW);
    options.ping_interval = 20;
    options.pong_timeout = 20;
    peer_open(&peer, &options);
    peer_connect(&peer);
    WAIT(&peer.server, sync_close_code(peer.server.sync, 1) > 0);
    check_sent(&peer, 1, "ping |close 1001 |", 18);
    WAIT(&peer.server, server_close_reason(&peer.server, 1) > 0);
    CHECK_INT(server_close_reason(&peer.server, 1), SYNC_NO_PONG);
    peer_close(&peer);
}

TEST(websocket_must_end_the_message_that_it_has_begun) {
    static const struct part parts[] = {
        FRAME(TEXT_BEGIN, "a"),      /* a fragment */
        RAW("\x81\x85maskhel"),      /* a part of a frame */
        RAW("\x81"),                 /* of a header */
        FRAME(BINARY, "unfinished"), /* of the byte stream */
    };
    for (size_t i = 0; i < COUNT(parts); i++) {
        struct peer peer;
        struct text stream = {0};
        struct sync_options options = options_of(SYNC_FRAMING_NULL);
        options.message_timeout = 50;
        peer_open(&peer, &options);
        peer_connect(&peer);
        if (parts[i].raw) {
            text_add(&stream, parts[i].payload, parts[i].length);
        } else {
            add_frame(&stream, parts[i].first, parts[i].payload, parts[i].length);
        }
        feed_pieces(&peer, 1, &stream, stream.length);
        WAIT(&peer.server, server_close_reason(&peer.server, 1) > 0);
        CHECK_INT(server_close_reason(&peer.server, 1), SYNC_UNFINISHED);
        peer_close(&peer);
        text_clear(&stream);
    }
}

/* Over TCP, where a Close frame is waited for. */

/* Opens a peer with one client, and returns its socket. */
static int open_socket(struct peer *peer) {
    struct sync_options options = options_of(SYNC_FRAMING_RAW);
    options.close_timeout = 60000;
    *peer = (struct peer){.echo = false};
    server_open(&peer->server);
    peer->server.handle = handle;
    int fd = client_connect(server_listen(&peer->server, &options));
    CHECK(fd >= 0 && client_send(fd, request, sizeof(request) - 1));
    CHECK(client_gets(&peer->server, fd, accepted, sizeof(accepted) - 1));
    return fd;
}

TEST(websocket_over_tcp_ends_when_its_close_was_answered) {
    struct peer peer;
    struct text answer = {0};
    int fd = open_socket(&peer);
    sync_end(peer.server.sync, 1, 1001, "bye", 3);
    CHECK(client_gets(&peer.server, fd,
                      "\x88\x05\x03\xe9"
                      "bye",
                      7));
    WAIT(&peer.server, server_close_reason(&peer.server, 1) == SYNC_BY_SERVER);
    /* What the client had on its way is thrown away, its answer ends the connection. */
    add_frame(&answer, TEXT, "late", 4);
    add_frame(&answer, TEXT_BEGIN, "later", 5);
    add_frame(&answer, CLOSE, "\x03\xe9", 2);
    char byte;
    for (size_t i = 0; i < answer.length; i++) {
        CHECK(client_send(fd, answer.bytes + i, 1));
        server_tick(&peer.server, false);
        CHECK(i + 1 == answer.length || client_poll(fd, &byte, 1) == -1);
    }
    CHECK(client_sees_end(&peer.server, fd));
    CHECK_INT(server_saw(&peer.server, SYNC_DATA, 0), 0);
    close(fd);
    text_clear(&answer);
    peer_close(&peer);
}

TEST(websocket_over_tcp_ends_by_itself_when_the_client_has_closed_or_failed) {
    static const struct {
        struct part part;
        const char *wanted;
        uint32_t reason;
    } cases[] = {
        {FRAME(CLOSE, "\x03\xe8"), "\x88\x02\x03\xe8", SYNC_BY_CLIENT},
        {FRAME(0x83, ""), "\x88\x02\x03\xea", SYNC_BROKE_PROTOCOL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct peer peer;
        struct text stream = {0};
        int fd = open_socket(&peer);
        add_frame(&stream, cases[i].part.first, cases[i].part.payload,
                  cases[i].part.length);
        CHECK(client_send(fd, stream.bytes, stream.length));
        CHECK(client_gets(&peer.server, fd, cases[i].wanted, 4));
        CHECK(client_sees_end(&peer.server, fd));
        WAIT(&peer.server, server_close_reason(&peer.server, 1) == cases[i].reason);
        close(fd);
        server_wait_gone(&peer.server);
        text_clear(&stream);
        peer_close(&peer);
    }
}

static void end_at_data(struct server *server, const struct sync_event *event) {
    handle(server, event);
    if (event->type == SYNC_DATA) {
        sync_end(server->sync, event->id, 0, "", 0);
    }
}

TEST(websocket_over_tcp_ends_when_a_close_crossed_ours_behind_many_messages) {
    struct peer peer;
    struct text stream = {0};
    int fd = open_socket(&peer);
    peer.server.handle = end_at_data;
    for (int i = 0; i < 1100; i++) { /* more than a tick takes */
        add_frame(&stream, TEXT, "x", 1);
    }
    add_frame(&stream, CLOSE, "\x03\xe8", 2);
    CHECK(client_send(fd, stream.bytes, stream.length));
    CHECK(client_gets(&peer.server, fd, "\x88\x02\x03\xe8", 4));
    CHECK(client_sees_end(&peer.server, fd));
    close(fd);
    text_clear(&stream);
    peer_close(&peer);
}

/* Rates */

/* Seven messages, and a ping in between, to a server that takes 50 a second, two at once.
 */
static void open_rated(struct peer *peer, uint32_t framing, uint32_t flood,
                       unsigned char first) {
    struct sync_options options = options_of(framing);
    struct text stream = {0};
    options.message_interval = 20000;
    options.message_burst = 2;
    options.flood = flood;
    peer_open(peer, &options);
    peer_connect(peer);
    add_frame(&stream, first, "a\n", 2);
    add_frame(&stream, first & 15, "b", 1); /* one of two frames is one */
    add_frame(&stream, END, "b\n", 2);
    add_frame(&stream, PING, "still", 5);
    add_frame(&stream, first, "c\n", 2);
    add_frame(&stream, first, "d\ne\n", 4);
    add_frame(&stream, TEXT, "f", 1);
    server_feed(&peer->server, 1, stream.bytes, stream.length);
    text_clear(&stream);
}

static bool has(struct peer *peer, const char *wanted) {
    size_t length;
    return strcmp(server_messages(&peer->server, 1, '|', &length), wanted) == 0;
}

TEST(websocket_that_floods_is_closed_by_1008) {
    struct peer peer;
    open_rated(&peer, SYNC_FRAMING_RAW, SYNC_FLOOD_CLOSE, TEXT);
    server_settle(&peer.server);
    check_sent(&peer, 1, "pong still|close 1008 |", 23);
    WAIT(&peer.server, server_close_reason(&peer.server, 1) == SYNC_FLOODED);
    CHECK(has(&peer, "a\n|bb\n|"));
    peer_close(&peer);
    open_rated(&peer, SYNC_FRAMING_LINE, SYNC_FLOOD_CLOSE, BINARY);
    server_settle(&peer.server);
    check_sent(&peer, 1, "pong still|close 1008 |", 23);
    WAIT(&peer.server, server_close_reason(&peer.server, 1) == SYNC_FLOODED);
    CHECK(has(&peer, "a|bb|"));
    peer_close(&peer);
}

TEST(websocket_that_floods_is_read_no_faster) {
    struct peer peer;
    double begin = sync_now();
    open_rated(&peer, SYNC_FRAMING_RAW, SYNC_FLOOD_PAUSE, TEXT);
    WAIT(&peer.server, has(&peer, "a\n|bb\n|c\n|d\ne\n|f|"));
    CHECK(sync_now() - begin > 3 * 0.02);
    peer_close(&peer);
    begin = sync_now();
    open_rated(&peer, SYNC_FRAMING_LINE, SYNC_FLOOD_PAUSE, BINARY); /* a byte stream */
    WAIT(&peer.server, has(&peer, "a|bb|c|d|e|f|"));
    CHECK(sync_now() - begin > 4 * 0.02);
    CHECK_INT(server_close_reason(&peer.server, 1), 0);
    peer_close(&peer);
}
