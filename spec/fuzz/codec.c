/* codec.c: what every codec's fuzz target does. */
#include "codec.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "sync.h"

/* The messages of a stream, each behind its length, and how the stream ended. */
struct cuts {
    char *text;
    size_t length;
    size_t taken; /* bytes of the stream */
    size_t count;
    ssize_t end; /* CODEC_PARTIAL or CODEC_TOO_LONG */
};

static void cuts_add(struct cuts *cuts, const struct slice *message) {
    uint32_t length = (uint32_t)message->length;
    memcpy(cuts->text + cuts->length, &length, sizeof(length));
    cuts->length += sizeof(length);
    memcpy(cuts->text + cuts->length, message->bytes, message->length);
    cuts->length += message->length;
    cuts->count++;
}

/* Cuts all that `length` bytes hold beyond what was taken. The codec sees a copy that
 * ends where the bytes end, so that a sanitizer sees it look further. */
static void cut(const struct codec *codec, struct cuts *cuts, size_t *scanned,
                const char *bytes, size_t length, size_t most) {
    size_t rest = length - cuts->taken;
    char *copy = malloc(rest ? rest : 1);
    FUZZ_REQUIRE(copy != NULL);
    memcpy(copy, bytes + cuts->taken, rest);
    size_t at = 0;
    for (;;) {
        struct slice message = {NULL, 0};
        size_t shown = rest - at;
        ssize_t took = codec->cut(copy + at, shown, scanned, most, &message);
        FUZZ_REQUIRE(*scanned <= shown);
        if (took < 0) {
            FUZZ_REQUIRE(took == CODEC_PARTIAL || took == CODEC_TOO_LONG);
            cuts->end = took;
            break;
        }
        FUZZ_REQUIRE(took > 0 && (size_t)took <= shown);
        FUZZ_REQUIRE(message.length <= most);
        FUZZ_REQUIRE(message.bytes >= copy + at);
        FUZZ_REQUIRE(message.bytes + message.length <= copy + at + took);
        FUZZ_REQUIRE(*scanned == 0);
        cuts_add(cuts, &message);
        at += (size_t)took;
    }
    cuts->taken += at;
    free(copy);
}

static struct cuts cuts_new(size_t length) {
    struct cuts cuts = {.text = malloc(5 * length + 16), .end = CODEC_PARTIAL};
    FUZZ_REQUIRE(cuts.text != NULL);
    return cuts;
}

static bool is_same(const struct cuts *a, const struct cuts *b) {
    return a->length == b->length && memcmp(a->text, b->text, a->length) == 0;
}

/* Frames the messages of `cuts` one behind the other. Returns the length. */
static size_t frame_all(const struct codec *codec, const struct cuts *cuts, char *bytes) {
    size_t length = 0;
    size_t at = 0;
    while (at < cuts->length) {
        uint32_t size;
        struct frame frame;
        memcpy(&size, cuts->text + at, sizeof(size));
        codec->frame(size, &frame);
        memcpy(bytes + length, frame.head, frame.head_length);
        length += frame.head_length;
        memcpy(bytes + length, cuts->text + at + sizeof(size), size);
        length += size;
        memcpy(bytes + length, frame.tail, frame.tail_length);
        length += frame.tail_length;
        at += sizeof(size) + size;
    }
    return length;
}

/* A line that ends in CR loses it when it is framed with LF and cut again. */
static bool survives_framing(const struct codec *codec, const struct cuts *cuts) {
    size_t at = 0;
    while (at < cuts->length && codec == &codecs[SYNC_FRAMING_LINE]) {
        uint32_t size;
        memcpy(&size, cuts->text + at, sizeof(size));
        at += sizeof(size) + size;
        if (size > 0 && cuts->text[at - 1] == '\r') {
            return false;
        }
    }
    return codec != &codecs[SYNC_FRAMING_RAW];
}

static void check_framing(const struct codec *codec, const struct cuts *cuts,
                          size_t most) {
    if (!survives_framing(codec, cuts)) {
        return;
    }
    char *bytes = malloc(cuts->length + cuts->count + 1);
    FUZZ_REQUIRE(bytes != NULL);
    size_t length = frame_all(codec, cuts, bytes);
    struct cuts again = cuts_new(length);
    size_t scanned = 0;
    cut(codec, &again, &scanned, bytes, length, most);
    FUZZ_REQUIRE(is_same(&again, cuts));
    FUZZ_REQUIRE(again.taken == length);
    free(again.text);
    free(bytes);
}

void codec_fuzz(const struct codec *codec, const uint8_t *bytes, size_t length) {
    struct input input = {bytes, length};
    size_t most = input_below(&input, 300);
    uint32_t step = 1 + input_below(&input, 64);
    const char *stream = (const char *)input.bytes;

    struct cuts whole = cuts_new(input.length);
    size_t scanned = 0;
    cut(codec, &whole, &scanned, stream, input.length, most);

    struct cuts chunked = cuts_new(input.length);
    size_t shown = 0;
    scanned = 0;
    while (shown < input.length && chunked.end == CODEC_PARTIAL) {
        shown += 1 + (shown * 7 + step) % step;
        shown = shown < input.length ? shown : input.length;
        cut(codec, &chunked, &scanned, stream, shown, most);
    }
    if (codec == &codecs[SYNC_FRAMING_RAW]) {
        /* Other chunks, but the same bytes. */
        FUZZ_REQUIRE(whole.taken == chunked.taken);
        FUZZ_REQUIRE(most == 0 || whole.taken == input.length);
    } else {
        FUZZ_REQUIRE(is_same(&whole, &chunked));
        FUZZ_REQUIRE(whole.end == chunked.end);
        FUZZ_REQUIRE(whole.taken == chunked.taken);
    }
    check_framing(codec, &whole, most);
    free(whole.text);
    free(chunked.text);
}
