/* frame.h: WebSocket's frames (RFC 6455 section 5).
 *
 * Pure: reads and writes headers and takes masks off. What frames mean to a connection is
 * websocket.c's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ws_opcode {
    WS_CONTINUATION = 0,
    WS_TEXT = 1,
    WS_BINARY = 2,
    WS_CLOSE = 8,
    WS_PING = 9,
    WS_PONG = 10
};

/* Status codes of a Close frame (section 7.4.1). */
enum ws_code {
    WS_NORMAL = 1000,
    WS_GOING_AWAY = 1001,
    WS_PROTOCOL_ERROR = 1002,
    WS_NO_CODE = 1005, /* never sent: the frame had none */
    WS_INVALID_DATA = 1007,
    WS_POLICY = 1008,
    WS_TOO_BIG = 1009
};

enum {
    WS_PARTIAL = -2,
    WS_INVALID = -1,
    WS_CONTROL_MOST = 125, /* bytes of a control frame's payload */
    WS_HEAD_MOST = 10      /* bytes of a header that a server sends */
};

struct ws_header {
    uint64_t length; /* of the payload */
    uint32_t mask;   /* as ws_unmask takes it */
    uint8_t opcode;
    bool fin;
    bool compressed; /* RSV1 (RFC 7692) */
};

/* Reads the header of a client's frame. Returns the bytes it takes; WS_PARTIAL when more
 * must come; or WS_INVALID, as soon as it shows: reserved bits (RSV1 only where `deflate`
 * was agreed on, and not in a control frame), unknown opcodes, no mask, a control frame
 * that is long or a fragment, a length that isn't written in the shortest way. */
int ws_header_read(const char *bytes, size_t length, bool deflate,
                   struct ws_header *header);

/* Writes the header of a whole message, or of a control frame, at most WS_HEAD_MOST
 * bytes; returns how many. */
uint8_t ws_header_write(char *head, enum ws_opcode opcode, bool compressed,
                        uint64_t length);

/* Takes the mask off, or puts it on. Returns the mask for the bytes that follow. */
uint32_t ws_unmask(char *bytes, size_t length, uint32_t mask);

/* The mask for what follows so many bytes. */
uint32_t ws_mask_after(uint32_t mask, size_t length);

/* Whether a Close frame may carry this code. */
bool ws_code_valid(uint32_t code);
