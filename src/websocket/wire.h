/* wire.h: the forms in which a message leaves: as the byte stream of a framing, as a
 * message of a WebSocket, or as a byte stream inside WebSocket's binary frames.
 *
 * Pure. The first forms are the codecs', in the order of enum sync_framing.
 */
#pragma once

#include <stdbool.h>

#include "conn/codec.h"
#include "sync.h"

enum wire {
    WIRE_TEXT = CODEC_COUNT, /* a WebSocket's text message; binary where it isn't text */
    WIRE_BINARY,             /* a WebSocket's binary message */
    WIRE_STREAM,             /* + framing: a byte stream in binary frames */
    WIRE_COUNT = WIRE_STREAM + CODEC_COUNT
};

static inline bool wire_is_websocket(uint8_t wire) {
    return wire >= WIRE_TEXT;
}

/* What cuts the messages of a byte stream; of a WebSocket's own messages, what cuts none.
 */
static inline const struct codec *wire_codec(uint8_t wire) {
    return &codecs[wire < CODEC_COUNT    ? wire
                   : wire >= WIRE_STREAM ? wire - WIRE_STREAM
                                         : SYNC_FRAMING_RAW];
}

/* Longest message that the form can express. */
static inline size_t wire_longest(uint8_t wire) {
    return wire_codec(wire)->longest;
}

/* Sets the frame of a message of this length (at most wire_longest). `text` says whether
 * it is valid UTF-8; only WIRE_TEXT asks. */
void wire_frame(uint8_t wire, size_t length, bool text, struct frame *frame);

/* The same where the message, in the form's inner framing, was compressed to `length`
 * bytes. */
void wire_frame_compressed(uint8_t wire, size_t length, bool text, struct frame *frame);

/* The frame within a WebSocket's frame: the codec's, or an empty one. */
void wire_inner_frame(uint8_t wire, size_t length, struct frame *frame);
