/* codec_test.c: each framing, whatever way its bytes come. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conn/codec.h"
#include "sync.h"
#include "test.h"

enum { MOST = 64, INPUT = 4096 };

/* Messages and the bytes they are cut from. */
struct stream {
    char bytes[INPUT];
    size_t length;
    char messages[INPUT];
    size_t ends[256]; /* in `messages` */
    size_t count;
};

static void stream_add(struct stream *stream, const struct codec *codec,
                       const char *message, size_t length) {
    struct frame frame;
    codec->frame(length, &frame);
    memcpy(stream->bytes + stream->length, frame.head, frame.head_length);
    stream->length += frame.head_length;
    memcpy(stream->bytes + stream->length, message, length);
    stream->length += length;
    memcpy(stream->bytes + stream->length, frame.tail, frame.tail_length);
    stream->length += frame.tail_length;
    size_t begin = stream->count ? stream->ends[stream->count - 1] : 0;
    memcpy(stream->messages + begin, message, length);
    stream->ends[stream->count++] = begin + length;
}

/* Messages of many lengths up to MOST with bytes that no framing gives a meaning. */
static void stream_fill(struct stream *stream, const struct codec *codec) {
    static const size_t lengths[] = {3, 0, 1, 0, 0, 2, MOST, 17, MOST - 1, 31};
    char message[MOST];
    *stream = (struct stream){.length = 0};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        for (size_t k = 0; k < lengths[i]; k++) {
            message[k] = (char)('A' + (i + k) % 50);
        }
        stream_add(stream, codec, message, lengths[i]);
    }
}

/* A buffer whose last byte is the last of a page, with an unreadable page behind. */
struct guarded {
    char *pages;
    size_t size;
    size_t page;
};

static void guarded_open(struct guarded *guarded) {
    guarded->page = (size_t)sysconf(_SC_PAGESIZE);
    guarded->size = (INPUT / guarded->page + 2) * guarded->page;
    guarded->pages = mmap(NULL, guarded->size, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (guarded->pages == MAP_FAILED ||
        mprotect(guarded->pages + guarded->size - guarded->page, guarded->page,
                 PROT_NONE) < 0) {
        abort();
    }
}

static void guarded_close(struct guarded *guarded) {
    munmap(guarded->pages, guarded->size);
}

/* Puts the bytes right before the unreadable page. */
static const char *guarded_put(struct guarded *guarded, const char *bytes,
                               size_t length) {
    char *place = guarded->pages + guarded->size - guarded->page - length;
    memcpy(place, bytes, length);
    return place;
}

/* Cuts what `visible` bytes of the stream hold, given in steps of `step` bytes, as a
 * connection does it: the rest is kept and shown again with more behind. Returns how
 * many messages came, each compared with what went in. */
static size_t cut_all(const struct codec *codec, const struct stream *stream,
                      size_t visible, size_t step, struct guarded *guarded) {
    size_t taken = 0;
    size_t scanned = 0;
    size_t count = 0;
    for (size_t shown = 0; shown < visible;) {
        shown = shown + step < visible ? shown + step : visible;
        for (;;) {
            struct slice message;
            size_t length = shown - taken;
            const char *bytes = guarded_put(guarded, stream->bytes + taken, length);
            ssize_t cut = codec->cut(bytes, length, &scanned, MOST, &message);
            if (cut == CODEC_PARTIAL) {
                CHECK(scanned <= length);
                break;
            }
            if (!CHECK(cut > 0) || !CHECK((size_t)cut <= length) ||
                !CHECK(count < stream->count)) {
                return count;
            }
            CHECK_INT(scanned, 0);
            CHECK(message.bytes >= bytes);
            CHECK(message.bytes + message.length <= bytes + cut);
            size_t begin = count ? stream->ends[count - 1] : 0;
            CHECK_BYTES(message.bytes, message.length, stream->messages + begin,
                        stream->ends[count] - begin);
            taken += (size_t)cut;
            count++;
        }
    }
    return count;
}

static size_t complete_in(const struct codec *codec, const struct stream *stream,
                          size_t visible) {
    size_t end = 0;
    size_t count = 0;
    for (size_t i = 0; i < stream->count; i++) {
        struct frame frame;
        size_t length = stream->ends[i] - (i ? stream->ends[i - 1] : 0);
        codec->frame(length, &frame);
        end += frame.head_length + length + frame.tail_length;
        count += end <= visible;
    }
    return count;
}

static const struct codec *framed(int i) {
    return &codecs[SYNC_FRAMING_NULL + i];
}

enum { FRAMED = CODEC_COUNT - SYNC_FRAMING_NULL };

TEST(codec_names_follow_the_enum) {
    CHECK_TEXT(codecs[SYNC_FRAMING_RAW].name, "raw");
    CHECK_TEXT(codecs[SYNC_FRAMING_NULL].name, "null");
    CHECK_TEXT(codecs[SYNC_FRAMING_LINE].name, "line");
    CHECK_TEXT(codecs[SYNC_FRAMING_LENGTH16].name, "length16");
    CHECK_TEXT(codecs[SYNC_FRAMING_LENGTH32].name, "length32");
    CHECK_TEXT(codecs[SYNC_FRAMING_LENGTH24LE].name, "length24le");
}

TEST(codec_cuts_what_it_framed_whole_and_in_steps_of_any_size) {
    struct guarded guarded;
    struct stream stream;
    guarded_open(&guarded);
    for (int i = 0; i < FRAMED; i++) {
        stream_fill(&stream, framed(i));
        for (size_t step = 1; step <= stream.length; step++) {
            CHECK_INT(cut_all(framed(i), &stream, stream.length, step, &guarded),
                      stream.count);
        }
    }
    guarded_close(&guarded);
}

TEST(codec_cuts_every_prefix_up_to_its_last_whole_message) {
    struct guarded guarded;
    struct stream stream;
    guarded_open(&guarded);
    for (int i = 0; i < FRAMED; i++) {
        stream_fill(&stream, framed(i));
        for (size_t visible = 0; visible <= stream.length; visible++) {
            size_t wanted = complete_in(framed(i), &stream, visible);
            CHECK_INT(cut_all(framed(i), &stream, visible, INPUT, &guarded), wanted);
            CHECK_INT(cut_all(framed(i), &stream, visible, 1, &guarded), wanted);
        }
    }
    guarded_close(&guarded);
}

TEST(codec_frames_random_binary_where_the_framing_can_carry_it) {
    struct guarded guarded;
    struct stream stream;
    guarded_open(&guarded);
    for (int round = 0; round < 300; round++) {
        const struct codec *codec =
            &codecs[SYNC_FRAMING_LENGTH16 +
                    round % (CODEC_COUNT - SYNC_FRAMING_LENGTH16)];
        stream = (struct stream){.length = 0};
        for (uint32_t n = 1 + test_random(20); n > 0; n--) {
            char message[MOST];
            size_t length = test_random(MOST + 1);
            for (size_t k = 0; k < length; k++) {
                message[k] = (char)test_random(256);
            }
            stream_add(&stream, codec, message, length);
        }
        CHECK_INT(cut_all(codec, &stream, stream.length, 1 + test_random(40), &guarded),
                  stream.count);
    }
    guarded_close(&guarded);
}

/* One message of `length` bytes under a limit of `most`, shown whole. */
static ssize_t cut_one(const struct codec *codec, size_t length, size_t most,
                       struct slice *message) {
    static char bytes[INPUT];
    struct frame frame;
    size_t scanned = 0;
    codec->frame(length, &frame);
    memcpy(bytes, frame.head, frame.head_length);
    memset(bytes + frame.head_length, 'x', length);
    memcpy(bytes + frame.head_length + length, frame.tail, frame.tail_length);
    return codec->cut(bytes, frame.head_length + length + frame.tail_length, &scanned,
                      most, message);
}

TEST(codec_takes_a_message_of_exactly_max_message_and_none_longer) {
    static const size_t limits[] = {1, 2, 3, 100, 255, 256, 1000};
    for (int i = 0; i < FRAMED; i++) {
        for (size_t k = 0; k < sizeof(limits) / sizeof(*limits); k++) {
            struct slice message = {NULL, 0};
            CHECK(cut_one(framed(i), limits[k], limits[k], &message) > 0);
            CHECK_INT(message.length, limits[k]);
            CHECK_INT(cut_one(framed(i), limits[k] + 1, limits[k], &message),
                      CODEC_TOO_LONG);
        }
        struct slice message;
        CHECK(cut_one(framed(i), 0, 0, &message) > 0);
        CHECK_INT(message.length, 0);
        CHECK_INT(cut_one(framed(i), 1, 0, &message), CODEC_TOO_LONG);
    }
}

static ssize_t cut_text(const struct codec *codec, const char *bytes, size_t length,
                        size_t most, struct slice *message) {
    size_t scanned = 0;
    return codec->cut(bytes, length, &scanned, most, message);
}

TEST(codec_notices_an_endless_message_before_its_end) {
    struct slice message;
    const struct codec *null = &codecs[SYNC_FRAMING_NULL];
    const struct codec *line = &codecs[SYNC_FRAMING_LINE];
    CHECK_INT(cut_text(null, "aaaa", 4, 4, &message), CODEC_PARTIAL);
    CHECK_INT(cut_text(null, "aaaaa", 5, 4, &message), CODEC_TOO_LONG);
    CHECK_INT(cut_text(line, "aaaa", 4, 4, &message), CODEC_PARTIAL);
    CHECK_INT(cut_text(line, "aaaa\r", 5, 4, &message), CODEC_PARTIAL);
    CHECK_INT(cut_text(line, "aaaaa", 5, 4, &message), CODEC_TOO_LONG);
    CHECK_INT(cut_text(line, "aaaa\rb", 6, 4, &message), CODEC_TOO_LONG);
}

static void check_line(const char *bytes, size_t length, size_t most, ssize_t wanted,
                       const char *text) {
    struct slice message = {NULL, 0};
    const struct codec *line = &codecs[SYNC_FRAMING_LINE];
    CHECK_INT(cut_text(line, bytes, length, most, &message), wanted);
    if (wanted > 0) {
        CHECK_BYTES(message.bytes, message.length, text, strlen(text));
    }
}

TEST(codec_line_takes_one_cr_off_and_only_before_lf) {
    check_line("\n", 1, 9, 1, "");
    check_line("\r\n", 2, 9, 2, "");
    check_line("\r\r\n", 3, 9, 3, "\r");
    check_line("a\r\nb", 4, 9, 3, "a");
    check_line("a\rb\n", 4, 9, 4, "a\rb");
    check_line("\ra\n", 3, 9, 3, "\ra");
    check_line("a\n\r", 3, 9, 2, "a");
    check_line("\r", 1, 9, CODEC_PARTIAL, NULL);
    check_line("a\r", 2, 9, CODEC_PARTIAL, NULL);
    check_line("abc\n", 4, 3, 4, "abc");
    check_line("abc\r\n", 5, 3, 5, "abc");
    check_line("abc\r\r\n", 6, 3, CODEC_TOO_LONG, NULL);
    check_line("\r\n", 2, 0, 2, "");
}

TEST(codec_null_takes_nul_only_as_the_end) {
    struct slice message;
    const struct codec *null = &codecs[SYNC_FRAMING_NULL];
    CHECK_INT(cut_text(null, "\0\0", 2, 9, &message), 1);
    CHECK_INT(message.length, 0);
    CHECK_INT(cut_text(null, "a\r\n\0b", 5, 9, &message), 4);
    CHECK_BYTES(message.bytes, message.length, "a\r\n", 3);
}

TEST(codec_length_prefixes_at_their_extremes) {
    struct slice message;
    const struct codec *length16 = &codecs[SYNC_FRAMING_LENGTH16];
    const struct codec *length32 = &codecs[SYNC_FRAMING_LENGTH32];
    CHECK_INT(cut_text(length16, "\0", 1, 9, &message), CODEC_PARTIAL);
    CHECK_INT(cut_text(length16, "\0\0", 2, 0, &message), 2);
    CHECK_INT(message.length, 0);
    CHECK_INT(cut_text(length16, "\xff\xff", 2, 65535, &message), CODEC_PARTIAL);
    CHECK_INT(cut_text(length16, "\xff\xff", 2, 65534, &message), CODEC_TOO_LONG);
    CHECK_INT(cut_text(length32, "\0\0\0", 3, 9, &message), CODEC_PARTIAL);
    CHECK_INT(cut_text(length32, "\0\0\0\0", 4, 0, &message), 4);
    CHECK_INT(cut_text(length32, "\xff\xff\xff\xff", 4, UINT32_MAX, &message),
              CODEC_PARTIAL);
    CHECK_INT(cut_text(length32, "\xff\xff\xff\xff", 4, UINT32_MAX - 1, &message),
              CODEC_TOO_LONG);
    CHECK_INT(cut_text(length32, "\x80\0\0\0", 4, 65536, &message), CODEC_TOO_LONG);
    CHECK_INT(cut_text(length32, "\0\1\0\0", 4, 65536, &message), CODEC_PARTIAL);

    struct frame frame;
    length16->frame(0x1234, &frame);
    CHECK_BYTES(frame.head, frame.head_length, "\x12\x34", 2);
    length16->frame(65535, &frame);
    CHECK_BYTES(frame.head, frame.head_length, "\xff\xff", 2);
    length32->frame(0x12345678, &frame);
    CHECK_BYTES(frame.head, frame.head_length, "\x12\x34\x56\x78", 4);
    length32->frame(UINT32_MAX, &frame);
    CHECK_BYTES(frame.head, frame.head_length, "\xff\xff\xff\xff", 4);
    CHECK_INT(length16->longest, 65535);
    CHECK_INT(length32->longest, UINT32_MAX);
}

TEST(codec_length24le_has_the_least_significant_byte_first) {
    struct slice message;
    const struct codec *codec = &codecs[SYNC_FRAMING_LENGTH24LE];
    CHECK_INT(cut_text(codec, "\1\0", 2, 9, &message), CODEC_PARTIAL);
    CHECK_INT(cut_text(codec, "\0\0\0", 3, 0, &message), 3);
    CHECK_INT(message.length, 0);
    CHECK_INT(cut_text(codec, "\2\0\0abc", 6, 2, &message), 5);
    CHECK_BYTES(message.bytes, message.length, "ab", 2);
    CHECK_INT(cut_text(codec, "\0\0\1", 3, 65536, &message), CODEC_PARTIAL);
    CHECK_INT(cut_text(codec, "\1\0\1", 3, 65536, &message), CODEC_TOO_LONG);
    CHECK_INT(cut_text(codec, "\xff\xff\xff", 3, 0xffffff, &message), CODEC_PARTIAL);
    CHECK_INT(cut_text(codec, "\xff\xff\xff", 3, 0xfffffe, &message), CODEC_TOO_LONG);

    struct frame frame;
    codec->frame(0x123456, &frame);
    CHECK_BYTES(frame.head, frame.head_length, "\x56\x34\x12", 3);
    codec->frame(0xffffff, &frame);
    CHECK_BYTES(frame.head, frame.head_length, "\xff\xff\xff", 3);
    CHECK_INT(codec->longest, 0xffffff);
}

TEST(codec_looks_at_no_byte_twice) {
    /* 16 MiB without an end in steps of 1 KiB: quadratic work would take minutes. */
    enum { LENGTH = 16 * 1024 * 1024 };
    static const uint32_t framings[] = {SYNC_FRAMING_NULL, SYNC_FRAMING_LINE};
    char *bytes = malloc(LENGTH);
    REQUIRE(bytes);
    memset(bytes, 'x', LENGTH);
    for (int i = 0; i < 2; i++) {
        const struct codec *codec = &codecs[framings[i]];
        struct slice message;
        size_t scanned = 0;
        for (size_t shown = 1024; shown < LENGTH; shown += 1024) {
            ssize_t cut = codec->cut(bytes, shown, &scanned, LENGTH, &message);
            if (!CHECK_INT(cut, CODEC_PARTIAL) || !CHECK_INT(scanned, shown)) {
                break;
            }
        }
    }
    /* What was looked at isn't looked at again, even if it has changed since. */
    bytes[5] = '\0';
    struct slice message;
    size_t scanned = 10;
    CHECK_INT(codecs[SYNC_FRAMING_NULL].cut(bytes, 20, &scanned, LENGTH, &message),
              CODEC_PARTIAL);
    free(bytes);
}

TEST(codec_raw_hands_out_chunks_of_at_most_max_message) {
    struct slice message;
    const struct codec *raw = &codecs[SYNC_FRAMING_RAW];
    CHECK_INT(cut_text(raw, "", 0, 9, &message), CODEC_PARTIAL);
    CHECK_INT(cut_text(raw, "a\0b", 3, 9, &message), 3);
    CHECK_BYTES(message.bytes, message.length, "a\0b", 3);
    CHECK_INT(cut_text(raw, "abcd", 4, 3, &message), 3);
    CHECK_INT(message.length, 3);
    struct frame frame;
    raw->frame(5, &frame);
    CHECK_INT(frame.head_length + frame.tail_length, 0);
}

TEST(codec_raw_without_room_for_a_byte_is_too_long_and_not_endless) {
    struct slice message;
    CHECK_INT(cut_text(&codecs[SYNC_FRAMING_RAW], "abc", 3, 0, &message), CODEC_TOO_LONG);
}
