/* http_test.c: requests, whatever way their bytes come, and what is refused. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/parser.h"
#include "test.h"

#define HOST        "Host: a\r\n"
#define BYTES(text) text, sizeof(text) - 1
#define COUNT(all)  (sizeof(all) / sizeof(*(all)))

static const struct http_limits roomy = {8192, 64, 65536};

/* What a reader made of a stream, as text: each request is its head, "--" and its flags
 * in a line, and its body; then "400" or whichever, "more", or "rest:" and the bytes that
 * were left behind an upgrade. */
struct story {
    char *text;
    size_t length;
    FILE *file;
};

static void story_open(struct story *story) {
    story->file = open_memstream(&story->text, &story->length);
    if (!story->file) {
        abort();
    }
}

static void tell_request(FILE *file, const struct http_request *request) {
    CHECK_INT(request->status, 0);
    CHECK(request->head_length <= request->length);
    fwrite(request->bytes, 1, request->head_length, file);
    fprintf(file, "--%s%s%s\n", request->keep_alive ? " keep" : "",
            request->upgrade ? " upgrade" : "",
            request->expect_continue ? " expect" : "");
    fwrite(request->bytes + request->head_length, 1,
           request->length - request->head_length, file);
}

static void tell_bad(FILE *file, const struct http_request *request) {
    CHECK(request->bytes == NULL && request->length == 0 && !request->keep_alive);
    CHECK(request->reason != NULL && request->reason[0] != '\0');
    fprintf(file, "%d", request->status);
}

/* Tells what was found. Returns whether the reader goes on. */
static bool tell(FILE *file, struct http *http, enum http_state state) {
    const struct http_request *request = http_request(http);
    switch (state) {
    case HTTP_CONTINUE:
        CHECK(request->expect_continue);
        fwrite(request->bytes, 1, request->head_length, file);
        fprintf(file, "continue\n");
        return true;
    case HTTP_REQUEST: {
        bool upgrade = request->upgrade;
        tell_request(file, request);
        http_next(http);
        return !upgrade;
    }
    case HTTP_BAD: tell_bad(file, request); return false;
    default: return true;
    }
}

enum { RANDOM_STEPS = 0 };

/* Gives a stream in steps of `step` bytes, each in memory of just its size, so that
 * AddressSanitizer sees a byte read too far. */
static void read_stream(struct story *story, const struct http_limits *limits,
                        const char *bytes, size_t length, size_t step) {
    struct http *http = http_new(limits);
    enum http_state state = HTTP_MORE;
    bool on = true;
    story_open(story);
    for (size_t done = 0; done < length && on;) {
        size_t most = step == RANDOM_STEPS ? 1 + test_random(40) : step;
        size_t given = length - done < most ? length - done : most;
        char *piece = malloc(given);
        memcpy(piece, bytes + done, given);
        size_t used = http_take(http, piece, given, &state);
        free(piece);
        CHECK(used <= given);
        CHECK(state != HTTP_MORE || used == given);
        done += used;
        on = tell(story->file, http, state);
        if (state == HTTP_REQUEST && !on) {
            fprintf(story->file, "rest:");
            fwrite(bytes + done, 1, length - done, story->file);
        }
    }
    if (state == HTTP_MORE) {
        fprintf(story->file, "more");
    }
    http_free(http);
    fclose(story->file);
}

/* Checks the story of a stream given whole and in steps of every size. */
static void check_under(const struct http_limits *limits, const char *bytes,
                        size_t length, const char *wanted) {
    size_t largest = length < 300 ? length : 5;
    for (size_t i = 0; i <= largest; i++) {
        struct story story;
        read_stream(&story, limits, bytes, length, i ? i : length);
        bool right = CHECK_BYTES(story.text, story.length, wanted, strlen(wanted));
        free(story.text);
        if (!right) {
            printf("    in steps of %zu: %.*s\n", i ? i : length, (int)length, bytes);
            return;
        }
    }
}

static void check(const char *bytes, size_t length, const char *wanted) {
    check_under(&roomy, bytes, length, wanted);
}

struct example {
    const char *bytes;
    size_t length;
    const char *wanted;
};

static const struct example taken[] = {
    {BYTES("GET / HTTP/1.1\r\n" HOST "\r\n"), "GET / 1.1\nhost: a\n-- keep\n"},
    {BYTES("GET / HTTP/1.0\r\n\r\n"), "GET / 1.0\n--\n"},
    {BYTES("\r\n\r\nGET / HTTP/1.0\r\n\r\n"), "GET / 1.0\n--\n"},
    /* Names become lower case, values lose the blanks round them, and keep the rest. */
    {BYTES("GET /a?b=c&d HTTP/1.1\r\nHOST:\t a:80 \t\r\nX-One:1\r\nx-two:  2 \t 2\r\n"
           "X-Empty:\r\nX-Blank: \t \r\nx-one: again: \"\xc3\xa4\"\r\n\r\n"),
     "GET /a?b=c&d 1.1\nhost: a:80\nx-one: 1\nx-two: 2 \t 2\nx-empty: \nx-blank: \n"
     "x-one: again: \"\xc3\xa4\"\n-- keep\n"},
    {BYTES("GET / HTTP/1.1\r\n!#$%&'*+-.^_`|~09aZ: x\r\n" HOST "\r\n"),
     "GET / 1.1\n!#$%&'*+-.^_`|~09az: x\nhost: a\n-- keep\n"},
    /* Targets. */
    {BYTES("GET http://b:8080/c?d HTTP/1.1\r\n" HOST "\r\n"),
     "GET http://b:8080/c?d 1.1\nhost: a\n-- keep\n"},
    {BYTES("GET http://b?c://d@ HTTP/1.1\r\n" HOST "\r\n"),
     "GET http://b?c://d@ 1.1\nhost: a\n-- keep\n"},
    {BYTES("GET HTTPS://[::1]:443 HTTP/1.1\r\n" HOST "\r\n"),
     "GET HTTPS://[::1]:443 1.1\nhost: a\n-- keep\n"},
    {BYTES("OPTIONS * HTTP/1.1\r\n" HOST "\r\n"), "OPTIONS * 1.1\nhost: a\n-- keep\n"},
    {BYTES("GET //a/..//%00|{}\"<>\\^` HTTP/1.1\r\n" HOST "\r\n"),
     "GET //a/..//%00|{}\"<>\\^` 1.1\nhost: a\n-- keep\n"},
    /* Hosts. */
    {BYTES("GET / HTTP/1.1\r\nHost:\r\n\r\n"), "GET / 1.1\nhost: \n-- keep\n"},
    {BYTES("GET / HTTP/1.1\r\nHost: [fe80::1]:80\r\n\r\n"),
     "GET / 1.1\nhost: [fe80::1]:80\n-- keep\n"},
    {BYTES("GET / HTTP/1.1\r\nHost: 127.0.0.1:\r\n\r\n"),
     "GET / 1.1\nhost: 127.0.0.1:\n-- keep\n"},
    /* Bodies, with GET, too. */
    {BYTES("GET / HTTP/1.1\r\n" HOST "Content-Length:    05\r\n\r\nGET /"),
     "GET / 1.1\nhost: a\ncontent-length: 05\n-- keep\nGET /"},
    {BYTES("POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\nx"),
     "POST / 1.0\ncontent-length: 1\n--\nx"},
    {BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n"),
     "POST / 1.1\nhost: a\ncontent-length: 0\n-- keep\n"},
    {BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:  ChunKed\r\n\r\n"
           "3\r\nabc\r\n00A;name=\"va;lue\"\r\n0123456789\r\n0\r\n\r\n"),
     "POST / 1.1\nhost: a\ntransfer-encoding: ChunKed\n-- keep\nabc0123456789"},
    {BYTES("PUT / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
           "2\r\n\r\n\r\n000\r\n\r\n"),
     "PUT / 1.1\nhost: a\ntransfer-encoding: chunked\n-- keep\n\r\n"},
    /* Trailers are read and dropped, whatever they say. */
    {BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
           "1\r\nx\r\n0;last\r\nX-Sum: 1\r\nConnection: close\r\nHost: b\r\n"
           "Content-Length: 7\r\nTransfer-Encoding: gzip\r\n\r\n"),
     "POST / 1.1\nhost: a\ntransfer-encoding: chunked\n-- keep\nx"},
    /* An upgrade to something else, or not by GET, or by an old client, is none, and its
     * body is read. */
    {BYTES("POST / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: h2c\r\n"
           "Content-Length: 2\r\n\r\nok"),
     "POST / 1.1\nhost: a\nconnection: Upgrade\nupgrade: h2c\ncontent-length: 2\n"
     "-- keep\nok"},
    {BYTES("GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: websocket2\r\n"
           "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
     "GET / 1.1\nhost: a\nconnection: Upgrade\nupgrade: websocket2\n"
     "transfer-encoding: chunked\n-- keep\nok"},
    {BYTES("POST / HTTP/1.1\r\n" HOST
           "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
     "POST / 1.1\nhost: a\nconnection: Upgrade\nupgrade: websocket\n-- keep\n"},
    {BYTES("GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
     "GET / 1.0\nconnection: Upgrade\nupgrade: websocket\n--\n"},
    {BYTES("GET / HTTP/1.1\r\n" HOST "Upgrade: websocket\r\n\r\n"),
     "GET / 1.1\nhost: a\nupgrade: websocket\n-- keep\n"},
    {BYTES("GET / HTTP/1.1\r\n" HOST "Connection: upgraded\r\nUpgrade: websocket\r\n"
           "\r\n"),
     "GET / 1.1\nhost: a\nconnection: upgraded\nupgrade: websocket\n-- keep\n"},
};

TEST(http_reads_requests_whole_and_in_steps_of_any_size) {
    for (size_t i = 0; i < COUNT(taken); i++) {
        check(taken[i].bytes, taken[i].length, taken[i].wanted);
    }
}

TEST(http_body_is_bytes) {
    static const char wanted[] = "POST / 1.1\nhost: a\ncontent-length: 5\n-- keep\n"
                                 "ab\0\r\n";
    static const char bytes[] =
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nab\0\r\n";
    for (size_t step = 1; step < sizeof(bytes); step++) {
        struct story story;
        read_stream(&story, &roomy, BYTES(bytes), step);
        CHECK_BYTES(story.text, story.length, wanted, sizeof(wanted) - 1);
        free(story.text);
    }
}

TEST(http_wants_more_of_every_beginning) {
    for (size_t i = 0; i < COUNT(taken); i++) {
        for (size_t length = 0; length < taken[i].length; length++) {
            struct story story;
            read_stream(&story, &roomy, taken[i].bytes, length, length + 1);
            CHECK_BYTES(story.text, story.length, "more", 4);
            free(story.text);
        }
    }
}

#define POST    "POST / HTTP/1.1\r\n" HOST
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
#define TO_WEBSOCKET                                                                     \
    "GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n"

static const struct example refused[] = {
    /* The request line. */
    {BYTES("GET /\r\n"), "400"},
    {BYTES("GET\r\n"), "400"},
    {BYTES("GET  / HTTP/1.1\r\n"), "400"},
    {BYTES("GET /  HTTP/1.1\r\n"), "400"},
    {BYTES("GET / HTTP/1.1 \r\n"), "400"},
    {BYTES("GET / x HTTP/1.1\r\n"), "400"},
    {BYTES("GET\t/ HTTP/1.1\r\n"), "400"},
    {BYTES(" GET / HTTP/1.1\r\n"), "400"},
    {BYTES("G@T / HTTP/1.1\r\n"), "400"},
    {BYTES("G\xc3T / HTTP/1.1\r\n"), "400"},
    {BYTES(" / HTTP/1.1\r\n"), "400"},
    {BYTES("GET / http/1.1\r\n"), "400"},
    {BYTES("GET / HTTP/1\r\n"), "400"},
    {BYTES("GET / HTTP/1.10\r\n"), "400"},
    {BYTES("GET / HTTP/01.1\r\n"), "400"},
    {BYTES("GET / HTTP/1.x\r\n"), "400"},
    {BYTES("GET / HTPT/1.1\r\n"), "400"},
    {BYTES("GET / ICE/1.0\r\n"), "400"},
    {BYTES("GET / HTTP/1.1\n"), "400"},
    {BYTES("GET / HTTP/1.1\r\r\n"), "400"},
    {BYTES("\n"), "400"},
    {BYTES("\r\r\n"), "400"},
    {BYTES("\0GET / HTTP/1.1\r\n"), "400"},
    {BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "505"},
    {BYTES("GET / HTTP/2.0\r\n"), "505"},
    {BYTES("GET / HTTP/0.9\r\n"), "505"},
    {BYTES("GET / HTTP/1.2\r\n"), "505"},
    {BYTES("BREW / HTTP/1.1\r\n"), "501"},
    {BYTES("get / HTTP/1.1\r\n"), "501"},
    {BYTES("GETS / HTTP/1.1\r\n"), "501"},
    {BYTES("GE / HTTP/1.1\r\n"), "501"},
    {BYTES("1 / HTTP/1.1\r\n"), "501"},
    {BYTES("CONNECT a:80 HTTP/1.1\r\n"), "501"},
    {BYTES("CONNECT / HTTP/1.1\r\n"), "501"},
    /* Targets. */
    {BYTES("GET a HTTP/1.1\r\n"), "400"},
    {BYTES("GET a:80 HTTP/1.1\r\n"), "400"},
    {BYTES("GET ?a HTTP/1.1\r\n"), "400"},
    {BYTES("GET * HTTP/1.1\r\n"), "400"},
    {BYTES("OPTIONS ** HTTP/1.1\r\n"), "400"},
    {BYTES("OPTIONS */ HTTP/1.1\r\n"), "400"},
    {BYTES("GET /#a HTTP/1.1\r\n"), "400"},
    {BYTES("GET /\xc3\xa4 HTTP/1.1\r\n"), "400"},
    {BYTES("GET /\x7f HTTP/1.1\r\n"), "400"},
    {BYTES("GET /a\tb HTTP/1.1\r\n"), "400"},
    {BYTES("GET /a\fb HTTP/1.1\r\n"), "400"},
    {BYTES("GET /a\0b HTTP/1.1\r\n"), "400"},
    {BYTES("GET http:/a HTTP/1.1\r\n"), "400"},
    {BYTES("GET http:// HTTP/1.1\r\n"), "400"},
    {BYTES("GET http:///a HTTP/1.1\r\n"), "400"},
    {BYTES("GET http://?a HTTP/1.1\r\n"), "400"},
    {BYTES("GET http://me@a/ HTTP/1.1\r\n"), "400"},
    {BYTES("GET http://a:b/ HTTP/1.1\r\n"), "400"},
    {BYTES("GET http://[::1/ HTTP/1.1\r\n"), "400"},
    {BYTES("GET ://a/ HTTP/1.1\r\n"), "400"},
    {BYTES("GET 1http://a/ HTTP/1.1\r\n"), "400"},
    {BYTES("GET x/http://a/ HTTP/1.1\r\n"), "400"},
    /* Headers. */
    {BYTES(POST "X: 1\n"), "400"},
    {BYTES(POST "X: 1\r2\r\n"), "400"},
    {BYTES(POST "X: 1\n2\r\n"), "400"},
    {BYTES(POST "X: 1\0"
                "2\r\n"),
     "400"},
    {BYTES(POST "X: 1\x01\r\n"), "400"},
    {BYTES(POST "X: 1\x7f\r\n"), "400"},
    {BYTES(POST "X: 1\r\n 2\r\n"), "400"},
    {BYTES(POST "X: 1\r\n\t2: 3\r\n"), "400"},
    {BYTES("GET / HTTP/1.1\r\n Host: a\r\n"), "400"},
    {BYTES(POST "X : 1\r\n"), "400"},
    {BYTES(POST "X\t: 1\r\n"), "400"},
    {BYTES(POST "X Y: 1\r\n"), "400"},
    {BYTES(POST "X\r\n"), "400"},
    {BYTES(POST ": 1\r\n"), "400"},
    {BYTES(POST "X\xc3: 1\r\n"), "400"},
    {BYTES(POST "X\0: 1\r\n"), "400"},
    {BYTES(POST "(X): 1\r\n"), "400"},
    {BYTES(POST "\r\r\n"), "400"},
    {BYTES(POST "\n"), "400"},
    /* Hosts. */
    {BYTES("GET / HTTP/1.1\r\n\r\n"), "400"},
    {BYTES("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\nhost: a\r\n"), "400"},
    {BYTES("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n"), "400"},
    {BYTES("GET / HTTP/1.1\r\nHost: a, b\r\n"), "400"},
    {BYTES("GET / HTTP/1.1\r\nHost: a b\r\n"), "400"},
    {BYTES("GET / HTTP/1.1\r\nHost: a/b\r\n"), "400"},
    {BYTES("GET / HTTP/1.1\r\nHost: me@a\r\n"), "400"},
    {BYTES("GET / HTTP/1.1\r\nHost: a:80x\r\n"), "400"},
    {BYTES("GET / HTTP/1.1\r\nHost: a:1:2\r\n"), "400"},
    {BYTES("GET / HTTP/1.1\r\nHost: [::1\r\n"), "400"},
    {BYTES("GET / HTTP/1.1\r\nHost: []\r\n"), "400"},
    {BYTES("GET / HTTP/1.1\r\nHost: [::1]a\r\n"), "400"},
    {BYTES("GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n"), "400"},
    /* Lengths. */
    {BYTES(POST "Content-Length: +5\r\n"), "400"},
    {BYTES(POST "Content-Length: -5\r\n"), "400"},
    {BYTES(POST "Content-Length: 0x5\r\n"), "400"},
    {BYTES(POST "Content-Length: 5 \r\n"), "400"},
    {BYTES(POST "Content-Length: 5\t\r\n"), "400"},
    {BYTES(POST "Content-Length: 5 5\r\n"), "400"},
    {BYTES(POST "Content-Length: 5, 5\r\n"), "400"},
    {BYTES(POST "Content-Length: 5;\r\n"), "400"},
    {BYTES(POST "Content-Length: 5.0\r\n"), "400"},
    {BYTES(POST "Content-Length: 1e1\r\n"), "400"},
    {BYTES(POST "Content-Length: x\r\n"), "400"},
    {BYTES(POST "Content-Length:\r\n"), "400"},
    {BYTES(POST "Content-Length: \r\n"), "400"},
    {BYTES(POST "Content-Length: \xb2\r\n"), "400"},
    {BYTES(POST "Content-Length: 18446744073709551615\r\n"), "400"},
    {BYTES(POST "Content-Length: 18446744073709551616\r\n"), "400"},
    {BYTES(POST "Content-Length: 18446744073709551621\r\n"), "400"},
    {BYTES(POST "Content-Length: 99999999999999999999999\r\n"), "400"},
    {BYTES(POST "Content-Length: 5\r\nContent-Length: 5\r\n"), "400"},
    {BYTES(POST "Content-Length: 5\r\nX: y\r\ncontent-length: 6\r\n"), "400"},
    {BYTES(POST "Content-Length: 0\r\nContent-Length: 5\r\n"), "400"},
    {BYTES(POST "Content-Length : 5\r\n"), "400"},
    {BYTES(POST "Content-Length: 65537\r\n\r\n"), "413"},
    {BYTES(POST "Content-Length: 4294967296\r\n\r\n"), "413"},
    {BYTES(POST "Content-Length: 9223372036854775808\r\n\r\n"), "413"},
    {BYTES(POST "Expect: 100-continue\r\nContent-Length: 65537\r\n\r\n"), "413"},
    /* Codings. */
    {BYTES(POST "Transfer-Encoding: xchunked\r\n"), "400"},
    {BYTES(POST "Transfer-Encoding: chunkedx\r\n"), "400"},
    {BYTES(POST "Transfer-Encoding: chunked, chunked\r\n"), "400"},
    {BYTES(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), "400"},
    {BYTES(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"), "400"},
    {BYTES(POST "Transfer-Encoding: identity\r\n"), "400"},
    {BYTES(POST "Transfer-Encoding: gzip\r\n"), "400"},
    {BYTES(POST "Transfer-Encoding: chunked, gzip\r\n"), "400"},
    {BYTES(POST "Transfer-Encoding: chunked, gzip, chunked\r\n"), "400"},
    {BYTES(POST "Transfer-Encoding: chunked;q=1\r\n"), "400"},
    {BYTES(POST "Transfer-Encoding: \"chunked\"\r\n"), "400"},
    {BYTES(POST "Transfer-Encoding: , chunked\r\n"), "400"},
    {BYTES(POST "Transfer-Encoding: chunked,\r\n"), "400"},
    {BYTES(POST "Transfer-Encoding: chunked \r\n"), "400"},
    {BYTES(POST "Transfer-Encoding: \x0b"
                "chunked\r\n"),
     "400"},
    {BYTES(POST "Transfer-Encoding:\r\n"), "400"},
    {BYTES(POST "Transfer-Encoding:\r\n chunked\r\n"), "400"},
    {BYTES(POST "Transfer-Encoding : chunked\r\n"), "400"},
    {BYTES(POST "Transfer-Encoding: gzip, chunked\r\n"), "501"},
    {BYTES(POST "Transfer-Encoding: deflate ,gzip,\tCHUNKED\r\n"), "501"},
    {BYTES("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n"), "400"},
    {BYTES(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), "400"},
    {BYTES(POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"), "400"},
    {BYTES(POST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n"), "400"},
    /* Chunks. */
    {BYTES(CHUNKED "x\r\n"), "400"},
    {BYTES(CHUNKED "\r\n"), "400"},
    {BYTES(CHUNKED ";a\r\n"), "400"},
    {BYTES(CHUNKED "-1\r\n"), "400"},
    {BYTES(CHUNKED "+1\r\n"), "400"},
    {BYTES(CHUNKED "0x1\r\n"), "400"},
    {BYTES(CHUNKED " 1\r\n"), "400"},
    {BYTES(CHUNKED "1 \r\n"), "400"},
    {BYTES(CHUNKED "1 ;a\r\n"), "400"},
    {BYTES(CHUNKED "1,\r\n"), "400"},
    {BYTES(CHUNKED "1\n"), "400"},
    {BYTES(CHUNKED "1\rx\n"), "400"},
    {BYTES(CHUNKED "1;a\rb\r\n"), "400"},
    {BYTES(CHUNKED "1;a\0\r\n"), "400"},
    {BYTES(CHUNKED "1;a\n"), "400"},
    {BYTES(CHUNKED "1;a\x7f\r\n"), "400"},
    {BYTES(CHUNKED "00000000000000001\r\n"), "400"},
    {BYTES(CHUNKED "10000000000000001\r\n"), "400"},
    {BYTES(CHUNKED "FFFFFFFFFFFFFFFF\r\n"), "400"},
    {BYTES(CHUNKED "7FFFFFFFFFFFFFFF\r\n"), "413"},
    {BYTES(CHUNKED "10001\r\n"), "413"},
    {BYTES(CHUNKED "1\r\nx\r\nFFFFFFFFFFFFFFE\r\n"), "413"},
    {BYTES(CHUNKED "1\r\nxy\r\n"), "400"},
    {BYTES(CHUNKED "1\r\nxyz1\r\n"), "400"},
    {BYTES(CHUNKED "1\r\nx\n"), "400"},
    {BYTES(CHUNKED "1\r\nx0\r\n\r\n"), "400"},
    {BYTES(CHUNKED "1\r\nx\r0\r\n\r\n"), "400"},
    {BYTES(CHUNKED "3\r\nx\r\n0\r\n\r\n"), "400"},
    {BYTES(CHUNKED "0\r\nX : 1\r\n"), "400"},
    {BYTES(CHUNKED "0\r\n X: 1\r\n"), "400"},
    {BYTES(CHUNKED "0\r\nX: 1\r\n 2\r\n"), "400"},
    {BYTES(CHUNKED "0\r\nGET / HTTP/1.1\r\n"), "400"},
    {BYTES(CHUNKED "0\r\n\n"), "400"},
    {BYTES(CHUNKED "0\r\n\rX"), "more"}, /* the line isn't there yet */
    {BYTES(CHUNKED "0\r\n\rX\r\n"), "400"},
    /* A WebSocket handshake with a body. */
    {BYTES(TO_WEBSOCKET "Content-Length: 1\r\n\r\n"), "400"},
    {BYTES(TO_WEBSOCKET "Transfer-Encoding: chunked\r\n\r\n"), "400"},
};

TEST(http_refuses_what_is_malformed_or_could_be_read_otherwise) {
    for (size_t i = 0; i < COUNT(refused); i++) {
        check(refused[i].bytes, refused[i].length, refused[i].wanted);
    }
}

TEST(http_takes_nothing_after_a_bad_request) {
    struct http *http = http_new(&roomy);
    enum http_state state;
    CHECK_INT(http_take(http, BYTES("GET /\r\nGET / HTTP/1.0\r\n\r\n"), &state), 7);
    CHECK_INT(state, HTTP_BAD);
    http_next(http);
    CHECK_INT(http_take(http, BYTES("GET / HTTP/1.0\r\n\r\n"), &state), 0);
    CHECK_INT(state, HTTP_BAD);
    CHECK_INT(http_request(http)->status, 400);
    http_free(http);
    http_free(NULL);
}

TEST(http_reads_pipelined_requests_one_after_the_other) {
    static const char bytes[] =
        "GET /1 HTTP/1.1\r\n" HOST "\r\n"
        "POST /2 HTTP/1.1\r\n" HOST
        "Content-Length: 25\r\n\r\nGET /not HTTP/1.1\r\nX: y\r\n"
        "GET /3 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        "\r\n"
        "POST /4 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
        "12\r\nGET /not HTTP/1.1\r\r\n0\r\nX: y\r\n\r\n"
        "GET /5 HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nGET"
        "GET /6 HTTP/1.1\r\nConnection: close\r\n" HOST "\r\n"
        "BAD";
    check(BYTES(bytes), "GET /1 1.1\nhost: a\n-- keep\n"
                        "POST /2 1.1\nhost: a\ncontent-length: 25\n-- keep\n"
                        "GET /not HTTP/1.1\r\nX: y\r\n"
                        "GET /3 1.0\nconnection: keep-alive\n-- keep\n"
                        "POST /4 1.1\nhost: a\ntransfer-encoding: chunked\n-- keep\n"
                        "GET /not HTTP/1.1\r"
                        "GET /5 1.1\nhost: a\ncontent-length: 3\n-- keep\nGET"
                        "GET /6 1.1\nconnection: close\nhost: a\n--\n"
                        "more");
}

TEST(http_stops_behind_a_request_until_the_next_is_wanted) {
    static const char two[] = "GET /1 HTTP/1.0\r\n\r\nGET /2 HTTP/1.0\r\n\r\n";
    struct http *http = http_new(&roomy);
    enum http_state state;
    size_t used = http_take(http, BYTES(two), &state);
    CHECK_INT(used, 19);
    CHECK_INT(state, HTTP_REQUEST);
    CHECK_INT(http_take(http, two + used, 19, &state), 0);
    CHECK_INT(state, HTTP_REQUEST);
    const struct http_request *request = http_request(http);
    CHECK_BYTES(request->bytes, request->length, "GET /1 1.0\n", 11);
    http_next(http);
    CHECK_INT(http_take(http, two, 0, &state), 0);
    CHECK_INT(state, HTTP_MORE);
    CHECK_INT(http_take(http, two + used, 19, &state), 19);
    CHECK_BYTES(request->bytes, request->length, "GET /2 1.0\n", 11);
    http_free(http);
}

/* The headers that are asked about lie between others. */
static void check_flags(const char *version, const char *headers, const char *flags) {
    char bytes[400];
    struct story story;
    int length = snprintf(bytes, sizeof(bytes), "GET / HTTP/%s\r\n" HOST "%sX: y\r\n\r\n",
                          version, headers);
    char wanted[50];
    snprintf(wanted, sizeof(wanted), "\nx: y\n--%s\n", flags);
    for (size_t step = 1; step <= (size_t)length; step++) {
        read_stream(&story, &roomy, bytes, (size_t)length, step);
        char *end = strstr(story.text, "\nx: y\n--");
        REQUIRE(end != NULL);
        end[strcspn(end + 6, "\n") + 7] = '\0';
        CHECK_TEXT(end, wanted);
        free(story.text);
    }
}

TEST(http_keep_alive_goes_by_version_and_connection) {
    check_flags("1.1", "", " keep");
    check_flags("1.1", "Connection: close\r\n", "");
    check_flags("1.1", "Connection: CLOSE\r\n", "");
    check_flags("1.1", "Connection: keep-alive\r\n", " keep");
    check_flags("1.1", "Connection: keep-alive, close\r\n", "");
    check_flags("1.1", "Connection: foo ,\tClose , bar\r\n", "");
    check_flags("1.1", "Connection: foo\r\nConnection: close\r\n", "");
    check_flags("1.1", "Connection: closed, not close\r\n", " keep");
    check_flags("1.1", "X-Connection: close\r\nConnection:\r\n", " keep");
    check_flags("1.0", "", "");
    check_flags("1.0", "Connection: close\r\n", "");
    check_flags("1.0", "Connection: Keep-Alive\r\n", " keep");
    check_flags("1.0", "Connection: foo,keep-alive\r\n", " keep");
    check_flags("1.0", "Connection: close, keep-alive\r\n", "");
    check_flags("1.0", "Connection: keep-alive-not\r\n", "");
}

TEST(http_upgrade_is_a_websocket_handshake_in_any_spelling) {
    check_flags("1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", " keep upgrade");
    check_flags("1.1", "UPGRADE: WebSocket\r\nCONNECTION: UPGRADE\r\n", " keep upgrade");
    check_flags("1.1", "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n",
                " keep upgrade");
    check_flags("1.1",
                "Connection: a\r\nConnection: b,upgrade\r\nUpgrade: h2c, "
                "websocket\r\n",
                " keep upgrade");
    check_flags("1.1",
                "Connection: upgrade\r\nUpgrade: a\r\nUpgrade: websocket\r\n"
                "Content-Length: 0\r\n",
                " keep upgrade");
    check_flags("1.1", "Connection: Upgrade\r\nUpgrade: websocket/13\r\n", " keep");
    check_flags("1.1", "Connection: Upgrade\r\nUpgrade: web socket\r\n", " keep");
    check_flags("1.1", "Connection: Upgrade;\r\nUpgrade: websocket\r\n", " keep");
    check_flags("1.1", "Connection: Upgrade\r\nUpgrade:\r\n", " keep");
}

TEST(http_leaves_what_is_behind_an_upgrade) {
    check(BYTES(TO_WEBSOCKET "\r\n\x81\x85GET / HTTP/1.1\r\n"),
          "GET / 1.1\nhost: a\nconnection: Upgrade\nupgrade: websocket\n-- keep upgrade\n"
          "rest:\x81\x85GET / HTTP/1.1\r\n");
}

TEST(http_says_once_that_the_client_waits_for_continue) {
    check(
        BYTES(POST "Expect: 100-Continue\r\nContent-Length: 2\r\n\r\nok" POST "\r\n"),
        "POST / 1.1\nhost: a\nexpect: 100-Continue\ncontent-length: 2\ncontinue\n"
        "POST / 1.1\nhost: a\nexpect: 100-Continue\ncontent-length: 2\n-- keep expect\nok"
        "POST / 1.1\nhost: a\n-- keep\n");
    check(BYTES(POST "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
                     "0\r\n\r\n"),
          "POST / 1.1\nhost: a\nexpect: 100-continue\ntransfer-encoding: chunked\n"
          "continue\n"
          "POST / 1.1\nhost: a\nexpect: 100-continue\ntransfer-encoding: chunked\n"
          "-- keep expect\n");
    /* Nobody waits where there is no body, nor in HTTP/1.0, nor for something else. */
    check_flags("1.1", "Expect: 100-continue\r\n", " keep");
    check_flags("1.1", "Expect: 100-continue\r\nContent-Length: 0\r\n", " keep");
    check(BYTES("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx"),
          "POST / 1.0\nexpect: 100-continue\ncontent-length: 1\n--\nx");
    check(BYTES(POST "Expect: cookies\r\nContent-Length: 1\r\n\r\nx"),
          "POST / 1.1\nhost: a\nexpect: cookies\ncontent-length: 1\n-- keep\nx");
}

TEST(http_continue_comes_before_the_body_is_used) {
    static const char bytes[] =
        POST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nok";
    struct http *http = http_new(&roomy);
    enum http_state state;
    size_t used = http_take(http, BYTES(bytes), &state);
    CHECK_INT(used, sizeof(bytes) - 3);
    CHECK_INT(state, HTTP_CONTINUE);
    CHECK_INT(http_request(http)->length, http_request(http)->head_length);
    CHECK_INT(http_take(http, bytes, 0, &state), 0);
    CHECK_INT(state, HTTP_MORE);
    CHECK_INT(http_take(http, bytes + used, 2, &state), 2);
    CHECK_INT(state, HTTP_REQUEST);
    http_free(http);
}

/* Limits */

#define HEAD "GET / HTTP/1.1\r\n" HOST "X: 12345\r\n\r\n"

TEST(http_head_may_be_exactly_max_head) {
    static const char wanted[] = "GET / 1.1\nhost: a\nx: 12345\n-- keep\n";
    struct http_limits limits = {sizeof(HEAD) - 1, 64, 0};
    check_under(&limits, BYTES(HEAD), wanted);
    limits.max_head--;
    check_under(&limits, BYTES(HEAD), "431");
    for (limits.max_head = 0; limits.max_head < sizeof(HEAD) - 1; limits.max_head++) {
        struct story story;
        read_stream(&story, &limits, BYTES(HEAD), 1);
        CHECK_TEXT(story.text, "431");
        free(story.text);
    }
}

TEST(http_head_that_never_ends_is_refused_at_its_bound) {
    static const char *const beginnings[] = {
        "", "GET /", POST "X", POST "X: ", "\r\n\r\nGET / ", POST "X: y\r\n"};
    const struct http_limits limits = {1000, 64, 0};
    for (size_t i = 0; i < COUNT(beginnings); i++) {
        struct http *http = http_new(&limits);
        enum http_state state;
        size_t used = http_take(http, beginnings[i], strlen(beginnings[i]), &state);
        while (state == HTTP_MORE && used <= limits.max_head) {
            used += http_take(http, "x", 1, &state);
        }
        CHECK_INT(used, limits.max_head);
        CHECK_INT(state, HTTP_BAD);
        CHECK_INT(http_request(http)->status, 431);
        http_free(http);
    }
}

/* http-parser's own bound, which is the same for a whole process. */
TEST(http_head_over_80_kib_is_refused_whatever_max_head_says) {
    enum { VALUE = 82000 };
    static char bytes[VALUE + 100];
    const struct http_limits limits = {200000, 64, 0};
    int length =
        snprintf(bytes, sizeof(bytes), "GET / HTTP/1.0\r\nX: %0*d\r\n\r\n", VALUE, 1);
    struct story story;
    read_stream(&story, &limits, bytes, (size_t)length, 1000);
    CHECK_TEXT(story.text, "431");
    free(story.text);
}

TEST(http_heads_of_one_connection_are_counted_one_by_one) {
    const struct http_limits limits = {sizeof(HEAD) - 1, 2, 0};
    check_under(&limits, BYTES(HEAD HEAD HEAD "\r\n" HEAD),
                "GET / 1.1\nhost: a\nx: 12345\n-- keep\n"
                "GET / 1.1\nhost: a\nx: 12345\n-- keep\n"
                "GET / 1.1\nhost: a\nx: 12345\n-- keep\n431");
}

TEST(http_headers_may_be_exactly_max_headers) {
    struct http_limits limits = {8192, 2, 0};
    check_under(&limits, BYTES(HEAD), "GET / 1.1\nhost: a\nx: 12345\n-- keep\n");
    limits.max_headers = 1;
    check_under(&limits, BYTES(HEAD), "431");
    limits.max_headers = 0;
    check_under(&limits, BYTES(HEAD), "431");
    check_under(&limits, BYTES("GET / HTTP/1.0\r\n\r\n"), "GET / 1.0\n--\n");
}

TEST(http_body_may_be_exactly_max_body) {
    struct http_limits limits = {8192, 64, 5};
    check_under(&limits, BYTES(POST "Content-Length: 5\r\n\r\n12345"),
                "POST / 1.1\nhost: a\ncontent-length: 5\n-- keep\n12345");
    check_under(&limits, BYTES(POST "Content-Length: 6\r\n\r\n"), "413");
    check_under(&limits, BYTES(CHUNKED "3\r\n123\r\n2\r\n45\r\n0\r\n\r\n"),
                "POST / 1.1\nhost: a\ntransfer-encoding: chunked\n-- keep\n12345");
    check_under(&limits, BYTES(CHUNKED "5\r\n12345\r\n1\r\n"), "413");
    check_under(&limits, BYTES(CHUNKED "6\r\n"), "413");
    limits.max_body = 0;
    check_under(&limits, BYTES(CHUNKED "0\r\n\r\n"),
                "POST / 1.1\nhost: a\ntransfer-encoding: chunked\n-- keep\n");
    check_under(&limits, BYTES(CHUNKED "1\r\n"), "413");
}

/* A chunked request whose trailer or first extension has `length` bytes. */
static void check_spent(bool trailer, int length, const char *wanted) {
    char bytes[400];
    const struct http_limits limits = {100, 64, 100};
    static const char x[] =
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    int total = trailer ? snprintf(bytes, sizeof(bytes),
                                   CHUNKED "1\r\n1\r\n0\r\nX:%.*s\r\n\r\n", length, x)
                        : snprintf(bytes, sizeof(bytes),
                                   CHUNKED "1;%.*s\r\n1\r\n0\r\n\r\n", length, x);
    check_under(&limits, bytes, (size_t)total, wanted);
}

TEST(http_trailers_and_extensions_are_bounded_by_max_head) {
    static const char whole[] =
        "POST / 1.1\nhost: a\ntransfer-encoding: chunked\n-- keep\n1";
    check_spent(true, 100 - 6, whole);
    check_spent(true, 100 - 5, "431");
    check_spent(true, 110, "431");
    /* Of a line with a size 18 bytes are free, and the last line takes 2. */
    check_spent(false, 118 - 4 - 2, whole);
    check_spent(false, 118 - 4 - 1, "431");
    check_spent(false, 120, "431");
}

TEST(http_trailers_count_as_headers) {
    struct http_limits limits = {8192, 3, 10};
    static const char bytes[] = CHUNKED "1\r\nx\r\n0\r\nA: b\r\n\r\n";
    check_under(&limits, BYTES(bytes),
                "POST / 1.1\nhost: a\ntransfer-encoding: chunked\n-- keep\nx");
    limits.max_headers = 2;
    check_under(&limits, BYTES(bytes), "431");
}

TEST(http_many_small_extensions_are_bounded_together) {
    const struct http_limits limits = {200, 64, 1000};
    struct http *http = http_new(&limits);
    enum http_state state;
    http_take(http, BYTES(CHUNKED), &state);
    int chunks = 0;
    while (state == HTTP_MORE && chunks < 1000) {
        http_take(http, BYTES("1;xxxxxxxxxxxxxxxxxxxxxxxx\r\nx\r\n"), &state);
        chunks++;
    }
    CHECK_INT(http_request(http)->status, 431);
    CHECK_INT(chunks, 200 / (28 - 18) + 1);
    http_free(http);
}

/* Memory */

static size_t size_of_buffer(struct http *http, const char *bytes, size_t length) {
    enum http_state state;
    CHECK_INT(http_take(http, bytes, length, &state), length);
    CHECK_INT(state, HTTP_REQUEST);
    size_t size = malloc_usable_size((void *)(uintptr_t)http_request(http)->bytes);
    http_next(http);
    return size;
}

TEST(http_small_request_holds_a_kilobyte_also_behind_a_large_one) {
    enum { BODY = 60000 };
    static char large[200 + BODY];
    struct http *http = http_new(&roomy);
    int head = snprintf(large, sizeof(large), POST "Content-Length: %d\r\n\r\n", BODY);
    memset(large + head, 'x', BODY);
    CHECK(size_of_buffer(http, BYTES(HEAD)) <= 1024 + 16);
    CHECK(size_of_buffer(http, large, (size_t)head + BODY) >= BODY);
    CHECK(size_of_buffer(http, BYTES(HEAD)) <= 1024 + 16);
    http_free(http);
}

/* Claiming a large body costs the server nothing. */
TEST(http_buffer_grows_with_what_came_not_with_what_was_announced) {
    const struct http_limits limits = {8192, 64, 1u << 30};
    static const char bytes[] =
        POST "Expect: 100-continue\r\nContent-Length: 1073741824\r\n\r\n";
    struct http *http = http_new(&limits);
    enum http_state state;
    http_take(http, BYTES(bytes), &state);
    http_take(http, "x", 1, &state);
    CHECK_INT(state, HTTP_MORE);
    const char *buffer = http_request(http)->bytes;
    CHECK(malloc_usable_size((void *)(uintptr_t)buffer) <= 1024 + 16);
    http_free(http);
}

/* Random */

static void compare_splits(const struct http_limits *limits, const char *bytes,
                           size_t length) {
    struct story whole;
    struct story pieces;
    read_stream(&whole, limits, bytes, length, length);
    read_stream(&pieces, limits, bytes, length, RANDOM_STEPS);
    CHECK_BYTES(pieces.text, pieces.length, whole.text, whole.length);
    free(whole.text);
    free(pieces.text);
}

TEST(http_random_garbage_is_refused_alike_in_any_split) {
    const struct http_limits limits = {300, 8, 50};
    char bytes[500];
    for (int round = 0; round < 2000; round++) {
        size_t length = 1 + test_random(sizeof(bytes));
        for (size_t i = 0; i < length; i++) {
            bytes[i] = (char)test_random(256);
        }
        compare_splits(&limits, bytes, length);
    }
}

/* Some examples in a row, with bytes of them exchanged, left out or doubled. */
TEST(http_damaged_requests_are_read_alike_in_any_split) {
    static const char bytes_that_matter[] = "\r\n\t :;,0x5\0GET";
    const struct http_limits limits = {400, 8, 50};
    char bytes[2000];
    for (int round = 0; round < 5000; round++) {
        size_t length = 0;
        for (int n = 0; n < 4; n++) {
            const struct example *from = n % 2 && test_random(4) == 0
                                             ? &refused[test_random(COUNT(refused))]
                                             : &taken[test_random(COUNT(taken))];
            memcpy(bytes + length, from->bytes, from->length);
            length += from->length;
        }
        for (uint32_t damage = test_random(4); damage > 0; damage--) {
            size_t at = test_random((uint32_t)length - 1);
            if (test_random(2)) {
                bytes[at] = bytes_that_matter[test_random(sizeof(bytes_that_matter))];
            } else {
                memmove(bytes + at, bytes + at + 1, length - at - 1);
                length--;
            }
        }
        compare_splits(&limits, bytes, length);
    }
}
