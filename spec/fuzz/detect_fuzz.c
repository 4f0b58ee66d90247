/* detect_fuzz.c: which protocol a client speaks.
 *
 * Every beginning of the input must say "more" or what all longer ones say, and what the
 * table of first bytes says. Then clients send it whole, byte by byte and in pieces of
 * other sizes, and must be told the same things, and tell the program the same.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn/detect.h"
#include "fuzz.h"
#include "sync.h"

enum { ALL = SYNC_STREAMS | SYNC_WEBSOCKET | SYNC_HTTP | SYNC_POLICY | SYNC_TLS };

static const struct {
    uint32_t transports;
    enum detected found;
    uint32_t length;
    const char *bytes;
} patterns[] = {
    {SYNC_TLS, DETECT_TLS, 2, "\x16\x03"},
    {SYNC_POLICY, DETECT_POLICY, 23, "<policy-file-request/>\0"},
    {SYNC_HTTP | SYNC_WEBSOCKET, DETECT_HTTP, 4, "GET "},
    {SYNC_HTTP | SYNC_WEBSOCKET, DETECT_HTTP, 4, "PUT "},
    {SYNC_HTTP | SYNC_WEBSOCKET, DETECT_HTTP, 5, "HEAD "},
    {SYNC_HTTP | SYNC_WEBSOCKET, DETECT_HTTP, 5, "POST "},
    {SYNC_HTTP | SYNC_WEBSOCKET, DETECT_HTTP, 6, "PATCH "},
    {SYNC_HTTP | SYNC_WEBSOCKET, DETECT_HTTP, 7, "DELETE "},
    {SYNC_HTTP | SYNC_WEBSOCKET, DETECT_HTTP, 8, "OPTIONS "},
};

static enum detected wanted_of(const char *bytes, size_t length, uint32_t transports) {
    bool more = length == 0 && (transports & ~(uint32_t)SYNC_STREAMS);
    for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++) {
        size_t size = patterns[i].length < length ? patterns[i].length : length;
        if ((patterns[i].transports & transports) &&
            memcmp(bytes, patterns[i].bytes, size) == 0) {
            if (size == patterns[i].length) {
                return patterns[i].found;
            }
            more = true;
        }
    }
    return more ? DETECT_MORE : DETECT_STREAM;
}

static void check_beginnings(const char *bytes, size_t length, uint32_t transports) {
    enum detected last = DETECT_MORE;
    for (size_t part = 0; part <= length && part <= 40; part++) {
        char *copy = malloc(part ? part : 1);
        FUZZ_REQUIRE(copy != NULL);
        memcpy(copy, bytes, part);
        enum detected found = detect(copy, part, transports);
        free(copy);
        FUZZ_REQUIRE(found == wanted_of(bytes, part, transports));
        FUZZ_REQUIRE(last == DETECT_MORE || found == last);
        last = found;
    }
}

/* A request's line is told by its end, whether it's looked at anew or goes on. */
static void check_request_line(const char *bytes, size_t length) {
    enum detected last = DETECT_MORE;
    size_t scanned = 0;
    for (size_t part = 0; part <= length && part <= 200; part++) {
        char *copy = malloc(part ? part : 1);
        FUZZ_REQUIRE(copy != NULL);
        memcpy(copy, bytes, part);
        size_t fresh = 0;
        enum detected found = detect_request_line(copy, part, &fresh);
        FUZZ_REQUIRE(last != DETECT_MORE ||
                     detect_request_line(copy, part, &scanned) == found);
        FUZZ_REQUIRE(last == DETECT_MORE || found == last);
        free(copy);
        last = found;
    }
}

/* Through connections */

static const char policy[] = "<cross-domain-policy/>";
static const char answer[] = "HTTP/1.1 204 No Content\r\n\r\n";

struct text {
    char *bytes;
    size_t length;
    FILE *file;
};

/* What the program was told, and what the client was sent. */
struct story {
    struct text events;
    struct text sent;
    bool closed;
};

static void text_open(struct text *text) {
    text->file = open_memstream(&text->bytes, &text->length);
    FUZZ_REQUIRE(text->file != NULL);
}

static struct sync *core;

/* Ticks until nothing more happens. */
static void settle(struct story *story) {
    char sent[1024];
    FILE *file = story->events.file;
    for (;;) {
        int32_t count = sync_poll(core, 0);
        for (int32_t i = 0; i < count; i++) {
            struct sync_event event = core->events[i];
            fprintf(file, "<%u %u ", event.type, event.length);
            fwrite(event.data, 1, event.length, file);
            if (event.type == SYNC_REQUEST) {
                sync_respond(core, event.id, answer, sizeof(answer) - 1, 1);
            } else if (event.type == SYNC_CLOSE) {
                fprintf(file, "%u", event.value);
                story->closed = true;
            }
        }
        sync_flush(core);
        uint32_t taken = sync_memory_take(core, 1, sent, sizeof(sent));
        fwrite(sent, 1, taken, story->sent.file);
        if (count <= 0 && taken == 0) {
            return;
        }
    }
}

/* Feeds pieces of `step` bytes, or of random sizes when it is 0. */
static void tell(struct story *story, uint32_t transports, const char *bytes,
                 size_t length, size_t step, uint32_t seed) {
    struct sync_options options = {
        .framing = SYNC_FRAMING_NULL,
        .max_message = 65536,
        .max_queue = 1 << 20,
        .high_water = 1 << 20,
        .max_clients = 10,
        .transports = transports,
        .max_head = 2048,
        .max_headers = 32,
        .max_body = 2048,
    };
    core = sync_open();
    FUZZ_REQUIRE(core != NULL);
    int32_t listener = sync_listen(core, "memory:", 0, &options);
    FUZZ_REQUIRE(listener > 0);
    FUZZ_REQUIRE(sync_listener_policy(core, 1, policy, sizeof(policy) - 1) == 0);
    FUZZ_REQUIRE(sync_memory_connect(core, (uint32_t)listener) == 1);
    *story = (struct story){.closed = false};
    text_open(&story->events);
    text_open(&story->sent);
    for (size_t at = 0; at < length && !story->closed;) {
        seed = seed * 1664525 + 1013904223;
        size_t most = step ? step : 1 + (seed >> 16) % 37;
        size_t size = length - at < most ? length - at : most;
        FUZZ_REQUIRE(sync_memory_feed(core, 1, bytes + at, (uint32_t)size) == size);
        settle(story);
        at += size;
    }
    sync_memory_end(core, 1);
    settle(story);
    fclose(story->events.file);
    fclose(story->sent.file);
    FUZZ_REQUIRE(story->closed);
    sync_close(core);
}

static void require_same(const struct text *one, const struct text *other) {
    FUZZ_REQUIRE(one->length == other->length);
    FUZZ_REQUIRE(memcmp(one->bytes, other->bytes, one->length) == 0);
}

static void forget(struct story *story) {
    free(story->events.bytes);
    free(story->sent.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    struct input input = {bytes, length};
    uint32_t transports = input_byte(&input) & ALL;
    uint32_t seed = input_byte(&input);
    const char *text = (const char *)input.bytes;
    check_beginnings(text, input.length, transports);
    check_request_line(text, input.length);
    struct story whole;
    struct story single;
    struct story pieces;
    tell(&whole, transports, text, input.length, input.length, 0);
    tell(&single, transports, text, input.length, 1, 0);
    tell(&pieces, transports, text, input.length, 0, seed);
    require_same(&single.events, &whole.events);
    require_same(&single.sent, &whole.sent);
    require_same(&pieces.events, &whole.events);
    require_same(&pieces.sent, &whole.sent);
    forget(&whole);
    forget(&single);
    forget(&pieces);
    return 0;
}
