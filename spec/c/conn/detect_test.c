/* detect_test.c: which protocol a client speaks, however few of its bytes have come. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conn/codec.h"
#include "conn/detect.h"
#include "server.h"
#include "sync.h"
#include "test.h"

#define BYTES(text) text, sizeof(text) - 1
#define COUNT(all)  (sizeof(all) / sizeof(*(all)))

enum { ALL = SYNC_STREAMS | SYNC_WEBSOCKET | SYNC_HTTP | SYNC_POLICY | SYNC_TLS };

/* First bytes that tell, and the transports that have them. */
static const struct pattern {
    const char *bytes;
    size_t length;
    uint32_t transports;
    enum detected found;
} patterns[] = {
    {BYTES("GET "), SYNC_HTTP | SYNC_WEBSOCKET, DETECT_HTTP},
    {BYTES("HEAD "), SYNC_HTTP | SYNC_WEBSOCKET, DETECT_HTTP},
    {BYTES("POST "), SYNC_HTTP | SYNC_WEBSOCKET, DETECT_HTTP},
    {BYTES("PUT "), SYNC_HTTP | SYNC_WEBSOCKET, DETECT_HTTP},
    {BYTES("DELETE "), SYNC_HTTP | SYNC_WEBSOCKET, DETECT_HTTP},
    {BYTES("OPTIONS "), SYNC_HTTP | SYNC_WEBSOCKET, DETECT_HTTP},
    {BYTES("PATCH "), SYNC_HTTP | SYNC_WEBSOCKET, DETECT_HTTP},
    {BYTES("<policy-file-request/>\0"), SYNC_POLICY, DETECT_POLICY},
    {BYTES("\x16\x03"), SYNC_TLS, DETECT_TLS},
};

/* What is wanted: the pattern that the bytes begin with; or, when they are a beginning of
 * one, more of them. */
static enum detected wanted_of(const char *bytes, size_t length, uint32_t transports) {
    enum detected wanted = DETECT_STREAM;
    for (size_t i = 0; i < COUNT(patterns); i++) {
        const struct pattern *pattern = &patterns[i];
        if (!(pattern->transports & transports)) {
            continue;
        }
        if (length >= pattern->length &&
            memcmp(bytes, pattern->bytes, pattern->length) == 0) {
            return pattern->found;
        }
        if (length < pattern->length && memcmp(bytes, pattern->bytes, length) == 0) {
            wanted = DETECT_MORE;
        }
    }
    return wanted;
}

/* Looks at a copy that ends where a sanitizer watches, with all transports. */
static void check(const char *bytes, size_t length) {
    char *copy = malloc(length + (length == 0));
    if (!copy) {
        abort();
    }
    memcpy(copy, bytes, length);
    for (uint32_t transports = 0; transports <= ALL; transports++) {
        if (!CHECK_INT(detect(copy, length, transports),
                       wanted_of(copy, length, transports))) {
            break;
        }
    }
    free(copy);
}

TEST(detect_finds_each_pattern_from_every_prefix_on) {
    char bytes[40];
    for (size_t i = 0; i < COUNT(patterns); i++) {
        const struct pattern *pattern = &patterns[i];
        memset(bytes, 'x', sizeof(bytes));
        memcpy(bytes, pattern->bytes, pattern->length);
        for (size_t length = 0; length <= sizeof(bytes); length++) {
            check(bytes, length);
        }
        CHECK_INT(detect(bytes, pattern->length - 1, ALL), DETECT_MORE);
        CHECK_INT(detect(bytes, pattern->length, ALL), pattern->found);
        CHECK_INT(detect(bytes, pattern->length, ALL & ~pattern->transports),
                  DETECT_STREAM);
    }
}

TEST(detect_takes_a_pattern_with_any_other_byte_for_a_stream) {
    char bytes[32];
    for (size_t i = 0; i < COUNT(patterns); i++) {
        for (size_t at = 0; at < patterns[i].length; at++) {
            memset(bytes, 'x', sizeof(bytes));
            memcpy(bytes, patterns[i].bytes, patterns[i].length);
            for (uint32_t byte = 0; byte < 256; byte++) {
                bytes[at] = (char)byte;
                check(bytes, at);
                check(bytes, at + 1);
                check(bytes, patterns[i].length + 1);
            }
        }
    }
}

TEST(detect_takes_what_is_only_alike_for_a_stream) {
    static const struct {
        const char *bytes;
        size_t length;
    } alike[] = {
        {BYTES("get / HTTP/1.1")},
        {BYTES("GET\t/")},
        {BYTES("GET/")},
        {BYTES(" GET /")},
        {BYTES("\r\nGET /")},
        {BYTES("CONNECT a:1 HTTP/1.1")},
        {BYTES("PRI * HTTP/2.0")},
        {BYTES("PROPFIND / HTTP/1.1")},
        {BYTES("<policy-file-request/>x")},
        {BYTES("<policy-file-request />\0")},
        {BYTES("\x16\x02\x01")},
        {BYTES("\x15\x03\x01")},
        {BYTES("\x80\x2e\x01\x03\x01")},
        {BYTES("\0")},
        {BYTES("<message>")},
        {BYTES("POS")},
    };
    for (size_t i = 0; i + 1 < COUNT(alike); i++) {
        CHECK_INT(detect(alike[i].bytes, alike[i].length, ALL), DETECT_STREAM);
        check(alike[i].bytes, alike[i].length);
    }
    CHECK_INT(detect("POS", 3, ALL), DETECT_MORE);
    CHECK_INT(detect("POST", 4, ALL), DETECT_MORE);
}

/* Looks at every beginning of the bytes, in memory of its own: fresh, and as what was
 * looked at before and has grown. */
static void check_line(const char *bytes, size_t decided, enum detected wanted) {
    size_t whole = strlen(bytes);
    size_t scanned = 0;
    for (size_t length = 0; length <= whole; length++) {
        char *copy = malloc(length + (length == 0));
        if (!copy) {
            abort();
        }
        memcpy(copy, bytes, length);
        size_t fresh = 0;
        enum detected expected = length < decided ? DETECT_MORE : wanted;
        if (length <= decided) {
            CHECK_INT(detect_request_line(copy, length, &scanned), expected);
        }
        CHECK_INT(detect_request_line(copy, length, &fresh), expected);
        free(copy);
    }
}

TEST(detect_finds_a_request_line_at_its_end) {
    check_line("GET / HTTP/1.1\r\nHost: a\r\n", 15, DETECT_HTTP);
    check_line("POST /a?b=%20c HTTP/1.0\n", 24, DETECT_HTTP);
    check_line("OPTIONS * HTTP/1.1\r", 19, DETECT_HTTP);
    check_line("PUT http://a/\xc3\xa4 HTTP/1.9\r", 25, DETECT_HTTP);
}

TEST(detect_takes_what_is_like_a_request_line_for_a_stream) {
    check_line("GET out\n", 8, DETECT_STREAM);
    check_line("GET out\r\n", 8, DETECT_STREAM);
    check_line("GET  / HTTP/1.1\r\n", 5, DETECT_STREAM);
    check_line("GETS / HTTP/1.1\r\n", 4, DETECT_STREAM);
    check_line("SAY / HTTP/1.1\r\n", 1, DETECT_STREAM);
    check_line("get / HTTP/1.1\r\n", 1, DETECT_STREAM);
    check_line("GET out of here\n", 9, DETECT_STREAM);
    check_line("GET a HTTP/1.1 manual\n", 15, DETECT_STREAM);
    check_line("GET a HTTP/2.0\r\n", 12, DETECT_STREAM);
    check_line("GET a HTTP/1.x\r\n", 14, DETECT_STREAM);
    check_line("GET a HTTP/1.11\r\n", 15, DETECT_STREAM);
    check_line("GET a\tHTTP/1.1\r\n", 6, DETECT_STREAM);
    size_t scanned = 0;
    CHECK_INT(detect_request_line("GET out\0", 8, &scanned), DETECT_STREAM);
}

TEST(detect_random_bytes) {
    static const char usual[] = "GETPOSHADLINCU <\x16\x03";
    for (int round = 0; round < 20000; round++) {
        char bytes[9];
        size_t length = test_random(sizeof(bytes) + 1);
        for (size_t i = 0; i < length; i++) {
            bytes[i] = usual[test_random(sizeof(usual))];
        }
        check(bytes, length);
    }
}

/* Through a connection */

static const char policy[] = "<cross-domain-policy/>";

static void open_detecting(struct server *server, uint32_t transports) {
    server_open(server);
    struct sync_options options = server_options(SYNC_FRAMING_NULL);
    options.transports = transports;
    options.max_head = 8192;
    options.max_headers = 64;
    int32_t listener = sync_listen(server->sync, "memory:", 0, &options);
    CHECK(listener > 0);
    CHECK_INT(sync_listener_policy(server->sync, (uint32_t)listener, policy,
                                   sizeof(policy) - 1),
              0);
    CHECK_INT(sync_memory_connect(server->sync, (uint32_t)listener), 1);
}

/* What a client turned out to be: 's' a stream that got its message, 'h' one whose
 * request came, 'p' one that was sent the policy, 'r' refused, 'd' a stream that was
 * refused as a request, '?' unknown as yet; and '!' when it's two things at once. */
static char kind_of(struct server *server, const char *message, size_t length) {
    char seen[400];
    size_t size;
    uint32_t taken = server_take(server, 1, seen, sizeof(seen));
    server_settle(server);
    const char *messages = server_messages(server, 1, '|', &size);
    bool stream = server_saw(server, SYNC_CONNECT, 1) == 1 && size == length + 1 &&
                  memcmp(messages, message, length) == 0;
    bool http = server_saw(server, SYNC_REQUEST, 1) == 1;
    bool sent = taken == sizeof(policy) && memcmp(seen, policy, sizeof(policy)) == 0;
    uint32_t reason = server_close_reason(server, 1);
    bool refused = reason == SYNC_REFUSED;
    if (refused && server_saw(server, SYNC_CONNECT, 1) == 1 && taken > 0) {
        return size == 0 && memcmp(seen, "HTTP/1.1 400 ", 13) == 0 ? 'd' : '!';
    }
    bool other = (server_saw(server, SYNC_CONNECT, 1) > 0) != stream ||
                 (size > 0) != stream || (taken > 0) != sent ||
                 (reason > 0 && !refused) != sent;
    if (other || stream + http + sent + refused > 1) {
        return '!';
    }
    return stream ? 's' : http ? 'h' : sent ? 'p' : refused ? 'r' : '?';
}

TEST(detect_tells_connections_apart_whole_and_byte_by_byte) {
    static const struct {
        const char *bytes; /* with a NUL behind, which is the stream's framing */
        uint32_t transports;
        char kind;
    } clients[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", SYNC_HTTP | SYNC_WEBSOCKET, 'h'},
        {"DELETE /x HTTP/1.0\r\n\r\n", SYNC_HTTP | SYNC_WEBSOCKET, 'h'},
        {"<policy-file-request/>", SYNC_POLICY, 'p'},
        {"<policy-file-request>", 0, 's'},
        {"POSTE", 0, 's'},
        {"\x16\x03\x01", 0, 's'}, /* memory connections have no TLS */
        {"x", 0, 's'},
        {"", 0, 's'},
    };
    for (size_t i = 0; i < COUNT(clients) * 16; i++) {
        const char *bytes = clients[i / 16].bytes;
        uint32_t transports = (uint32_t)(i % 16); /* none is SYNC_STREAMS */
        bool known = clients[i / 16].transports & transports;
        bool stream = transports == 0 || (transports & SYNC_STREAMS);
        char as_stream = clients[i / 16].kind == 'h' ? 'd' : 's';
        char wanted = known ? clients[i / 16].kind : stream ? as_stream : 'r';
        size_t length = strlen(bytes);
        for (size_t step = 1; step <= length + 1; step += length ? length : 1) {
            struct server server;
            open_detecting(&server, transports);
            for (size_t at = 0; at <= length && server_close_reason(&server, 1) == 0;
                 at += step) {
                size_t part = length + 1 - at < step ? length + 1 - at : step;
                server_feed(&server, 1, bytes + at, part);
                server_settle(&server);
            }
            CHECK_INT(kind_of(&server, bytes, length), wanted);
            server_close(&server);
        }
    }
}

static void open_streams(struct server *server, uint32_t framing) {
    server_open(server);
    struct sync_options options = server_options(framing);
    options.transports = SYNC_STREAMS;
    options.detect_timeout = 10;
    server_memory(server, &options, 1);
}

static void feed_in_steps(struct server *server, const char *bytes, size_t length,
                          size_t step) {
    for (size_t at = 0; at < length && !server_close_reason(server, 1); at += step) {
        server_feed(server, 1, bytes + at, length - at < step ? length - at : step);
        server_settle(server);
    }
}

/* What a page can send: a body that holds messages of each framing, behind a head as long
 * as "PO", the first two bytes, says as a length. */
static size_t write_post(char *bytes, size_t size) {
    static const char line[] = "POST / HTTP/1.1\r\nX: ";
    static const char body[] = "\r\n\r\n\n{\"method\":\"pay\"}\n\0{}\0\0\2{}\0\0\0\2{}";
    size_t head = ('P' << 8) + 'O' + 2;
    CHECK(size >= head + sizeof(body));
    memset(bytes, 'x', head);
    memcpy(bytes, line, sizeof(line) - 1);
    memcpy(bytes + head, body, sizeof(body) - 1);
    return head + sizeof(body) - 1;
}

TEST(detect_keeps_requests_out_of_byte_streams_of_every_framing) {
    static char bytes[32 * 1024];
    size_t length = write_post(bytes, sizeof(bytes));
    for (uint32_t framing = 0; framing < CODEC_COUNT; framing++) {
        for (size_t step = 1; step <= length; step = step < 32 ? step + 1 : step * 32) {
            struct server server;
            open_streams(&server, framing);
            feed_in_steps(&server, bytes, length, step);
            char answer[400] = "";
            server_take(&server, 1, answer, sizeof(answer));
            CHECK(strncmp(answer, "HTTP/1.1 400 ", 13) == 0);
            server_settle(&server);
            CHECK_INT(server_saw(&server, SYNC_CONNECT, 1), 1);
            CHECK_INT(server_saw(&server, SYNC_DATA, 0), 0);
            CHECK_INT(server_close_reason(&server, 1), SYNC_REFUSED);
            server_close(&server);
        }
    }
}

/* A target so long that a length prefix made of a method's letters ends within. */
TEST(detect_ends_a_first_line_without_an_end) {
    static char bytes[128 * 1024];
    memset(bytes, '!', sizeof(bytes));
    memcpy(bytes, "GET /", 5);
    for (uint32_t framing = 0; framing < CODEC_COUNT; framing++) {
        struct server server;
        open_streams(&server, framing);
        feed_in_steps(&server, bytes, sizeof(bytes), 1000);
        CHECK_INT(server_saw(&server, SYNC_DATA, 0), 0);
        CHECK_INT(server_close_reason(&server, 1), SYNC_MESSAGE_LONG);
        server_close(&server);
    }
}

TEST(detect_lets_lines_that_begin_with_a_method_be_messages) {
    static const struct {
        uint32_t framing;
        const char *bytes;
        size_t length;
        const char *messages;
    } talks[] = {
        {SYNC_FRAMING_RAW, BYTES("GET out\n"), "GET out\n|"},
        {SYNC_FRAMING_NULL, BYTES("GET out\0GET / HTTP/1.1\r\n\0"),
         "GET out|GET / HTTP/1.1\r\n|"},
        {SYNC_FRAMING_LINE, BYTES("GET out\nGET / HTTP/1.1\r\n"),
         "GET out|GET / HTTP/1.1|"},
        {SYNC_FRAMING_LENGTH16, BYTES("\0\7GET out"), "GET out|"},
        {SYNC_FRAMING_LENGTH32, BYTES("\0\0\0\7GET out"), "GET out|"},
        {SYNC_FRAMING_LENGTH24LE, BYTES("\7\0\0GET out"), "GET out|"},
    };
    for (size_t i = 0; i < COUNT(talks); i++) {
        struct server server;
        open_streams(&server, talks[i].framing);
        server_feed(&server, 1, talks[i].bytes, talks[i].length);
        server_settle(&server);
        size_t length;
        const char *messages = server_messages(&server, 1, '|', &length);
        CHECK_BYTES(messages, length, talks[i].messages, strlen(talks[i].messages));
        CHECK_INT(server_close_reason(&server, 1), 0);
        server_close(&server);
    }
}

/* A raw chunk needs no end: it's handed out when nothing more comes, or the client ends.
 */
TEST(detect_hands_out_a_raw_chunk_that_might_have_been_a_request) {
    for (int ends = 0; ends < 2; ends++) {
        struct server server;
        open_streams(&server, SYNC_FRAMING_RAW);
        server_feed(&server, 1, BYTES("GET out"));
        server_settle(&server);
        CHECK_INT(server_saw(&server, SYNC_DATA, 1), 0);
        if (ends) {
            sync_memory_end(server.sync, 1);
        }
        server_wait_begin(&server);
        while (server_saw(&server, SYNC_DATA, 1) == 0 && server_wait_tick(&server)) {
        }
        server_wait_end(&server);
        size_t length;
        const char *messages = server_messages(&server, 1, '|', &length);
        CHECK_BYTES(messages, length, "GET out|", 8);
        if (!ends) {
            server_feed(&server, 1, BYTES("GET / HTTP/1.1\r\n")); /* the stream goes on */
            server_settle(&server);
            CHECK_INT(server_saw(&server, SYNC_DATA, 1), 2);
        }
        server_close(&server);
    }
}

/* A browser's spare connection, that was taken for a stream and greeted. */
TEST(detect_refuses_a_request_on_a_connection_that_was_greeted) {
    struct server server;
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    options.transports = SYNC_STREAMS | SYNC_HTTP;
    options.detect_timeout = 1;
    int32_t listener = sync_listen(server.sync, "memory:", 0, &options);
    CHECK_INT(sync_memory_connect(server.sync, (uint32_t)listener), 1);
    server_wait_begin(&server);
    while (server_saw(&server, SYNC_CONNECT, 1) == 0 && server_wait_tick(&server)) {
    }
    server_wait_end(&server);
    sync_send(server.sync, 1, "hello", 5);
    server_feed(&server, 1, BYTES("POST / HTTP/1.1\r\nHost: a\r\n\r\npay\n"));
    server_settle(&server);
    char answer[400] = "";
    server_take(&server, 1, answer, sizeof(answer));
    CHECK(strncmp(answer, "hello\nHTTP/1.1 400 ", 19) == 0);
    server_settle(&server);
    CHECK_INT(server_saw(&server, SYNC_DATA, 1), 0);
    CHECK_INT(server_close_reason(&server, 1), SYNC_REFUSED);
    server_close(&server);
}

TEST(detect_keeps_the_first_bytes_for_the_protocol) {
    /* What looks like a method for long is the beginning of a message. */
    static const char stream[] = "OPTIONS\0OPTION\0O\0P";
    struct server server;
    open_detecting(&server, ALL & ~SYNC_TLS);
    for (size_t i = 0; i < sizeof(stream) - 1; i++) {
        server_feed(&server, 1, stream + i, 1);
        server_settle(&server);
        CHECK_INT(server_saw(&server, SYNC_CONNECT, 1), i >= 7);
    }
    size_t length;
    const char *messages = server_messages(&server, 1, '|', &length);
    CHECK_BYTES(messages, length, "OPTIONS|OPTION|O|", 17);
    server_close(&server);
}

TEST(detect_takes_a_client_that_ends_undecided_for_a_stream) {
    for (uint32_t streams = 0; streams < 2; streams++) {
        struct server server;
        open_detecting(&server, SYNC_HTTP | (streams ? SYNC_STREAMS : 0));
        server_feed(&server, 1, "POS", 3);
        server_settle(&server);
        CHECK_INT(server.count, 0);
        sync_memory_end(server.sync, 1);
        server_settle(&server);
        CHECK_INT(server_saw(&server, SYNC_CONNECT, 1), streams);
        CHECK_INT(server_saw(&server, SYNC_DATA, 1), 0);
        CHECK_INT(server_close_reason(&server, 1),
                  streams ? SYNC_BY_CLIENT : SYNC_REFUSED);
        server_close(&server);
    }
}

/* libuv runs the timers that are due before it sleeps: what they made is handed out
 * first. */
TEST(detect_announces_a_silent_client_though_nothing_else_happens) {
    struct server server;
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_RAW);
    options.transports = SYNC_STREAMS | SYNC_HTTP;
    options.detect_timeout = 10;
    uint32_t listener = (uint32_t)sync_listen(server.sync, "memory:", 0, &options);
    CHECK_INT(sync_memory_connect(server.sync, listener), 1);
    usleep(200 * 1000); /* a tick that takes longer than the time-out */
    server_wait_begin(&server);
    server_tick(&server, true);
    server_wait_end(&server);
    CHECK(!server.in_vain);
    CHECK_INT(server_saw(&server, SYNC_CONNECT, 1), 1);
    server_close(&server);
}
