/* wire.c: the forms in which a message leaves. */
#include "websocket/wire.h"

#include <string.h>

#include "websocket/frame.h"

void wire_inner_frame(uint8_t wire, size_t length, struct frame *frame) {
    wire_codec(wire)->frame(length, frame);
}

static enum ws_opcode opcode_of(uint8_t wire, bool text) {
    return wire == WIRE_TEXT && text ? WS_TEXT : WS_BINARY;
}

/* A frame that is nothing but a header. */
static void put_header(struct frame *frame, enum ws_opcode opcode, bool compressed,
                       size_t payload) {
    frame->head_length = ws_header_write(frame->head, opcode, compressed, payload);
    frame->tail_length = 0;
}

void wire_frame(uint8_t wire, size_t length, bool text, struct frame *frame) {
    if (wire < CODEC_COUNT) {
        codecs[wire].frame(length, frame);
        return;
    }
    if (wire < WIRE_STREAM) {
        put_header(frame, opcode_of(wire, text), false, length);
        return;
    }
    struct frame inner;
    wire_inner_frame(wire, length, &inner);
    size_t payload = inner.head_length + length + inner.tail_length;
    put_header(frame, WS_BINARY, false, payload);
    memcpy(frame->head + frame->head_length, inner.head, inner.head_length);
    frame->head_length = (uint8_t)(frame->head_length + inner.head_length);
    frame->tail_length = inner.tail_length;
    memcpy(frame->tail, inner.tail, inner.tail_length);
}

void wire_frame_compressed(uint8_t wire, size_t length, bool text, struct frame *frame) {
    put_header(frame, opcode_of(wire, text), true, length);
}
