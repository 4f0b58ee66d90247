/* carry_test.c: connections that go on in another core, after each byte that they send.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "core/record.h"
#include "server.h"
#include "test.h"
#include "websocket/deflate.h"

enum { ALL = SYNC_STREAMS | SYNC_WEBSOCKET | SYNC_HTTP | SYNC_POLICY, MOST = 1 << 21 };

/* A client, which is now this core's and then the other's. */
struct client {
    struct server servers[2];
    uint32_t listeners[2];
    int pair[2];
    int at;
    uint32_t slot;
    struct sync_websocket settings;
    struct record told; /* all that was handed out */
    uint32_t carried;
    bool echo;
    int late; /* where something is written while the client is handed over, or 0 */
};

static struct client *current;

static void add(struct record *record, const void *bytes, size_t length) {
    char *place = record_claim(record, length);
    if (place && length > 0) {
        memcpy(place, bytes, length);
    }
}

static void handle(struct server *server, const struct sync_event *event) {
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    static const char switching[] = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
    struct sync *sync = server->sync;
    char what[64];
    if (event->type == SYNC_CONNECT) {
        return;
    }
    int length = snprintf(what, sizeof(what), "[%u %u]", event->type, event->value);
    add(&current->told, what, (size_t)length);
    add(&current->told, event->data, event->length);
    if (event->type == SYNC_REQUEST && memcmp(event->data, "GET /ws", 7) == 0) {
        sync_upgrade(sync, event->id, switching, sizeof(switching) - 1,
                     &current->settings);
    } else if (event->type == SYNC_REQUEST) {
        sync_respond(sync, event->id, answer, sizeof(answer) - 1, 1);
    } else if (event->type == SYNC_DATA && current->echo) {
        server_echo(server, event);
    }
}

static void open_client(struct client *client, const struct sync_options *options) {
    current = client;
    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, client->pair) == 0);
    for (int i = 0; i < 2; i++) {
        server_open(&client->servers[i]);
        client->servers[i].handle = handle;
        int32_t id = sync_listen(client->servers[i].sync, "memory:", 0, options);
        REQUIRE(id > 0);
        client->listeners[i] = (uint32_t)id;
    }
    int32_t slot = sync_memory_connect(client->servers[0].sync, client->listeners[0]);
    REQUIRE(slot > 0);
    client->slot = (uint32_t)slot;
    server_settle(&client->servers[0]);
}

/* The client is one with a socket now; pair[1] is the other end. */
static void adopt_socket(struct client *client, int pair[2]) {
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    int32_t slot = sync_adopt(client->servers[0].sync, client->listeners[0], pair[0]);
    REQUIRE(slot > 0);
    client->slot = (uint32_t)slot;
}

static void close_client(struct client *client) {
    for (int i = 0; i < 2; i++) {
        server_close(&client->servers[i]);
        close(client->pair[i]);
    }
    record_clear(&client->told);
}

/* Nothing is read any more, and what the kernel has begun comes to its end. */
static void come_to_rest(struct server *server) {
    double until = sync_now() + WAIT_MS / 1000.0;
    sync_freeze(server->sync, 1);
    while (!sync_rests(server->sync) && sync_now() < until) {
        server_tick(server, false);
    }
    CHECK(sync_rests(server->sync));
}

/* More than a frozen core would need to read what has come. */
static void tick_often(struct server *server) {
    for (int i = 0; i < 100; i++) {
        server_tick(server, false);
    }
}

/* Hands the client over, if that can be now. */
static void carry(struct client *client) {
    struct server *from = &client->servers[client->at];
    struct server *to = &client->servers[!client->at];
    struct sync_parcel *parcel = sync_parcel_new();
    REQUIRE(parcel);
    come_to_rest(from);
    if (sync_parcel_client(from->sync, parcel, client->slot) == 0) {
        sync_parcel_free(parcel);
        sync_freeze(from->sync, 0);
        return;
    }
    struct sync_parcel *received = NULL;
    CHECK_INT(sync_parcel_send(parcel, client->pair[0], 1000), 0);
    CHECK_INT(sync_parcel_receive(&received, client->pair[1], 1000), 0);
    sync_parcel_free(parcel);
    struct sync_item item;
    REQUIRE(received && sync_parcel_next(received, &item) == 1);
    CHECK_INT(item.type, SYNC_ITEM_CLIENT);
    CHECK_INT(item.value, client->slot);
    int32_t slot =
        sync_parcel_take(to->sync, received, &item, client->listeners[!client->at]);
    if (!CHECK(slot > 0)) {
        printf("  %s\n", sync_error_name(slot));
    }
    CHECK_INT(sync_parcel_next(received, &item), 0);
    sync_parcel_free(received);
    if (client->late) {
        CHECK_INT(write(client->late, "late\n", 5), 5);
        tick_often(from);
    }
    sync_let_go(from->sync, NULL, client->slot);
    sync_freeze(from->sync, 0);
    server_settle(from);
    client->slot = (uint32_t)slot;
    client->at = !client->at;
    client->carried++;
    server_settle(to);
}

/* Feeds bytes in parts, and hands the client over behind each. */
static void feed(struct client *client, const char *bytes, size_t length, size_t part,
                 bool carries) {
    while (length > 0) {
        size_t size = part < length ? part : length;
        struct server *server = &client->servers[client->at];
        server_feed(server, client->slot, bytes, size);
        /* Not settled: some of it may wait for its turn. */
        server_tick(server, false);
        bytes += size;
        length -= size;
        if (carries) {
            carry(client);
        }
    }
    server_settle(&client->servers[client->at]);
}

static size_t take(struct client *client, char *bytes) {
    return server_take(&client->servers[client->at], client->slot, bytes, MOST);
}

struct kind {
    const char *name;
    uint32_t framing;
    uint32_t transports;
    const char *bytes;
    size_t length;
};

/* What is told and sent is the same, however often the client is handed over. */
static void check_kind(const struct kind *kind) {
    static char sent[2][MOST];
    for (size_t part = 1; part < 12; part += 5) {
        struct client clients[2] = {{.echo = true}, {.echo = true}};
        size_t lengths[2];
        for (int carries = 0; carries < 2; carries++) {
            struct sync_options options = server_options(kind->framing);
            options.transports = kind->transports;
            options.max_head = 4096;
            options.max_headers = 50;
            options.max_body = 100000;
            open_client(&clients[carries], &options);
            feed(&clients[carries], kind->bytes, kind->length, part, carries);
            lengths[carries] = take(&clients[carries], sent[carries]);
        }
        if (!CHECK_BYTES(clients[1].told.bytes, clients[1].told.length,
                         clients[0].told.bytes, clients[0].told.length) ||
            !CHECK_BYTES(sent[1], lengths[1], sent[0], lengths[0])) {
            printf("  %s, %zu at a time\n", kind->name, part);
        }
        CHECK(clients[1].carried > 0);
        CHECK(clients[0].told.length > 0);
        close_client(&clients[0]);
        close_client(&clients[1]);
    }
}

#define BYTES(text) text, sizeof(text) - 1
#define HANDSHAKE                                                                        \
    "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"                             \
    "Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"

TEST(carry_keeps_what_a_byte_stream_has_begun) {
    static const struct kind kinds[] = {
        {"raw", SYNC_FRAMING_RAW, 0, BYTES("line one\nand two")},
        {"null", SYNC_FRAMING_NULL, 0, BYTES("one\0\0two\0thr")},
        {"null, detected", SYNC_FRAMING_NULL, ALL, BYTES("one\0\0two\0thr")},
        {"line", SYNC_FRAMING_LINE, 0, BYTES("one\r\ntwo\nthr")},
        {"length16", SYNC_FRAMING_LENGTH16, ALL, BYTES("\0\3one\0\0\0\5abcde\0\7abc")},
        {"length32", SYNC_FRAMING_LENGTH32, 0, BYTES("\0\0\0\3one\0\0\0\0\0\0\0\1")},
        {"length24le", SYNC_FRAMING_LENGTH24LE, 0, BYTES("\3\0\0one\0\0\0\1")},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        check_kind(&kinds[i]);
    }
}

TEST(carry_keeps_what_a_request_has_begun) {
    static const struct kind kinds[] = {
        {"heads", SYNC_FRAMING_NULL, ALL,
         BYTES("GET / HTTP/1.1\r\nHost:h\r\nX-A:  b c \r\n\r\nGET /2 HTTP/1.0\r\n\r\n")},
        {"a body", SYNC_FRAMING_NULL, ALL,
         BYTES("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\nabc\r\ndGET / ")},
        {"chunks", SYNC_FRAMING_NULL, ALL,
         BYTES("POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
               "3\r\nabc\r\nB;x=y\r\nhello world\r\n0\r\nTrailer: t\r\n\r\n"
               "GET /next HTTP/1.1\r\nHost: h\r\n\r\n")},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        check_kind(&kinds[i]);
    }
}

/* Masked with zeros, to be read here. */
#define MASK "\0\0\0\0"

TEST(carry_keeps_what_a_websocket_has_begun) {
    static const struct kind kinds[] = {
        {"messages", SYNC_FRAMING_RAW, ALL,
         BYTES(HANDSHAKE "\x81\x85" MASK "hello\x82\x83" MASK "abc\x89\x82" MASK
                         "hi\x01\x83\1\2\3\4kp \x80\x84" MASK "\xc3\xa4"
                         "bc\x81\x80" MASK)},
        {"a byte stream", SYNC_FRAMING_NULL, ALL,
         BYTES(HANDSHAKE "\x82\x85" MASK "one\0t\x02\x82" MASK "wo\x80\x83" MASK
                         "\0th\x81\x82" MASK "hi\x82\x81" MASK "r")},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        check_kind(&kinds[i]);
    }
}

/* permessage-deflate */

static void add_frame(struct record *stream, unsigned char first, const char *payload,
                      size_t length) {
    char head[8] = {(char)first, (char)(0x80 | 126), (char)(length >> 8), (char)length};
    if (length < 126) {
        head[1] = (char)(0x80 | length);
        add(stream, head, 2);
    } else {
        add(stream, head, 4);
    }
    add(stream, MASK, 4);
    add(stream, payload, length);
}

/* Text that compresses, and refers far back. */
static void fill(char *text, size_t length) {
    static char words[64][24];
    if (!words[0][0]) {
        for (size_t i = 0; i < 64; i++) {
            for (size_t j = 0; j < 23; j++) {
                words[i][j] = (char)('a' + test_random(26));
            }
        }
    }
    for (size_t i = 0; i < length;) {
        const char *word = words[test_random(64)];
        for (size_t j = 0; j < 23 && i < length; j++) {
            text[i++] = word[j];
        }
        if (i < length && test_random(3) == 0) {
            text[i++] = (char)('0' + test_random(10));
        }
    }
}

static void add_packed(struct record *stream, struct deflater *deflater, bool keep,
                       const char *text, size_t length) {
    size_t bound = deflater_bound(deflater, length);
    char *packed = malloc(bound);
    REQUIRE(packed);
    ssize_t size = deflater_message(deflater, keep, text, length, packed, bound);
    CHECK(size > 0);
    size_t at = 0;
    do {
        size_t part = 1 + test_random(2000);
        bool last = part >= (size_t)size - at;
        part = last ? (size_t)size - at : part;
        add_frame(stream, (unsigned char)((at == 0 ? 0x41 : 0) | (last ? 0x80 : 0)),
                  packed + at, part);
        at += part;
    } while (at < (size_t)size);
    free(packed);
}

static void check_deflate(int bits, bool keep, size_t most_part) {
    enum { MESSAGES = 16, LONGEST = 20000 };
    static char text[LONGEST];
    struct record stream = {0};
    struct record wanted = {0};
    struct client client = {.settings = {.deflate = 1,
                                         .send_window_bits = 15,
                                         .receive_window_bits = (uint32_t)bits,
                                         .receive_takeover = keep,
                                         .mode = SYNC_WEBSOCKET_MESSAGES}};
    struct deflater *deflater = deflater_new(bits, 6);
    REQUIRE(deflater);
    for (int i = 0; i < MESSAGES; i++) {
        size_t length = 1 + test_random(i % 3 ? 300 : LONGEST - 1);
        fill(text, length);
        add_packed(&stream, deflater, keep, text, length);
        add(&wanted, "[2 1]", 5);
        add(&wanted, text, length);
    }
    deflater_free(deflater);
    struct sync_options options = server_options(SYNC_FRAMING_RAW);
    options.transports = ALL;
    options.max_head = 4096;
    options.max_headers = 50;
    open_client(&client, &options);
    feed(&client, BYTES(HANDSHAKE), 1000, false);
    record_clear(&client.told);
    for (size_t at = 0; at < stream.length;) {
        size_t part = 1 + test_random((uint32_t)most_part);
        part = part < stream.length - at ? part : stream.length - at;
        feed(&client, stream.bytes + at, part, part, true);
        at += part;
    }
    CHECK(client.carried > 0);
    CHECK_BYTES(client.told.bytes, client.told.length, wanted.bytes, wanted.length);
    close_client(&client);
    record_clear(&stream);
    record_clear(&wanted);
}

TEST(carry_keeps_the_window_and_the_unfinished_payload) {
    static const int bits[] = {15, 12, 9};
    static const size_t parts[] = {200, 900, 9000};
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < 3; j++) {
            check_deflate(bits[i], true, parts[j]);
            check_deflate(bits[i], false, parts[j]);
        }
    }
}

/* The inflater stands where its output was full, as work that is left for later leaves
 * it. */
TEST(carry_goes_on_where_the_output_was_full) {
    enum { LENGTH = 50000 };
    static char text[LENGTH];
    static char window[1 << DEFLATE_MOST_BITS];
    static char out[LENGTH + 300];
    for (int bits = 9; bits <= 15; bits += 3) {
        struct deflater *deflater = deflater_new(bits, 6);
        REQUIRE(deflater);
        fill(text, LENGTH);
        size_t bound = deflater_bound(deflater, LENGTH);
        char *packed = malloc(bound);
        REQUIRE(packed);
        ssize_t size = deflater_message(deflater, true, text, LENGTH, packed, bound);
        REQUIRE(size > 0);
        struct inflater *inflater = inflater_new(bits);
        REQUIRE(inflater);
        const char *bytes = packed;
        size_t length = (size_t)size;
        size_t written = 0;
        enum inflated said = INFLATE_MORE;
        while (length > 0 && (said == INFLATE_MORE || said == INFLATE_DONE)) {
            size_t room = 1 + test_random(300);
            size_t part = 1 + test_random(100);
            const char *before = bytes;
            part = part < length ? part : length;
            size_t rest = part;
            said = inflater_run(inflater, &bytes, &rest, out + written, &room);
            length -= part - rest;
            written += room;
            inflater_keep(inflater, before, (size_t)(bytes - before), room);
            struct inflater_state state;
            REQUIRE(inflater_state(inflater, window, &state));
            struct inflater *next = inflater_resume(bits, &state);
            REQUIRE(next);
            inflater_free(inflater);
            inflater = next;
        }
        size_t room = sizeof(out) - written;
        CHECK_INT(inflater_finish(inflater, true, out + written, &room), INFLATE_DONE);
        CHECK_BYTES(out, written + room, text, LENGTH);
        inflater_free(inflater);
        deflater_free(deflater);
        free(packed);
    }
}

/* What is sent begins without a window behind a hand-over: the client's own goes on. */
TEST(carry_sends_what_the_client_can_inflate) {
    static char sent[MOST];
    static char out[8192];
    char text[400];
    struct record wanted = {0};
    struct record seen = {0};
    struct client client = {.settings = {.deflate = 1,
                                         .send_window_bits = 15,
                                         .receive_window_bits = 15,
                                         .send_takeover = 1}};
    struct sync_options options = server_options(SYNC_FRAMING_RAW);
    options.transports = ALL;
    options.compress_from = 1;
    options.max_head = 4096;
    options.max_headers = 50;
    open_client(&client, &options);
    feed(&client, BYTES(HANDSHAKE), 1000, false);
    take(&client, sent);
    for (int i = 0; i < 60; i++) {
        fill(text, sizeof(text));
        add(&wanted, text, sizeof(text));
        struct sync *sync = client.servers[client.at].sync;
        CHECK_INT(sync_send(sync, client.slot, text, sizeof(text)), SYNC_SENT);
        if (i % 3 == 0) {
            carry(&client);
        }
    }
    size_t length = take(&client, sent);
    struct inflater *inflater = inflater_new(15);
    REQUIRE(inflater);
    for (size_t at = 0; at + 4 <= length;) {
        size_t size = (unsigned char)sent[at + 1];
        at += 2;
        if (size == 126) {
            size = (size_t)((unsigned char)sent[at] << 8 | (unsigned char)sent[at + 1]);
            at += 2;
        }
        const char *bytes = sent + at;
        size_t rest = size;
        size_t room = sizeof(out);
        CHECK_INT(inflater_run(inflater, &bytes, &rest, out, &room), INFLATE_DONE);
        add(&seen, out, room);
        room = sizeof(out);
        CHECK_INT(inflater_finish(inflater, true, out, &room), INFLATE_DONE);
        add(&seen, out, room);
        at += size;
    }
    CHECK_BYTES(seen.bytes, seen.length, wanted.bytes, wanted.length);
    inflater_free(inflater);
    close_client(&client);
    record_clear(&wanted);
    record_clear(&seen);
}

/* Whatever the bytes are, they make a connection that lives, or none. */
TEST(carry_refuses_what_is_no_connection) {
    struct client client = {.echo = true};
    struct sync_options options = server_options(SYNC_FRAMING_NULL);
    options.transports = ALL;
    options.max_head = 4096;
    options.max_headers = 50;
    client.settings = (struct sync_websocket){
        .deflate = 1, .send_window_bits = 15, .receive_window_bits = 12};
    open_client(&client, &options);
    feed(&client, BYTES(HANDSHAKE "\x01\x83\1\2\3\4kp \x80\x84" MASK "ab"), 1000, false);
    struct sync_parcel *parcel = sync_parcel_new();
    REQUIRE(parcel);
    REQUIRE(sync_parcel_client(client.servers[0].sync, parcel, client.slot) == 1);
    struct sync_parcel *received = NULL;
    REQUIRE(sync_parcel_send(parcel, client.pair[0], 1000) == 0);
    REQUIRE(sync_parcel_receive(&received, client.pair[1], 1000) == 0);
    struct sync_item item;
    REQUIRE(sync_parcel_next(received, &item) == 1);
    struct server *to = &client.servers[1];
    uint32_t refused = 0;
    for (int i = 0; i < 3000; i++) {
        char *bytes = malloc(item.length);
        REQUIRE(bytes);
        memcpy(bytes, item.data, item.length);
        uint32_t length = i < (int)item.length ? (uint32_t)i : item.length;
        for (uint32_t j = 0; i >= (int)item.length && j < 1 + test_random(4); j++) {
            bytes[test_random(item.length)] = (char)test_random(256);
        }
        struct sync_item mutated = {SYNC_ITEM_CLIENT, 1, length, bytes};
        int32_t slot =
            sync_parcel_take(to->sync, received, &mutated, client.listeners[1]);
        refused += slot < 0;
        if (slot > 0) {
            server_feed(to, (uint32_t)slot, BYTES("\x81\x85" MASK "hello"));
            server_tick(to, false);
            sync_let_go(to->sync, NULL, (uint32_t)slot);
        }
        server_tick(to, false);
        server_forget(to);
        record_clear(&client.told);
        free(bytes);
    }
    CHECK(refused >= item.length);
    server_settle(to);
    CHECK_INT(to->sync->client_count, 0);
    sync_parcel_free(received);
    sync_parcel_free(parcel);
    close_client(&client);
}

static void check_socket(void) {
    int pair[2];
    struct client client = {.echo = true};
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    open_client(&client, &options);
    struct server *from = &client.servers[0];
    struct server *to = &client.servers[1];
    adopt_socket(&client, pair);
    CHECK_INT(write(pair[1], "one\ntw", 6), 6);
    CHECK(client_gets(from, pair[1], BYTES("one\n")));
    CHECK_INT(write(pair[1], "o\nthree\n", 8), 8); /* waits in the kernel */
    carry(&client);
    CHECK(client_gets(to, pair[1], BYTES("two\nthree\n")));
    CHECK_INT(write(pair[1], "four\n", 5), 5);
    CHECK(client_gets(to, pair[1], BYTES("four\n")));
    server_wait_left(from, 1); /* the one without a socket */
    close(pair[1]);
    WAIT(to, server_saw(to, SYNC_CLOSE, client.slot) == 1);
    close_client(&client);
}

TEST(carry_hands_sockets_over) {
    check_socket();
}

/* What comes while a client is handed over isn't read by the core that had it. */
static void check_meanwhile(void) {
    int pair[2];
    struct client client = {.echo = true};
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    open_client(&client, &options);
    struct server *from = &client.servers[0];
    struct server *to = &client.servers[1];
    adopt_socket(&client, pair);
    CHECK_INT(write(pair[1], "one\n", 4), 4);
    CHECK(client_gets(from, pair[1], BYTES("one\n")));
    sync_freeze(from->sync, 1);
    CHECK_INT(write(pair[1], "two\n", 4), 4);
    tick_often(from);
    CHECK_INT(server_saw(from, SYNC_DATA, 0), 1);
    client.late = pair[1];
    carry(&client);
    CHECK_INT(server_saw(from, SYNC_DATA, 0), 1);
    CHECK(client_gets(to, pair[1], BYTES("two\nlate\n")));
    CHECK_INT(server_saw(to, SYNC_DATA, 0), 2);
    close(pair[1]);
    WAIT(to, server_saw(to, SYNC_CLOSE, client.slot) == 1);
    close_client(&client);
}

TEST(carry_leaves_what_comes_meanwhile) {
    check_meanwhile();
}

/* Threads that send and receive let go of a socket, too. */
TEST(carry_hands_over_what_threads_have) {
    if (!server_use_threads(1)) {
        return;
    }
    check_socket();
    check_meanwhile();
    server_use_threads(0);
}

/* A parcel that has lost its end is none, and no descriptor stays open. */
TEST(parcels_are_whole_or_none) {
    int pair[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
    struct sync_parcel *received = NULL;
    CHECK(sync_parcel_receive(&received, pair[1], 1) < 0);
    CHECK(received == NULL);
    CHECK_INT(write(pair[0], "no parcel", 9), 9);
    CHECK(sync_parcel_receive(&received, pair[1], 100) < 0);
    close(pair[0]);
    CHECK(sync_parcel_receive(&received, pair[1], 100) < 0);
    close(pair[1]);
}

static void send_text(struct sync_parcel *parcel, int fd, const char *text) {
    sync_parcel_text(parcel, text, strlen(text));
    CHECK_INT(sync_parcel_send(parcel, fd, 1000), 0);
}

static void check_text(int fd, const char *text) {
    struct sync_parcel *received = NULL;
    struct sync_item item;
    REQUIRE(sync_parcel_receive(&received, fd, 1000) == 0);
    CHECK_INT(sync_parcel_next(received, &item), 1);
    CHECK(item.length == strlen(text));
    CHECK(memcmp(item.data, text, item.length) == 0);
    CHECK_INT(sync_parcel_next(received, &item), 0);
    sync_parcel_free(received);
}

/* One that was sent is empty, and is filled anew. */
TEST(parcels_are_sent_one_after_the_other) {
    int pair[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
    struct sync_parcel *parcel = sync_parcel_new();
    send_text(parcel, pair[0], "one");
    send_text(parcel, pair[0], "the other");
    check_text(pair[1], "one");
    check_text(pair[1], "the other");
    sync_parcel_free(parcel);
    close(pair[0]);
    close(pair[1]);
}

/* Where the other side has too much to take nobody waits, and nothing is lost. */
TEST(parcels_wait_for_who_takes_none) {
    int pair[2];
    int sent = 0;
    int32_t code = 0;
    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
    struct sync_parcel *parcel = sync_parcel_new();
    sync_parcel_text(parcel, "text", 4);
    while (sent < 10000 && (code = sync_parcel_send(parcel, pair[0], 0)) == 0) {
        sync_parcel_text(parcel, "text", 4);
        sent++;
    }
    CHECK_INT(code, -EAGAIN);
    CHECK(sent > 0);
    check_text(pair[1], "text");
    CHECK_INT(sync_parcel_send(parcel, pair[0], 0), 0);
    for (int i = 0; i < sent; i++) {
        check_text(pair[1], "text");
    }
    sync_parcel_free(parcel);
    close(pair[0]);
    close(pair[1]);
}
