/* websocket_fuzz.c: WebSockets, whatever their clients send.
 *
 * The input is a few bytes that choose what was agreed on, and what a client sends:
 * either its very bytes, or choices that frames are made of, masked and compressed
 * rightly. Three clients send it, whole, byte by byte and in pieces of other sizes. All
 * three must give the program the same messages, none over max_message, be sent the same
 * frames, and end for the same reason with the same code. However well a message packs,
 * no tick gives more than its share.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn/codec.h"
#include "fuzz.h"
#include "sync.h"
#include "websocket/deflate.h"

enum {
    STREAM_MOST = 1 << 16,   /* bytes that a client sends */
    STORY_MOST = 1 << 18,    /* bytes of messages that are kept */
    REPEATED_MOST = 1 << 18, /* bytes of a message that packs well */
    TICK_WORK = 1024,        /* of one client, in messages or times 128 bytes */
    QUIET_TICKS = 4,         /* in which a message may be inflated without an event */
    CLOSE = 8,               /* opcodes */
    PING = 9,
    PONG = 10,
    PACKED = 0x40, /* RSV1 */
    FIN = 0x80
};

static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
                              "Connection: Upgrade\r\n\r\n";
static const char accepted[] = "HTTP/1.1 101 Switching Protocols\r\n\r\n";

static struct sync *core;
static struct sync_options options;
static struct sync_websocket settings;

/* What a client sends. */
struct stream {
    char bytes[STREAM_MOST + 1024];
    size_t length;
};

/* What came of it. */
struct story {
    uint32_t slot;
    char *messages; /* each behind its length */
    size_t length;
    FILE *file;
    char *sent; /* the frames that the client was sent */
    size_t sent_length;
    FILE *sent_file;
    uint32_t code;
    uint32_t reason; /* 0: it's still open */
    bool capped;     /* there were more messages than are kept */
};

/* Frames made of choices */

static void add_frame(struct stream *stream, uint8_t first, const char *payload,
                      size_t length, uint32_t mask) {
    char *at = stream->bytes + stream->length;
    char key[4] = {(char)mask, (char)(mask >> 8), (char)(mask >> 1), (char)~mask};
    *at++ = (char)first;
    if (length > 125) {
        *at++ = (char)(FIN | 126);
        *at++ = (char)(length >> 8);
        *at++ = (char)length;
    } else {
        *at++ = (char)(FIN | length);
    }
    memcpy(at, key, sizeof(key));
    at += sizeof(key);
    for (size_t i = 0; i < length; i++) {
        *at++ = (char)(payload[i] ^ key[i % 4]);
    }
    stream->length = (size_t)(at - stream->bytes);
}

/* A compressed message, in one frame; or, without FIN, in two with a ping between. */
static void add_packed(struct stream *stream, struct deflater *deflater, uint8_t first,
                       const char *payload, size_t length, uint32_t mask) {
    static char packed[REPEATED_MOST];
    ssize_t size = deflater_message(deflater, settings.receive_takeover, payload, length,
                                    packed, sizeof(packed));
    FUZZ_REQUIRE(size > 0);
    size_t part = first & FIN ? (size_t)size : (size_t)mask % ((size_t)size + 1);
    add_frame(stream, first, packed, part, mask);
    if (!(first & FIN)) {
        add_frame(stream, FIN | PING, payload, length < 125 ? length : 125, mask);
        add_frame(stream, FIN, packed + part, (size_t)size - part, mask);
    }
}

/* Bytes that repeat others up to a length which their first ones choose. */
static const char *repeat(const char *payload, size_t *length) {
    static char bytes[REPEATED_MOST];
    size_t total =
        *length < 2 ? 0 : (size_t)(uint8_t)payload[0] << (uint8_t)payload[1] % 10;
    total = total > *length ? total : *length;
    for (size_t i = 0; i < total; i++) {
        bytes[i] = payload[i % *length];
    }
    *length = total;
    return bytes;
}

static void build(struct stream *stream, struct input *input) {
    /* Likely first bytes; beyond them the input's own. */
    static const uint8_t likely[] = {0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x80,
                                     0x89, 0x8a, 0xc1, 0xc2, 0x41, 0x42, 0x88};
    struct deflater *deflater =
        deflater_new(settings.deflate ? (int)settings.receive_window_bits : 15, 6);
    FUZZ_REQUIRE(deflater != NULL);
    while (input->length > 0 && stream->length < STREAM_MOST - 2048) {
        uint8_t kind = input_byte(input) % 16;
        uint8_t first = kind < sizeof(likely) ? likely[kind] : input_byte(input);
        size_t length = input_byte(input);
        length = length < input->length ? length : input->length;
        uint32_t mask = input_byte(input);
        length = length < input->length ? length : input->length;
        const char *payload = (const char *)input->bytes;
        if (settings.deflate && (first & PACKED)) {
            size_t whole = length;
            const char *repeated = mask & 1 ? repeat(payload, &whole) : payload;
            add_packed(stream, deflater, first, repeated, whole, mask);
        } else {
            add_frame(stream, first, payload, length, mask);
        }
        input->bytes += length;
        input->length -= length;
    }
    deflater_free(deflater);
}

/* Clients */

static void hear(struct story *story, const struct sync_event *event) {
    switch (event->type) {
    case SYNC_REQUEST:
        FUZZ_REQUIRE(sync_upgrade(core, event->id, accepted, sizeof(accepted) - 1,
                                  &settings) == SYNC_SENT);
        break;
    case SYNC_DATA:
        FUZZ_REQUIRE(story->reason == 0);
        FUZZ_REQUIRE(event->length <= options.max_message);
        if (ftell(story->file) > STORY_MOST) {
            story->capped = true;
        } else {
            fwrite(&event->length, sizeof(event->length), 1, story->file);
            fwrite(event->data, 1, event->length, story->file);
        }
        break;
    case SYNC_CLOSE:
        FUZZ_REQUIRE(story->reason == 0);
        story->reason = event->value;
        story->code = sync_close_code(core, event->id);
        break;
    default: FUZZ_REQUIRE(false);
    }
}

static uint32_t take_sent(struct story *story) {
    char sent[4096];
    uint32_t taken = sync_memory_take(core, story->slot, sent, sizeof(sent));
    fwrite(sent, 1, taken, story->sent_file);
    return taken;
}

/* One tick. Returns whether something happened. */
static bool tick(struct story *story) {
    int32_t count = sync_poll(core, 0);
    uint32_t work = 0;
    for (int32_t i = 0; i < count; i++) {
        struct sync_event event = core->events[i];
        FUZZ_REQUIRE(event.id == story->slot);
        FUZZ_REQUIRE(work < TICK_WORK || event.type != SYNC_DATA);
        work += event.type == SYNC_DATA ? 1 + event.length / 128 : 0;
        hear(story, &event);
    }
    sync_flush(core);
    story->code = story->reason ? story->code : sync_close_code(core, story->slot);
    return count > 0;
}

/* Ticks until nothing more happens. What is sent stays until then, as a close takes the
 * connection away when it was read. */
static void settle(struct story *story) {
    for (int quiet = 0; quiet < QUIET_TICKS && !story->capped; quiet++) {
        bool busy = tick(story);
        if (busy || take_sent(story) > 0) {
            quiet = -1;
        }
    }
}

/* Feeds pieces of `step` bytes, or of random sizes when it is 0. */
static void tell(struct story *story, const struct stream *stream, size_t step,
                 uint32_t seed) {
    int32_t slot = sync_memory_connect(core, 1);
    FUZZ_REQUIRE(slot > 0);
    *story = (struct story){.slot = (uint32_t)slot};
    story->file = open_memstream(&story->messages, &story->length);
    story->sent_file = open_memstream(&story->sent, &story->sent_length);
    FUZZ_REQUIRE(story->file != NULL && story->sent_file != NULL);
    FUZZ_REQUIRE(sync_memory_feed(core, story->slot, request, sizeof(request) - 1) > 0);
    settle(story);
    for (size_t at = 0; at < stream->length && story->reason == 0 && !story->capped;) {
        seed = seed * 1664525 + 1013904223;
        size_t most = step ? step : 1 + (seed >> 16) % 37;
        size_t size = stream->length - at < most ? stream->length - at : most;
        FUZZ_REQUIRE(sync_memory_feed(core, story->slot, stream->bytes + at,
                                      (uint32_t)size) == size);
        if (step > 0) {
            settle(story);
        } else {
            tick(story); /* the next comes while something is under way */
        }
        at += size;
    }
    settle(story);
    sync_abort(core, story->slot);
    while (core->client_count > 0) {
        sync_poll(core, 0);
        sync_flush(core);
    }
    fclose(story->file);
    fclose(story->sent_file);
}

/* What a server sends: whole, unmasked frames of pongs, and at the end a Close. */
static void check_sent(const struct story *story) {
    const char *at = story->sent + sizeof(accepted) - 1;
    const char *end = story->sent + story->sent_length;
    FUZZ_REQUIRE(story->sent_length >= sizeof(accepted) - 1);
    bool closed = false;
    while (at < end && !story->capped) {
        FUZZ_REQUIRE(!closed && end - at >= 2);
        uint8_t first = (uint8_t)at[0];
        uint8_t length = (uint8_t)at[1];
        FUZZ_REQUIRE(length <= 125 && end - at >= 2 + length);
        closed = first == (FIN | CLOSE);
        FUZZ_REQUIRE(closed || first == (FIN | PONG));
        if (closed && length > 0) {
            FUZZ_REQUIRE(length == 2);
            uint32_t code = (uint32_t)(uint8_t)at[2] << 8 | (uint8_t)at[3];
            FUZZ_REQUIRE(code == story->code);
        }
        at += 2 + length;
    }
    FUZZ_REQUIRE(story->capped || closed == (story->code != 0));
    FUZZ_REQUIRE(story->capped || closed == (story->reason != 0));
}

/* Where a compressed message is wrong in two ways, which one shows first depends on how
 * much of it is inflated at a time. */
static uint32_t kind_of(uint32_t code) {
    return settings.deflate && code == 1009 ? 1007 : code;
}

/* A compressed byte stream is cut when as much was inflated as came at a time, and ends
 * there when that is corrupt or far too much: then one may have heard more than another.
 */
static void require_same(const struct story *one, const struct story *other) {
    bool stream = settings.deflate && settings.mode == SYNC_WEBSOCKET_MIRROR &&
                  options.framing != SYNC_FRAMING_RAW;
    bool ended = kind_of(one->code) == 1007 || kind_of(other->code) == 1007;
    size_t least = one->length < other->length ? one->length : other->length;
    FUZZ_REQUIRE(memcmp(one->messages, other->messages, least) == 0);
    if (one->capped || other->capped || (stream && ended)) {
        return;
    }
    FUZZ_REQUIRE(one->length == other->length);
    FUZZ_REQUIRE(kind_of(one->code) == kind_of(other->code));
    FUZZ_REQUIRE(settings.deflate || one->reason == other->reason);
    FUZZ_REQUIRE((one->reason == 0) == (other->reason == 0));
    FUZZ_REQUIRE(one->sent_length == other->sent_length);
    size_t same = one->sent_length - (one->reason ? 2 : 0); /* but for the code */
    FUZZ_REQUIRE(memcmp(one->sent, other->sent, same) == 0);
}

static void forget(struct story *story) {
    free(story->messages);
    free(story->sent);
}

/* Settings of a few bytes. */
static void choose(struct input *input) {
    uint8_t how = input_byte(input);
    uint8_t deflate = input_byte(input);
    options = (struct sync_options){
        .framing = how % CODEC_COUNT,
        .max_message = input_below(input, 3000) << deflate % 2 * (how / 32),
        .max_queue = 1 << 20,
        .high_water = 1 << 20,
        .max_clients = 10,
        .transports = SYNC_HTTP | SYNC_WEBSOCKET,
        .max_head = 2048,
        .max_headers = 32,
    };
    uint32_t bits = 9 + deflate / 8 % 7;
    settings = (struct sync_websocket){
        .mode = how / 8 % 2 ? SYNC_WEBSOCKET_MESSAGES : SYNC_WEBSOCKET_MIRROR,
        .binary = how / 16 % 2,
        .deflate = deflate % 2,
        .send_window_bits = bits,
        .receive_window_bits = bits,
        .send_takeover = deflate / 2 % 2,
        .receive_takeover = deflate / 4 % 2,
    };
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    static struct stream stream;
    struct input input = {bytes, length};
    bool built = input_byte(&input) % 2;
    uint32_t seed = input_byte(&input);
    choose(&input);
    stream.length = 0;
    if (built) {
        build(&stream, &input);
    } else {
        stream.length = input.length < STREAM_MOST ? input.length : STREAM_MOST;
        memcpy(stream.bytes, input.bytes, stream.length);
    }
    core = sync_open();
    FUZZ_REQUIRE(core != NULL);
    FUZZ_REQUIRE(sync_listen(core, "memory:", 0, &options) == 1);
    struct story whole;
    struct story single;
    struct story pieces;
    tell(&whole, &stream, STREAM_MOST, 0);
    tell(&single, &stream, 1, 0);
    tell(&pieces, &stream, 0, seed);
    check_sent(&whole);
    check_sent(&single);
    check_sent(&pieces);
    require_same(&single, &whole);
    require_same(&pieces, &whole);
    forget(&whole);
    forget(&single);
    forget(&pieces);
    sync_close(core);
    return 0;
}
