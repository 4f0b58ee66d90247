/* deflate_test.c: permessage-deflate's payloads, however they are cut up. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "test.h"
#include "text.h"
#include "websocket/deflate.h"

enum { LEAST = DEFLATE_LEAST_BITS, MOST = DEFLATE_MOST_BITS, WHOLE = 1 << 30 };

static char *take_memory(size_t size) {
    char *memory = malloc(size ? size : 1);
    if (!memory) {
        abort();
    }
    return memory;
}

/* What a payload is inflated with. */
struct way {
    size_t in;  /* bytes at a time */
    size_t out; /* room at a time */
    bool keep;
};

static const struct way at_once = {WHOLE, 1 << 16, false};
static const struct way at_once_keep = {WHOLE, 1 << 16, true};

/* One call, with room that ends where a sanitizer watches. A null part is the end. */
static enum inflated inflate_step(struct inflater *inflater, struct text *part,
                                  const struct way *way, struct text *to) {
    char *room = take_memory(way->out);
    size_t written = way->out;
    enum inflated state;
    if (part) {
        const char *bytes = part->bytes;
        size_t length = part->length;
        state = inflater_run(inflater, &bytes, &length, room, &written);
        CHECK_INT(bytes - part->bytes, part->length - length);
        part->bytes += part->length - length;
        part->length = length;
    } else {
        state = inflater_finish(inflater, way->keep, room, &written);
    }
    CHECK(written <= way->out);
    CHECK(state != INFLATE_MORE || written == way->out);
    CHECK(state != INFLATE_DONE || !part || part->length == 0);
    text_add(to, room, written);
    free(room);
    return state;
}

/* Inflates a payload to the end of `to`. */
static enum inflated inflate_all(struct inflater *inflater, const char *bytes,
                                 size_t length, const struct way *way, struct text *to) {
    enum inflated state = INFLATE_DONE;
    while (length > 0) {
        size_t size = length < way->in ? length : way->in;
        char *copy = take_memory(size);
        memcpy(copy, bytes, size);
        struct text part = {copy, size, size};
        do {
            state = inflate_step(inflater, &part, way, to);
        } while (state == INFLATE_MORE);
        free(copy);
        if (state != INFLATE_DONE) {
            return state;
        }
        bytes += size;
        length -= size;
    }
    do {
        state = inflate_step(inflater, NULL, way, to);
    } while (state == INFLATE_MORE);
    return state;
}

static void check_inflates(struct inflater *inflater, const char *bytes, size_t length,
                           const struct way *way, const char *wanted,
                           size_t wanted_length) {
    struct text text = {0};
    CHECK_INT(inflate_all(inflater, bytes, length, way, &text), INFLATE_DONE);
    CHECK_BYTES(text.bytes, text.length, wanted, wanted_length);
    text_clear(&text);
}

/* The same for what a new inflater does, cut up in many ways. */
static void check_inflates_always(const char *bytes, size_t length, const char *wanted,
                                  size_t wanted_length) {
    static const size_t outs[] = {1, 2, 3, 7, 1 << 16};
    for (size_t in = 1; in <= length + 1; in++) {
        for (size_t i = 0; i < sizeof(outs) / sizeof(*outs); i++) {
            struct way way = {in, outs[i], false};
            struct inflater *inflater = inflater_new(15);
            check_inflates(inflater, bytes, length, &way, wanted, wanted_length);
            /* And it's ready for another. */
            check_inflates(inflater, bytes, length, &way, wanted, wanted_length);
            inflater_free(inflater);
        }
    }
}

static enum inflated inflate_new(const char *bytes, size_t length, size_t in,
                                 size_t out) {
    struct way way = {in, out, false};
    struct text text = {0};
    struct inflater *inflater = inflater_new(15);
    enum inflated state = inflate_all(inflater, bytes, length, &way, &text);
    inflater_free(inflater);
    text_clear(&text);
    return state;
}

static void check_corrupt(const char *bytes, size_t length) {
    CHECK_INT(inflate_new(bytes, length, WHOLE, 1 << 16), INFLATE_CORRUPT);
    CHECK_INT(inflate_new(bytes, length, 1, 1 << 16), INFLATE_CORRUPT);
    CHECK_INT(inflate_new(bytes, length, WHOLE, 1), INFLATE_CORRUPT);
    CHECK_INT(inflate_new(bytes, length, 1, 1), INFLATE_CORRUPT);
}

#define LITERAL(text) text, sizeof(text) - 1

/* The payload, with exactly the capacity that was promised to be enough. */
static struct text deflate_one(struct deflater *deflater, bool keep, const char *bytes,
                               size_t length) {
    size_t bound = deflater_bound(deflater, length);
    struct text payload = {take_memory(bound), 0, bound};
    ssize_t size = deflater_message(deflater, keep, bytes, length, payload.bytes, bound);
    CHECK(size > 0);
    CHECK((size_t)size <= bound);
    payload.length = size > 0 ? (size_t)size : 0;
    return payload;
}

enum filling { ZEROS, WORDS, RANDOM, MIXED, FILLINGS };

static char filled_byte(enum filling filling, size_t i) {
    static const char words[] = "{\"type\":\"message\",\"text\":\"good morning\",\"to\":";
    switch (filling) {
    case ZEROS: return 0;
    case WORDS:
        return test_random(9) ? words[i % (sizeof(words) - 1)] : (char)('0' + i % 7);
    case RANDOM: return (char)test_random(256);
    default: return i / 300 % 2 ? (char)test_random(256) : words[i % 40];
    }
}

static struct text fill(enum filling filling, size_t length) {
    struct text text = {take_memory(length), length, length};
    for (size_t i = 0; i < length; i++) {
        text.bytes[i] = filled_byte(filling, i);
    }
    return text;
}

static void check_deflates(struct deflater *deflater, const char *text,
                           const char *wanted, size_t wanted_length) {
    struct text payload = deflate_one(deflater, true, text, strlen(text));
    CHECK_BYTES(payload.bytes, payload.length, wanted, wanted_length);
    text_clear(&payload);
}

TEST(deflate_writes_the_examples_of_the_rfc) {
    struct deflater *deflater = deflater_new(15, 6);
    check_deflates(deflater, "Hello", LITERAL("\xf2\x48\xcd\xc9\xc9\x07\0"));
    check_deflates(deflater, "Hello", LITERAL("\xf2\0\x11\0\0"));
    check_deflates(deflater, "", LITERAL("\0"));
    check_deflates(deflater, "Hello", LITERAL("\x02\x13\0\0"));
    deflater_free(deflater);
}

TEST(deflate_reads_the_examples_of_the_rfc) {
    static const struct {
        const char *bytes;
        size_t length;
        const char *text;
    } examples[] = {
        {LITERAL("\xf2\x48\xcd\xc9\xc9\x07\0"), "Hello"},
        {LITERAL("\0\5\0\xfa\xffHello\0"), "Hello"},
        {LITERAL("\xf3\x48\xcd\xc9\xc9\x07\0\0"), "Hello"},
        {LITERAL("\xf2\x48\x05\0\0\0\xff\xff\xca\xc9\xc9\x07\0"), "Hello"},
        {LITERAL("\0"), ""},
    };
    for (size_t i = 0; i < sizeof(examples) / sizeof(*examples); i++) {
        check_inflates_always(examples[i].bytes, examples[i].length, examples[i].text,
                              strlen(examples[i].text));
    }
}

TEST(deflate_reads_the_example_of_a_shared_window) {
    static const struct way ways[] = {
        {WHOLE, 1 << 16, true}, {1, 1, true}, {1, 1 << 16, true}, {WHOLE, 1, true}};
    for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
        struct inflater *inflater = inflater_new(15);
        check_inflates(inflater, LITERAL("\xf2\x48\xcd\xc9\xc9\x07\0"), &ways[i], "Hello",
                       5);
        check_inflates(inflater, LITERAL("\0"), &ways[i], "", 0);
        check_inflates(inflater, LITERAL("\xf2\0\x11\0\0"), &ways[i], "Hello", 5);
        inflater_free(inflater);
    }
}

static const size_t lengths[] = {5,    0,     1,     2,     3,     254,   255,   256,
                                 257,  511,   512,   513,   1000,  4095,  8191,  16383,
                                 0,    0,     16384, 32505, 32506, 32767, 32768, 32769,
                                 5000, 65535, 65536, 65537, 7,     100000};

/* Messages of all lengths through one deflater and one inflater. */
static void check_round_trips(int bits, int level, enum filling filling, bool keep) {
    struct deflater *deflater = deflater_new(bits, level);
    struct inflater *inflater = inflater_new(bits);
    REQUIRE(deflater != NULL && inflater != NULL);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        struct text text = fill(filling, lengths[i]);
        struct text payload = deflate_one(deflater, keep, text.bytes, text.length);
        struct way way = {1 + test_random(3000), 1 + test_random(5000), keep};
        check_inflates(inflater, payload.bytes, payload.length, &way, text.bytes,
                       text.length);
        if (filling == ZEROS && level > 0) {
            CHECK(payload.length <= 16 + text.length / 100);
        }
        text_clear(&text);
        text_clear(&payload);
    }
    deflater_free(deflater);
    inflater_free(inflater);
}

TEST(deflate_brings_back_what_it_was_given) {
    static const int levels[] = {0, 1, 6, 9};
    for (int bits = LEAST; bits <= MOST; bits++) {
        for (size_t i = 0; i < sizeof(levels) / sizeof(*levels); i++) {
            /* Levels 1 and 9 have other code in zlib, which is the same at all windows.
             */
            bool all = levels[i] == 6 || bits == LEAST || bits == MOST;
            for (int filling = 0; all && filling < FILLINGS; filling++) {
                check_round_trips(bits, levels[i], (enum filling)filling, true);
                check_round_trips(bits, levels[i], (enum filling)filling, false);
            }
        }
    }
}

TEST(deflate_round_trips_byte_by_byte) {
    static const struct way ways[] = {{1, 1, true}, {1, 2, true}, {2, 1, true}};
    struct deflater *deflater = deflater_new(15, 6);
    for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
        struct inflater *inflater = inflater_new(15);
        deflater_reset(deflater);
        for (int filling = 0; filling < FILLINGS; filling++) {
            struct text text = fill((enum filling)filling, 2000);
            struct text payload = deflate_one(deflater, true, text.bytes, text.length);
            check_inflates(inflater, payload.bytes, payload.length, &ways[i], text.bytes,
                           text.length);
            text_clear(&text);
            text_clear(&payload);
        }
        inflater_free(inflater);
    }
    deflater_free(deflater);
}

TEST(deflate_refers_to_what_came_before_only_if_told_to) {
    struct text text = fill(RANDOM, 500);
    struct deflater *deflater = deflater_new(15, 6);
    struct text alone = deflate_one(deflater, false, text.bytes, text.length);
    struct text first = deflate_one(deflater, true, text.bytes, text.length);
    struct text second = deflate_one(deflater, true, text.bytes, text.length);
    deflater_reset(deflater);
    struct text third = deflate_one(deflater, true, text.bytes, text.length);
    struct text empty = deflate_one(deflater, false, "", 0);
    struct text fifth = deflate_one(deflater, false, text.bytes, text.length);
    CHECK_BYTES(first.bytes, first.length, alone.bytes, alone.length);
    CHECK(second.length < 20);
    CHECK_BYTES(third.bytes, third.length, alone.bytes, alone.length);
    CHECK_BYTES(fifth.bytes, fifth.length, alone.bytes, alone.length);
    check_corrupt(second.bytes, second.length);
    text_clear(&alone);
    text_clear(&first);
    text_clear(&second);
    text_clear(&third);
    text_clear(&empty);
    text_clear(&fifth);
    text_clear(&text);
    deflater_free(deflater);
}

TEST(deflate_inflater_without_context_forgets) {
    struct inflater *inflater = inflater_new(15);
    struct text text = {0};
    check_inflates(inflater, LITERAL("\xf2\x48\xcd\xc9\xc9\x07\0"), &at_once, "Hello", 5);
    CHECK_INT(inflate_all(inflater, LITERAL("\xf2\0\x11\0\0"), &at_once, &text),
              INFLATE_CORRUPT);
    CHECK_BYTES(text.bytes, text.length, "H", 1);
    text_clear(&text);
    inflater_free(inflater);
}

/* With every capacity that is too small nothing is written behind it, and the deflater
 * goes on as a new one. */
TEST(deflate_says_when_the_capacity_is_too_small) {
    struct text text = fill(MIXED, 900);
    struct deflater *deflater = deflater_new(12, 6);
    struct text wanted = deflate_one(deflater, false, text.bytes, text.length);
    for (size_t capacity = 0; capacity < wanted.length; capacity++) {
        char *room = take_memory(capacity);
        deflater_message(deflater, true, "before", 6, (char[64]){0}, 64);
        CHECK_INT(
            deflater_message(deflater, true, text.bytes, text.length, room, capacity),
            -1);
        free(room);
        struct text again = deflate_one(deflater, false, text.bytes, text.length);
        CHECK_BYTES(again.bytes, again.length, wanted.bytes, wanted.length);
        text_clear(&again);
    }
    CHECK_INT(deflater_message(deflater, true, "", 0, NULL, 0), -1);
    text_clear(&wanted);
    text_clear(&text);
    deflater_free(deflater);
}

#if SIZE_MAX > UINT32_MAX
TEST(deflate_refuses_what_zlib_cant_count) {
    struct deflater *deflater = deflater_new(15, 6);
    char room[64];
    CHECK_INT(deflater_message(deflater, true, "", (size_t)UINT32_MAX + 1, room, 64), -1);
    deflater_free(deflater);
}
#endif

TEST(deflate_takes_windows_of_9_to_15_bits) {
    static const int wrong[] = {-15, -9, -1, 0, 1, 8, 16, 31, 47};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        CHECK(deflater_new(wrong[i], 6) == NULL);
        CHECK(inflater_new(wrong[i]) == NULL);
    }
    CHECK(deflater_new(15, -1) == NULL);
    CHECK(deflater_new(15, 10) == NULL);
    deflater_free(NULL);
    inflater_free(NULL);
}

/* What is further back than its window a deflater doesn't find, nor an inflater. */
TEST(deflate_keeps_to_its_window) {
    for (int bits = LEAST; bits < MOST; bits++) {
        struct text text = fill(RANDOM, ((size_t)1 << bits) + 100);
        struct text end = {0};
        struct deflater *narrow = deflater_new(bits, 9);
        struct deflater *wide = deflater_new(bits + 1, 9);
        struct text parts[4] = {
            deflate_one(narrow, true, text.bytes, text.length),
            deflate_one(narrow, true, text.bytes, 256),
            deflate_one(wide, true, text.bytes, text.length),
            deflate_one(wide, true, text.bytes, 256),
        };
        CHECK(parts[1].length > 256);
        CHECK(parts[3].length < 20);
        struct inflater *inflater = inflater_new(bits);
        struct way way = {WHOLE, 100, true};
        check_inflates(inflater, parts[0].bytes, parts[0].length, &way, text.bytes,
                       text.length);
        check_inflates(inflater, parts[1].bytes, parts[1].length, &way, text.bytes, 256);
        inflater_free(inflater);
        inflater = inflater_new(bits);
        check_inflates(inflater, parts[2].bytes, parts[2].length, &way, text.bytes,
                       text.length);
        CHECK_INT(inflate_all(inflater, parts[3].bytes, parts[3].length, &way, &end),
                  INFLATE_CORRUPT);
        inflater_free(inflater);
        deflater_free(narrow);
        deflater_free(wide);
        for (int i = 0; i < 4; i++) {
            text_clear(&parts[i]);
        }
        text_clear(&end);
        text_clear(&text);
    }
}

static size_t memory_held(void) {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* Whatever is sent, a stream of any length is inflated in the same memory, and the
 * caller may stop where it likes. */
TEST(deflate_survives_a_bomb) {
    struct deflater *deflater = deflater_new(15, 9);
    struct text zeros = fill(ZEROS, 1 << 20);
    struct text bomb = deflate_one(deflater, false, zeros.bytes, zeros.length);
    CHECK(bomb.length < 1100);
    static char room[4096];
    struct inflater *inflater = inflater_new(15);
    size_t total = 0;
    size_t held = 0;
    for (int i = 0; i < 64; i++) {
        const char *bytes = bomb.bytes;
        size_t length = bomb.length;
        enum inflated state = INFLATE_MORE;
        for (bool finishing = false; state == INFLATE_MORE || !finishing;) {
            finishing = state == INFLATE_DONE || finishing;
            size_t written = sizeof(room);
            state = finishing ? inflater_finish(inflater, true, room, &written)
                              : inflater_run(inflater, &bytes, &length, room, &written);
            REQUIRE(state == INFLATE_MORE || state == INFLATE_DONE);
            total += written;
            held = held ? held : memory_held();
        }
    }
    CHECK_INT(total, (size_t)64 << 20);
    CHECK_INT(memory_held(), held);
    const char *bytes = bomb.bytes;
    size_t length = bomb.length;
    size_t written = 1000;
    CHECK_INT(inflater_run(inflater, &bytes, &length, room, &written), INFLATE_MORE);
    CHECK_INT(written, 1000);
    CHECK(length > bomb.length - 100);
    inflater_free(inflater);
    text_clear(&bomb);
    text_clear(&zeros);
    deflater_free(deflater);
}

/* The end may be told as soon as the input is used up, though the output isn't out. */
TEST(deflate_gives_out_at_the_end_what_was_held_back) {
    static const struct way way = {WHOLE, 1, true};
    struct text zeros = fill(ZEROS, 3300);
    struct deflater *deflater = deflater_new(15, 6);
    struct inflater *inflater = inflater_new(15);
    int behind = 0;
    for (size_t length = 3000; length < zeros.length; length++) {
        struct text payload = deflate_one(deflater, true, zeros.bytes, length);
        struct text part = payload;
        struct text text = {0};
        enum inflated state = INFLATE_MORE;
        while (part.length > 0 && state == INFLATE_MORE) {
            state = inflate_step(inflater, &part, &way, &text);
        }
        behind += text.length < length;
        do {
            state = inflate_step(inflater, NULL, &way, &text);
        } while (state == INFLATE_MORE);
        CHECK_INT(state, INFLATE_DONE);
        CHECK_BYTES(text.bytes, text.length, zeros.bytes, length);
        text_clear(&payload);
        text_clear(&text);
    }
    CHECK(behind > 0);
    inflater_free(inflater);
    deflater_free(deflater);
    text_clear(&zeros);
}

/* The costs that deflate.h tells of. */
TEST(deflate_costs_what_its_header_says) {
    size_t before = memory_held();
    struct deflater *deflater = deflater_new(15, 6);
    size_t deflater_size = memory_held() - before;
    before = memory_held();
    struct inflater *inflater = inflater_new(15);
    size_t inflater_size = memory_held() - before;
    check_inflates(inflater, LITERAL("\xf2\x48\xcd\xc9\xc9\x07\0"), &at_once, "Hello", 5);
    size_t used_size = memory_held() - before;
    if (deflater_size == 0) {
        test_skip("this allocator doesn't count");
    }
    CHECK(deflater_size <= 151 << 10);
    CHECK(inflater_size <= 8 << 10);
    CHECK(used_size <= 40 << 10);
    deflater_free(deflater);
    inflater_free(inflater);
}

/* What another program sends: zlib with any strategy and any flushes. */

static void other_open(z_stream *other, int bits, int level, int strategy) {
    *other = (z_stream){0};
    if (deflateInit2(other, level, Z_DEFLATED, -bits, 8, strategy) != Z_OK) {
        abort();
    }
}

static void other_add(z_stream *other, struct text *to, const char *bytes, size_t length,
                      int flush) {
    char *room = take_memory(2 * length + 1000);
    other->next_in = (Bytef *)(uintptr_t)bytes;
    other->avail_in = (uInt)length;
    other->next_out = (Bytef *)room;
    other->avail_out = (uInt)(2 * length + 1000);
    deflate(other, flush);
    CHECK(other->avail_out > 0);
    text_add(to, room, 2 * length + 1000 - other->avail_out);
    free(room);
}

/* A message of several streams that each end, so that their last blocks say so. */
static struct text other_ended(const char *text, size_t length, size_t part, int level,
                               int strategy) {
    struct text payload = {0};
    z_stream other;
    other_open(&other, 15, level, strategy);
    for (size_t at = 0; at < length; at += part) {
        size_t size = length - at < part ? length - at : part;
        deflateReset(&other);
        /* They refer to what came before, which a window that is kept still has. */
        deflateSetDictionary(&other, (const Bytef *)text, (uInt)at);
        other_add(&other, &payload, text + at, size, Z_FINISH);
    }
    deflateEnd(&other);
    return payload;
}

TEST(deflate_goes_on_after_a_last_block) {
    static const struct {
        int level;
        int strategy;
    } kinds[] = {{0, Z_DEFAULT_STRATEGY},
                 {6, Z_FIXED},
                 {6, Z_DEFAULT_STRATEGY},
                 {6, Z_HUFFMAN_ONLY}};
    static const struct way ways[] = {
        {WHOLE, 1 << 16, true}, {1, 1, true}, {3, 1 << 16, true}, {WHOLE, 5, true}};
    struct text text = fill(WORDS, 2000);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        struct text payload =
            other_ended(text.bytes, text.length, 300, kinds[i].level, kinds[i].strategy);
        for (size_t k = 0; k < sizeof(ways) / sizeof(*ways); k++) {
            struct inflater *inflater = inflater_new(15);
            /* As the RFC has it, with an empty block's header, and without. */
            text_add(&payload, "", 1);
            check_inflates(inflater, payload.bytes, payload.length, &ways[k], text.bytes,
                           text.length);
            payload.length--;
            check_inflates(inflater, payload.bytes, payload.length, &ways[k], text.bytes,
                           text.length);
            inflater_free(inflater);
        }
        text_clear(&payload);
    }
    text_clear(&text);
}

TEST(deflate_keeps_the_context_across_a_last_block) {
    struct text text = fill(RANDOM, 400);
    struct text ended = other_ended(text.bytes, text.length, text.length, 6, 0);
    struct text twice = {0};
    text_add(&twice, text.bytes, text.length);
    text_add(&twice, text.bytes, text.length);
    struct text both = other_ended(twice.bytes, twice.length, text.length, 6, 0);
    const char *second = both.bytes + ended.length;
    size_t second_length = both.length - ended.length;
    CHECK(second_length < 20);
    struct inflater *inflater = inflater_new(15);
    check_inflates(inflater, ended.bytes, ended.length, &at_once_keep, text.bytes,
                   text.length);
    check_inflates(inflater, second, second_length, &at_once, text.bytes, text.length);
    /* Now the context is gone. */
    struct text none = {0};
    CHECK_INT(inflate_all(inflater, second, second_length, &at_once, &none),
              INFLATE_CORRUPT);
    inflater_free(inflater);
    text_clear(&none);
    text_clear(&twice);
    text_clear(&both);
    text_clear(&ended);
    text_clear(&text);
}

TEST(deflate_reads_any_flush_of_another_program) {
    static const int flushes[] = {Z_SYNC_FLUSH, Z_FULL_FLUSH, Z_PARTIAL_FLUSH, Z_BLOCK,
                                  Z_NO_FLUSH};
    for (int bits = LEAST; bits <= MOST; bits++) {
        z_stream other;
        other_open(&other, bits, 9, Z_DEFAULT_STRATEGY);
        struct inflater *inflater = inflater_new(bits);
        for (int i = 0; i < 10; i++) {
            struct text text = fill((enum filling)(i % FILLINGS), 3000);
            struct text payload = {0};
            for (size_t at = 0; at < text.length; at += 500) {
                other_add(&other, &payload, text.bytes + at, 500, flushes[at / 500 % 5]);
            }
            other_add(&other, &payload, "", 0, Z_SYNC_FLUSH);
            /* Some forget to take the tail off. */
            size_t length = payload.length - (i % 3 ? 4 : 0);
            struct way way = {1 + test_random(700), 1 + test_random(700), true};
            check_inflates(inflater, payload.bytes, length, &way, text.bytes,
                           text.length);
            text_clear(&payload);
            text_clear(&text);
        }
        inflater_free(inflater);
        deflateEnd(&other);
    }
}

/* Another program reads the messages as one stream, each with its tail. */
TEST(deflate_is_read_by_another_program) {
    for (int bits = LEAST; bits <= MOST; bits++) {
        z_stream other = {0};
        struct deflater *deflater = deflater_new(bits, 6);
        REQUIRE(inflateInit2(&other, -bits) == Z_OK);
        for (int i = 0; i < 20; i++) {
            struct text text = fill((enum filling)(i % FILLINGS), test_random(5000));
            struct text payload =
                deflate_one(deflater, i % 2 == 0, text.bytes, text.length);
            struct text seen = {take_memory(text.length + 100), 0, text.length + 100};
            text_add(&payload, LITERAL("\0\0\xff\xff"));
            other.next_in = (Bytef *)payload.bytes;
            other.avail_in = (uInt)payload.length;
            other.next_out = (Bytef *)seen.bytes;
            other.avail_out = (uInt)text.length + 100;
            CHECK_INT(inflate(&other, Z_SYNC_FLUSH), Z_OK);
            CHECK_INT(other.avail_in, 0);
            seen.length = text.length + 100 - other.avail_out;
            CHECK_BYTES(seen.bytes, seen.length, text.bytes, text.length);
            text_clear(&seen);
            text_clear(&payload);
            text_clear(&text);
        }
        inflateEnd(&other);
        deflater_free(deflater);
    }
}

TEST(deflate_takes_a_payload_without_bytes_as_an_empty_message) {
    struct inflater *inflater = inflater_new(15);
    check_inflates(inflater, "", 0, &at_once, "", 0);
    check_inflates(inflater, LITERAL("\xf2\x48\xcd\xc9\xc9\x07\0"), &at_once_keep,
                   "Hello", 5);
    check_inflates(inflater, "", 0, &at_once_keep, "", 0);
    check_inflates(inflater, LITERAL("\xf2\0\x11\0\0"), &at_once_keep, "Hello", 5);
    inflater_free(inflater);
}

TEST(deflate_knows_what_is_corrupt) {
    static const struct {
        const char *bytes;
        size_t length;
    } wrong[] = {
        {LITERAL("\x06")},                            /* block type 3 */
        {LITERAL("\0\5\0\xfb\xffHello\0")},           /* a stored length and another */
        {LITERAL("\0\5\0\xfa\xffHell")},              /* shorter than it says */
        {LITERAL("\x04\0\0\0\0\0\0\0")},              /* codes of no length */
        {LITERAL("\xfc\xff\xff\xff\xff\xff\xff")},    /* more codes than there can be */
        {LITERAL("\x02\x13\0\0")},                    /* refers to what never was */
        {LITERAL("\xf2\x48\xcd\xc9\xc9\x07\0Hello")}, /* something behind */
        {LITERAL("\xf3\x48\xcd\xc9\xc9\x07\0\x06")},
        {LITERAL("\xf3\x48\xcd\xc9\xc9\x07\0\0\0")},
        {LITERAL("\0\0")},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        check_corrupt(wrong[i].bytes, wrong[i].length);
    }
}

TEST(deflate_knows_what_is_cut_off) {
    static const int levels[] = {0, 1, 6};
    for (size_t i = 0; i < sizeof(levels) / sizeof(*levels); i++) {
        struct deflater *deflater = deflater_new(15, levels[i]);
        struct text text = fill(WORDS, 600);
        struct text payload = deflate_one(deflater, false, text.bytes, text.length);
        /* The last byte may hold nothing but the empty block's header, and then all is
         * there without it. A stored block's first byte alone is an empty message. */
        for (size_t length = levels[i] ? 1 : 2; length + 1 < payload.length; length++) {
            check_corrupt(payload.bytes, length);
        }
        text_clear(&payload);
        text_clear(&text);
        deflater_free(deflater);
    }
}

/* Nothing good comes of it, but nothing bad either, and a corrupt stream stays so. */
TEST(deflate_stays_corrupt) {
    struct inflater *inflater = inflater_new(15);
    struct text text = {0};
    CHECK_INT(inflate_all(inflater, LITERAL("\x06"), &at_once, &text), INFLATE_CORRUPT);
    CHECK_INT(inflate_all(inflater, LITERAL("\xf2\x48"), &at_once, &text),
              INFLATE_CORRUPT);
    CHECK_INT(inflate_all(inflater, "", 0, &at_once, &text), INFLATE_CORRUPT);
    CHECK_INT(text.length, 0);
    text_clear(&text);
    inflater_free(inflater);
}
