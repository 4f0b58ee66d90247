/* wire_test.c: the forms in which a message leaves, read as a client reads them. */
#include <stdint.h>
#include <string.h>

#include "sync.h"
#include "test.h"
#include "websocket/frame.h"
#include "websocket/wire.h"

static const size_t lengths[] = {
    0,     1,     121,   122,   123,   124,   125,   126,      127,        65530,
    65531, 65533, 65534, 65535, 65536, 65537, 70000, 1U << 24, 0x12345678, UINT32_MAX};

enum { LENGTHS = sizeof(lengths) / sizeof(*lengths) };

/* Reads a server's header: the first byte, and the payload's length. Returns its size. */
static size_t read_head(const char *head, unsigned char *first, uint64_t *payload) {
    const unsigned char *bytes = (const unsigned char *)head;
    size_t size = bytes[1] == 127 ? 10 : bytes[1] == 126 ? 4 : 2;
    *first = bytes[0];
    *payload = bytes[1];
    for (size_t i = 2; i < size; i++) {
        *payload = (i == 2 ? 0 : *payload << 8) | bytes[i];
    }
    return size;
}

/* The bytes of a framing before and behind a message. */
static const struct {
    size_t size; /* bytes of the length before it */
    bool little; /* the least significant of them first */
    const char *tail;
    size_t tail_length;
} framings[CODEC_COUNT] = {
    [SYNC_FRAMING_NULL] = {0, false, "\0", 1},
    [SYNC_FRAMING_LINE] = {0, false, "\n", 1},
    [SYNC_FRAMING_LENGTH16] = {2, false, NULL, 0},
    [SYNC_FRAMING_LENGTH32] = {4, false, NULL, 0},
    [SYNC_FRAMING_LENGTH24LE] = {3, true, NULL, 0},
};

static size_t framing_of(uint32_t framing, size_t length, char *head, char *tail,
                         size_t *tail_length) {
    size_t size = framings[framing].size;
    for (size_t i = 0; i < size; i++) {
        size_t at = framings[framing].little ? i : size - 1 - i;
        head[i] = (char)(length >> 8 * at);
    }
    *tail_length = framings[framing].tail_length;
    *tail = *tail_length ? *framings[framing].tail : '\0';
    return size;
}

TEST(wire_forms_without_a_websocket_are_the_framings) {
    for (size_t i = 0; i < CODEC_COUNT * LENGTHS; i++) {
        uint8_t wire = (uint8_t)(i / LENGTHS);
        size_t length = lengths[i % LENGTHS];
        CHECK(!wire_is_websocket(wire));
        CHECK(wire_longest(wire) == codecs[wire].longest);
        if (length <= wire_longest(wire)) {
            char head[4];
            char tail[1];
            size_t tail_length;
            size_t size = framing_of(wire, length, head, tail, &tail_length);
            struct frame frame;
            wire_frame(wire, length, true, &frame);
            CHECK_BYTES(frame.head, frame.head_length, head, size);
            CHECK_BYTES(frame.tail, frame.tail_length, tail, tail_length);
        }
    }
}

TEST(wire_messages_of_a_websocket_are_text_where_they_can_be) {
    static const struct {
        uint8_t wire;
        bool text;
        unsigned char first;
    } forms[] = {{WIRE_TEXT, true, 0x81},
                 {WIRE_TEXT, false, 0x82},
                 {WIRE_BINARY, true, 0x82},
                 {WIRE_BINARY, false, 0x82}};
    for (size_t i = 0; i < 4 * LENGTHS; i++) {
        uint8_t wire = forms[i / LENGTHS].wire;
        size_t length = lengths[i % LENGTHS];
        struct frame frame;
        unsigned char first;
        uint64_t payload;
        CHECK(wire_is_websocket(wire));
        CHECK(wire_longest(wire) >= UINT32_MAX);
        for (int compressed = 0; compressed < 2; compressed++) {
            if (compressed) {
                wire_frame_compressed(wire, length, forms[i / LENGTHS].text, &frame);
            } else {
                wire_frame(wire, length, forms[i / LENGTHS].text, &frame);
            }
            CHECK_INT(frame.head_length, read_head(frame.head, &first, &payload));
            CHECK_INT(first, forms[i / LENGTHS].first | (compressed ? 0x40 : 0));
            CHECK_INT(payload, length);
            CHECK_INT(frame.tail_length, 0);
        }
        wire_inner_frame(wire, length, &frame);
        CHECK_INT(frame.head_length + frame.tail_length, 0);
    }
}

TEST(wire_streams_of_a_websocket_count_their_framing_as_payload) {
    for (size_t i = 0; i < CODEC_COUNT * LENGTHS; i++) {
        uint32_t framing = (uint32_t)(i / LENGTHS);
        uint8_t wire = (uint8_t)(WIRE_STREAM + framing);
        size_t length = lengths[i % LENGTHS];
        CHECK(wire_is_websocket(wire) && wire < WIRE_COUNT);
        CHECK(wire_longest(wire) == codecs[framing].longest);
        if (length > wire_longest(wire)) {
            continue;
        }
        char inner[4];
        char tail[1];
        size_t tail_length;
        size_t inner_length = framing_of(framing, length, inner, tail, &tail_length);
        struct frame frame;
        unsigned char first;
        uint64_t payload;
        wire_inner_frame(wire, length, &frame);
        CHECK_BYTES(frame.head, frame.head_length, inner, inner_length);
        CHECK_BYTES(frame.tail, frame.tail_length, tail, tail_length);
        wire_frame(wire, length, true, &frame);
        size_t head = read_head(frame.head, &first, &payload);
        CHECK_INT(first, 0x82);
        CHECK_INT(payload, (uint64_t)length + inner_length + tail_length);
        CHECK(frame.head_length <= sizeof(frame.head));
        CHECK_BYTES(frame.head + head, frame.head_length - head, inner, inner_length);
        CHECK_BYTES(frame.tail, frame.tail_length, tail, tail_length);
        wire_frame_compressed(wire, length, true, &frame);
        CHECK_INT(read_head(frame.head, &first, &payload), frame.head_length);
        CHECK_INT(first, 0xc2);
        CHECK_INT(payload, length); /* compressed, with its framing in it */
        CHECK_INT(frame.tail_length, 0);
    }
}
