/* state.h: what a WebSocket knows of itself, for the files of this folder. */
#pragma once

#include "conn/conn.h"
#include "websocket/deflate.h"
#include "websocket/frame.h"
#include "websocket/utf8.h"
#include "websocket/wire.h"

enum { WEBSOCKET_BITS = 15 /* the usual window: of what is compressed for all */ };

struct websocket {
    struct backlog message; /* begun and not ended, unmasked and inflated */
    struct backlog stream;  /* of binary frames: what isn't cut yet */
    struct inflater *inflater;
    struct deflater *deflater; /* only with send_takeover */
    uint64_t left;             /* payload bytes to come of the frame under way */
    uint32_t mask;
    uint32_t pinged_since;
    uint32_t scanned;    /* of the stream: the codec's own */
    uint16_t close_code; /* received, or that of our own complaint; 0: none */
    struct utf8 utf8;
    uint8_t opcode; /* of the message under way; 0: none */
    uint8_t mode;
    uint8_t send_window_bits; /* 0: nothing is compressed */
    uint8_t receive_window_bits;
    bool fin : 1;        /* of the frame under way */
    bool compressed : 1; /* the message under way */
    bool send_takeover : 1;
    bool receive_takeover : 1;
    bool deflater_behind : 1; /* the client got what the deflater knows nothing of */
    bool pinged : 1;
    bool close_sent : 1;
    bool close_received : 1;
    bool sends_binary : 1; /* what is sent without a kind */
    bool failed : 1;       /* we complained: no answer to our Close is waited for */
};

static inline struct websocket *websocket_of(const struct conn *conn) {
    return conn->protocol_data;
}

/* Whether binary frames carry a byte stream. */
static inline bool websocket_has_stream(const struct conn *conn) {
    return websocket_of(conn)->mode == SYNC_WEBSOCKET_MIRROR &&
           conn_options(conn)->framing != SYNC_FRAMING_RAW;
}

/* The form of a message of this kind. */
static inline uint8_t websocket_wire(const struct conn *conn, bool binary) {
    if (!binary) {
        return WIRE_TEXT;
    }
    if (websocket_has_stream(conn)) {
        return (uint8_t)(WIRE_STREAM + conn_options(conn)->framing);
    }
    return WIRE_BINARY;
}

/* What the next process needs of one: see upgrade/carry.h. */
bool websocket_carry(const struct conn *conn, struct record *record);
/* Makes one that is new so. Returns 0 or an error code. */
struct reading;
int websocket_read(struct conn *conn, struct reading *reading);
