/* wire.c: the forms in which a message leaves. */
#include "websocket/wire.h"

#include <string.h>

#include "websocket/frame.h"

static const struct codec *inner_codec(uint8_t wire) {
    return wire >= WIRE_STREAM ? &codecs[wire - WIRE_STREAM] : &codecs[0];
}

size_t wire_longest(uint8_t wire) {
    return wire < CODEC_COUNT ? codecs[wire].longest : inner_codec(wire)->longest;
}

void wire_inner_frame(uint8_t wire, size_t length, struct frame *frame) {
    inner_codec(wire)->frame(length, frame);
}

static enum ws_opcode opcode_of(uint8_t wire, bool text) {
    return wire == WIRE_TEXT && text ? WS_TEXT : WS_BINARY;
}

void wire_frame(uint8_t wire, size_t length, bool text, struct frame *frame) {
    if (wire < CODEC_COUNT) {
        codecs[wire].frame(length, frame);
        return;
    }
    struct frame inner;
    wire_inner_frame(wire, length, &inner);
    size_t payload = inner.head_length + length + inner.tail_length;
    frame->head_length =
        ws_header_write(frame->head, opcode_of(wire, text), false, payload);
    memcpy(frame->head + frame->head_length, inner.head, inner.head_length);
    frame->head_length = (uint8_t)(frame->head_length + inner.head_length);
    frame->tail_length = inner.tail_length;
    memcpy(frame->tail, inner.tail, inner.tail_length);
}

void wire_frame_compressed(uint8_t wire, size_t length, bool text, struct frame *frame) {
    frame->head_length =
        ws_header_write(frame->head, opcode_of(wire, text), true, length);
    frame->tail_length = 0;
}
