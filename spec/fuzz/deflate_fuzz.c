/* deflate_fuzz.c: permessage-deflate's payloads.
 *
 * The input is a few bytes that choose, and payloads. Inflated whole, byte by byte and in
 * pieces of other sizes they must tell the same, and zlib alone must read it so, too.
 * Then the input is taken as messages, which must come back as they were.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "fuzz.h"
#include "websocket/deflate.h"

/* A caller stops where a message is longer than it takes. */
enum { MESSAGE_MOST = 20000, STOPPED = 100, MESSAGES_MOST = 32 };

struct choices {
    int window_bits;
    int level;
    uint32_t keeps; /* a bit for each message */
    uint32_t resets;
    size_t step; /* bytes of a message */
};

/* How input and output are cut up; 0: pieces of random sizes. */
struct way {
    size_t in;
    size_t out;
    uint32_t seed;
};

/* What was inflated of a stream of messages. */
struct story {
    int end; /* of the last message: an enum inflated, or STOPPED */
    size_t messages;
    size_t length;
    size_t lengths[MESSAGES_MOST];
    char bytes[MESSAGES_MOST * MESSAGE_MOST];
};

static bool bit_of(uint32_t bits, size_t i) {
    return (bits >> i % 32 & 1) != 0;
}

static size_t size_of(struct way *way, size_t size) {
    way->seed = way->seed * 1664525 + 1013904223;
    return size ? size : 1 + (way->seed >> 16) % 300;
}

static char *take_memory(size_t size) {
    char *memory = malloc(size ? size : 1);
    FUZZ_REQUIRE(memory != NULL);
    return memory;
}

static char *copy_of(const char *bytes, size_t length) {
    char *copy = take_memory(length);
    memcpy(copy, bytes, length);
    return copy;
}

/* Adds what a call has written. Returns how it goes on. */
static int tell(struct story *story, enum inflated state, const char *bytes,
                size_t length) {
    size_t *told = &story->lengths[story->messages];
    size_t room = MESSAGE_MOST - *told;
    size_t size = length < room ? length : room;
    memcpy(story->bytes + story->length, bytes, size);
    story->length += size;
    *told += size;
    return length > room ? STOPPED : (int)state;
}

/* One call, with room that ends where a sanitizer watches. */
static int call(struct inflater *inflater, bool finish, bool keep, const char **bytes,
                size_t *length, struct way *way, struct story *story) {
    size_t room = size_of(way, way->out);
    char *out = take_memory(room);
    const char *begin = *bytes;
    size_t given = *length;
    size_t written = room;
    enum inflated state = finish ? inflater_finish(inflater, keep, out, &written)
                                 : inflater_run(inflater, bytes, length, out, &written);
    FUZZ_REQUIRE(written <= room && *length <= given);
    FUZZ_REQUIRE((size_t)(*bytes - begin) == given - *length);
    FUZZ_REQUIRE(state != INFLATE_NO_MEMORY);
    FUZZ_REQUIRE(state != INFLATE_MORE || written == room);
    FUZZ_REQUIRE(state != INFLATE_DONE || finish || *length == 0);
    int end = tell(story, state, out, written);
    free(out);
    return end;
}

static int inflate_part(struct inflater *inflater, const char *bytes, size_t length,
                        struct way *way, struct story *story) {
    char *copy = copy_of(bytes, length);
    const char *at = copy;
    int end;
    do {
        end = call(inflater, false, false, &at, &length, way, story);
    } while (end == INFLATE_MORE);
    free(copy);
    return end;
}

static int inflate_message(struct inflater *inflater, bool keep, const char *bytes,
                           size_t length, struct way *way, struct story *story) {
    while (length > 0) {
        size_t most = size_of(way, way->in);
        size_t size = length < most ? length : most;
        int end = inflate_part(inflater, bytes, size, way, story);
        if (end != INFLATE_DONE) {
            return end;
        }
        bytes += size;
        length -= size;
    }
    int end;
    do {
        end = call(inflater, true, keep, &bytes, &length, way, story);
    } while (end == INFLATE_MORE);
    return end;
}

/* The payloads are those of `step` bytes of the stream each. */
static struct story *inflate_stream(const struct choices *choices, const char *bytes,
                                    size_t length, struct way way) {
    struct story *story = calloc(1, sizeof(*story));
    struct inflater *inflater = inflater_new(choices->window_bits);
    FUZZ_REQUIRE(story != NULL && inflater != NULL);
    while (length > 0 && story->end == INFLATE_DONE && story->messages < MESSAGES_MOST) {
        size_t size = length < choices->step ? length : choices->step;
        bool keep = bit_of(choices->keeps, story->messages);
        story->end = inflate_message(inflater, keep, bytes, size, &way, story);
        story->messages++;
        bytes += size;
        length -= size;
    }
    inflater_free(inflater);
    return story;
}

/* A payload that reaches over a window below 15 bits is found to do so or not, depending
 * on how it is cut up; what both have told is the same. */
static void require_same(const struct choices *choices, const struct story *one,
                         const struct story *other) {
    bool narrow = choices->window_bits < DEFLATE_MOST_BITS;
    if (narrow && (one->end == INFLATE_CORRUPT || other->end == INFLATE_CORRUPT)) {
        size_t length = one->length < other->length ? one->length : other->length;
        FUZZ_REQUIRE(memcmp(one->bytes, other->bytes, length) == 0);
        return;
    }
    FUZZ_REQUIRE(one->end == other->end && one->messages == other->messages);
    FUZZ_REQUIRE(memcmp(one->lengths, other->lengths, sizeof(one->lengths)) == 0);
    FUZZ_REQUIRE(memcmp(one->bytes, other->bytes, one->length) == 0);
}

/* zlib, given the first payload and its tail at once, gives out the same. */
static void check_with_zlib(const struct choices *choices, const char *bytes,
                            size_t length, const struct story *story) {
    size_t first = length < choices->step ? length : choices->step;
    if (first == 0 || (story->messages == 1 && story->end != INFLATE_DONE)) {
        return;
    }
    char *payload = take_memory(first + 4);
    char *out = take_memory(MESSAGE_MOST + 1);
    memcpy(payload, bytes, first);
    memcpy(payload + first, "\0\0\xff\xff", 4);
    z_stream stream = {
        .next_in = (Bytef *)payload,
        .avail_in = (uInt)first + 4,
        .next_out = (Bytef *)out,
        .avail_out = MESSAGE_MOST + 1,
    };
    FUZZ_REQUIRE(inflateInit2(&stream, -15) == Z_OK);
    int result = inflate(&stream, Z_SYNC_FLUSH);
    size_t written = MESSAGE_MOST + 1 - stream.avail_out;
    inflateEnd(&stream);
    if (result == Z_STREAM_END) { /* where zlib alone stops */
        FUZZ_REQUIRE(written <= story->lengths[0]);
    } else {
        FUZZ_REQUIRE(result == Z_OK && written == story->lengths[0]);
    }
    FUZZ_REQUIRE(memcmp(out, story->bytes, written) == 0);
    free(payload);
    free(out);
}

static void check_inflating(const struct choices *choices, const char *bytes,
                            size_t length, uint32_t seed) {
    struct story *whole =
        inflate_stream(choices, bytes, length, (struct way){SIZE_MAX, 1 << 15, 0});
    static const struct way ways[] = {{1, 1, 0}, {1, 1 << 15, 0}, {0, 0, 0}};
    for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
        struct way way = ways[i];
        way.seed = seed;
        struct story *other = inflate_stream(choices, bytes, length, way);
        require_same(choices, whole, other);
        free(other);
    }
    check_with_zlib(choices, bytes, length, whole);
    free(whole);
}

/* One message there and back. An inflater that is new each time reads what must refer to
 * nothing before. */
static void check_message(struct deflater *deflater, struct inflater *inflater, bool keep,
                          const char *bytes, size_t length, uint32_t seed) {
    static struct story story;
    char *text = copy_of(bytes, length);
    size_t bound = deflater_bound(deflater, length);
    char *payload = take_memory(bound);
    ssize_t size = deflater_message(deflater, keep, text, length, payload, bound);
    FUZZ_REQUIRE(size > 0 && (size_t)size <= bound);
    story.messages = 0;
    story.length = 0;
    story.lengths[0] = 0;
    struct way way = {.seed = seed};
    int end = inflate_message(inflater, keep, payload, (size_t)size, &way, &story);
    FUZZ_REQUIRE(end == INFLATE_DONE && story.length == length);
    FUZZ_REQUIRE(memcmp(story.bytes, text, length) == 0);
    free(payload);
    free(text);
}

/* A reset deflater's messages are read by an inflater that knows nothing. */
static void check_round_trip(const struct choices *choices, const char *bytes,
                             size_t length, uint32_t seed) {
    struct deflater *deflater = deflater_new(choices->window_bits, choices->level);
    struct inflater *inflater = inflater_new(choices->window_bits);
    FUZZ_REQUIRE(deflater != NULL && inflater != NULL);
    for (size_t i = 0; i < MESSAGES_MOST && length > 0; i++) {
        size_t size = (choices->step + i * seed) % (length + 1);
        if (bit_of(choices->resets, i)) {
            deflater_reset(deflater);
            inflater_free(inflater);
            inflater = inflater_new(choices->window_bits);
            FUZZ_REQUIRE(inflater != NULL);
        }
        if (bit_of(choices->resets, i + 16)) { /* one that fails, and so resets */
            FUZZ_REQUIRE(deflater_message(deflater, true, bytes, size, NULL, 0) == -1);
            inflater_free(inflater);
            inflater = inflater_new(choices->window_bits);
            FUZZ_REQUIRE(inflater != NULL);
        }
        check_message(deflater, inflater, bit_of(choices->keeps, i), bytes, size, seed);
        bytes += size / 2;
        length -= size / 2;
    }
    deflater_free(deflater);
    inflater_free(inflater);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    struct input input = {bytes, length};
    struct choices choices = {
        .window_bits = 15 - input_byte(&input) % 7,
        .level = input_byte(&input) % 10,
        .keeps = input_byte(&input) * 0x01010101u,
        .resets = (uint32_t)input_byte(&input) << 8 | (uint32_t)input_byte(&input) << 24,
        .step = 1 + input_below(&input, 2048),
    };
    uint32_t seed = input_byte(&input);
    const char *payloads = (const char *)input.bytes;
    check_inflating(&choices, payloads, input.length, seed);
    check_round_trip(&choices, payloads, input.length, seed);
    return 0;
}
