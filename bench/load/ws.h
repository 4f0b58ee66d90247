/* ws.h: WebSocket as a client speaks it (RFC 6455): the handshake and the frames.
 *
 * Pure: bytes in, bytes out; knows no socket and allocates nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WS_CONTINUATION = 0,
    WS_TEXT = 1,
    WS_BINARY = 2,
    WS_CLOSE = 8,
    WS_PING = 9,
    WS_PONG = 10,
    WS_KEY_BYTES = 16,
    WS_KEY_SIZE = 25,      /* that in base64, and the NUL at its end */
    WS_HEAD_MOST = 14,     /* of a client's frame */
    WS_CONTROL_MOST = 125, /* section 5.5 */
    WS_ANSWER_MOST = 8192  /* the longest head of an answer that is read */
};

/* Section 4.1. The key is 16 random bytes in base64. */
void ws_key(char key[WS_KEY_SIZE], const uint8_t bytes[WS_KEY_BYTES]);

/* Section 4.2.2: what the server must answer to the key, NUL at its end. */
void ws_accept(char accept[29], const char *key);

/* Writes the request. Returns its length, or 0 when there is no room for it. */
size_t ws_request(char *to, size_t room, const char *host, const char *path,
                  const char *key, bool deflate);

/* Looks at the server's answer, which must grant permessage-deflate (RFC 7692) if that
 * was asked for, without context takeover. Returns the length of its head when it
 * accepts, 0 when more must come, -1 when it refuses or is wrong: `why` says how. */
long ws_answer(const char *bytes, size_t length, const char *key, bool deflate, char *why,
               size_t room);

/* Writes the head of a frame that is a whole message, its length in the shortest form
 * (section 5.2). Its last four bytes are the mask. Returns its length. */
size_t ws_head(char *to, unsigned opcode, size_t length, uint32_t mask);

/* Copies with the mask laid on (section 5.3), a word at a time. */
void ws_mask(char *to, const char *from, size_t length, uint32_t mask);

/* What a server sends, cut into frames as the bytes come. Starts as zeros; private. */
struct ws_reader {
    uint8_t head[10];
    uint8_t head_length;
    uint8_t opcode;
    bool last;
    bool deflate;    /* was agreed on: set it before the first frame */
    bool compressed; /* the message that comes */
    bool in_frame;
    uint8_t message; /* opcode of the message whose fragments come, or 0 */
    uint8_t control_length;
    uint64_t left; /* of the frame's payload */
    char control[WS_CONTROL_MOST];
};

struct ws_piece {
    uint8_t kind; /* WS_TEXT or WS_BINARY: of a message; WS_CLOSE, WS_PING, WS_PONG:
                     whole; 0: nothing yet */
    bool ends;    /* its message */
    bool compressed;
    const char *bytes;
    size_t length;
};

/* Takes the next piece off `bytes`. A message comes as one piece or more, fragments or
 * not. Returns how many bytes it took, or -1 when they break the protocol: `*why` says
 * how. The piece points into `bytes` or into the reader, until the next call. */
long ws_read(struct ws_reader *reader, const char *bytes, size_t length,
             struct ws_piece *piece, const char **why);
