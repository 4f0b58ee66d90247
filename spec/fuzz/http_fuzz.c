/* http_fuzz.c: the reader of HTTP requests.
 *
 * The input is a few bytes that choose limits, and a stream. Read whole, byte by byte and
 * in pieces of other sizes it must tell the same. No request is over its limits, its head
 * is the text that http.h promises, and written out again it is read as the same request.
 */
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "http/parser.h"

/* What a reader told of a stream, as one text. */
struct story {
    char *text;
    size_t length;
    FILE *file;
};

static void story_open(struct story *story) {
    story->file = open_memstream(&story->text, &story->length);
    FUZZ_REQUIRE(story->file != NULL);
}

static bool is_of_name(char byte) {
    return byte != '\0' &&
           strchr("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz", byte);
}

/* Returns what is behind a header's line. */
static const char *check_header(const char *line, const char *end) {
    const char *name_end = line;
    while (name_end < end && is_of_name(*name_end)) {
        name_end++;
    }
    FUZZ_REQUIRE(name_end > line && end - name_end >= 3);
    FUZZ_REQUIRE(memcmp(name_end, ": ", 2) == 0);
    const char *value = name_end + 2;
    const char *line_end = memchr(value, '\n', (size_t)(end - value));
    FUZZ_REQUIRE(line_end != NULL);
    if (line_end > value) {
        FUZZ_REQUIRE(!strchr(" \t", value[0]) && !strchr(" \t", line_end[-1]));
    }
    for (const char *at = value; at < line_end; at++) {
        FUZZ_REQUIRE(*at == '\t' || ((unsigned char)*at >= ' ' && *at != 127));
    }
    return line_end + 1;
}

static const char *check_request_line(const char *line, const char *end) {
    const char *line_end = memchr(line, '\n', (size_t)(end - line));
    FUZZ_REQUIRE(line_end != NULL && line_end - line >= 7);
    FUZZ_REQUIRE(memcmp(line_end - 4, " 1.", 3) == 0);
    FUZZ_REQUIRE(line_end[-1] == '0' || line_end[-1] == '1');
    size_t blanks = 0;
    for (const char *at = line; at < line_end; at++) {
        FUZZ_REQUIRE(*at >= ' ' && *at < 127);
        blanks += *at == ' ';
    }
    FUZZ_REQUIRE(blanks == 2);
    return line_end + 1;
}

static void check_request(const struct http_request *request,
                          const struct http_limits *limits) {
    const char *end = request->bytes + request->head_length;
    uint32_t headers = 0;
    FUZZ_REQUIRE(request->head_length <= request->length);
    FUZZ_REQUIRE(request->head_length < limits->max_head);
    FUZZ_REQUIRE(request->length - request->head_length <= limits->max_body);
    FUZZ_REQUIRE(!request->upgrade || request->length == request->head_length);
    const char *line = check_request_line(request->bytes, end);
    while (line < end) {
        line = check_header(line, end);
        headers++;
    }
    FUZZ_REQUIRE(headers <= limits->max_headers);
}

static void tell(FILE *file, const struct http_request *request) {
    fprintf(file, "%zu %zu %d%d%d ", request->head_length, request->length,
            request->keep_alive, request->upgrade, request->expect_continue);
    fwrite(request->bytes, 1, request->length, file);
}

/* Tells what was found. Returns whether the reader goes on. */
static bool look_at(struct http *http, enum http_state state, FILE *file,
                    const struct http_limits *limits) {
    const struct http_request *request = http_request(http);
    switch (state) {
    case HTTP_CONTINUE:
        FUZZ_REQUIRE(request->expect_continue && !request->upgrade);
        FUZZ_REQUIRE(request->length == request->head_length);
        check_request(request, limits);
        fputs("continue ", file);
        return true;
    case HTTP_REQUEST:
        check_request(request, limits);
        tell(file, request);
        http_next(http);
        return true;
    case HTTP_BAD:
        FUZZ_REQUIRE(request->status >= 400 && request->reason != NULL);
        FUZZ_REQUIRE(request->bytes == NULL && request->length == 0);
        fprintf(file, "bad %d %s", request->status, request->reason);
        return false;
    default: return true;
    }
}

/* What it holds is in proportion to what it was given and bounded by the limits. */
static void check_memory(struct http *http, size_t given,
                         const struct http_limits *limits) {
    size_t most = (size_t)2 * limits->max_head + limits->max_body + 18;
    size_t held = malloc_usable_size((void *)(uintptr_t)http_request(http)->bytes);
    FUZZ_REQUIRE(held <= 1024 + 2 * (given < most ? given : most));
}

/* Gives pieces of `step` bytes, or of random sizes when it is 0. */
static void read_stream(struct story *story, const struct http_limits *limits,
                        const uint8_t *bytes, size_t length, size_t step, uint32_t seed) {
    struct http *http = http_new(limits);
    FUZZ_REQUIRE(http != NULL);
    story_open(story);
    enum http_state state = HTTP_MORE;
    bool on = true;
    size_t done = 0;
    while (done < length && on) {
        seed = seed * 1664525 + 1013904223;
        size_t most = step ? step : 1 + (seed >> 16) % 37;
        size_t given = length - done < most ? length - done : most;
        size_t used = http_take(http, (const char *)bytes + done, given, &state);
        FUZZ_REQUIRE(used <= given);
        FUZZ_REQUIRE(state != HTTP_MORE || used == given);
        done += used;
        check_memory(http, done, limits);
        on = look_at(http, state, story->file, limits);
    }
    fprintf(story->file, " %zu", done);
    http_free(http);
    fclose(story->file);
}

static void require_same(const struct story *one, const struct story *other) {
    FUZZ_REQUIRE(one->length == other->length);
    FUZZ_REQUIRE(memcmp(one->text, other->text, one->length) == 0);
}

/* Writes a request as a client would. */
static void write_request(FILE *file, const struct http_request *request) {
    const char *line = request->bytes;
    const char *end = request->bytes + request->head_length;
    bool chunked = false;
    while (line < end) {
        const char *line_end = memchr(line, '\n', (size_t)(end - line));
        if (line == request->bytes) {
            fprintf(file, "%.*sHTTP/%.3s\r\n", (int)(line_end - 3 - line), line,
                    line_end - 3);
        } else {
            fprintf(file, "%.*s\r\n", (int)(line_end - line), line);
            chunked |= strncmp(line, "transfer-encoding:", 18) == 0;
        }
        line = line_end + 1;
    }
    fputs("\r\n", file);
    size_t body = request->length - request->head_length;
    if (chunked && body > 0) {
        fprintf(file, "%zx\r\n", body);
    }
    fwrite(end, 1, body, file);
    if (chunked) {
        fputs(body > 0 ? "\r\n0\r\n\r\n" : "0\r\n\r\n", file);
    }
}

/* A request that was read, written, and read again is the same, and used up. */
static void check_again(const struct http_request *request,
                        const struct http_limits *limits) {
    struct http_limits wider = *limits;
    wider.max_head *= 2; /* a blank more in each header */
    struct story written;
    story_open(&written);
    write_request(written.file, request);
    fclose(written.file);
    struct http *http = http_new(&wider);
    enum http_state state;
    size_t used = http_take(http, written.text, written.length, &state);
    if (state == HTTP_CONTINUE) {
        FUZZ_REQUIRE(request->expect_continue);
        used += http_take(http, written.text + used, written.length - used, &state);
    }
    FUZZ_REQUIRE(state == HTTP_REQUEST);
    FUZZ_REQUIRE(used == written.length);
    struct story seen;
    struct story wanted;
    story_open(&seen);
    story_open(&wanted);
    tell(seen.file, http_request(http));
    tell(wanted.file, request);
    fclose(seen.file);
    fclose(wanted.file);
    require_same(&seen, &wanted);
    free(seen.text);
    free(wanted.text);
    free(written.text);
    http_free(http);
}

static void check_all_again(const struct http_limits *limits, const uint8_t *bytes,
                            size_t length) {
    struct http *http = http_new(limits);
    enum http_state state = HTTP_MORE;
    for (size_t done = 0; done < length && state != HTTP_BAD;) {
        done += http_take(http, (const char *)bytes + done, length - done, &state);
        if (state == HTTP_REQUEST) {
            check_again(http_request(http), limits);
            http_next(http);
        }
    }
    http_free(http);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    struct input input = {bytes, length};
    uint32_t seed = input_byte(&input);
    struct http_limits limits = {
        .max_head = 64u << input_byte(&input) % 8,
        .max_headers = input_byte(&input) % 65,
        .max_body = input_below(&input, 4096),
    };
    struct story whole;
    struct story single;
    struct story pieces;
    read_stream(&whole, &limits, input.bytes, input.length, input.length, 0);
    read_stream(&single, &limits, input.bytes, input.length, 1, 0);
    read_stream(&pieces, &limits, input.bytes, input.length, 0, seed);
    require_same(&single, &whole);
    require_same(&pieces, &whole);
    free(whole.text);
    free(single.text);
    free(pieces.text);
    check_all_again(&limits, input.bytes, input.length);
    return 0;
}
