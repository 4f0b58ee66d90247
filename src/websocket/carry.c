/* carry.c: a WebSocket that goes on in the next process. What is sent begins without a
 * window there, as a compressor may; what is received needs the client's. */
#include <uv.h>

#include "core/record.h"
#include "websocket/state.h"

enum {
    SPARE = 65536, /* bytes that a stream may hold above max_message: see inflate.c */
    FIN = 1,
    COMPRESSED = 2,
    SEND_TAKEOVER = 4,
    RECEIVE_TAKEOVER = 8,
    PINGED = 16,
    SENDS_BINARY = 32,
    FLAGS = 64 /* the first that is none */
};

static unsigned flags_of(const struct websocket *websocket) {
    return (websocket->fin ? FIN : 0U) | (websocket->compressed ? COMPRESSED : 0U) |
           (websocket->send_takeover ? SEND_TAKEOVER : 0U) |
           (websocket->receive_takeover ? RECEIVE_TAKEOVER : 0U) |
           (websocket->pinged ? PINGED : 0U) |
           (websocket->sends_binary ? SENDS_BINARY : 0U);
}

static void set_flags(struct websocket *websocket, unsigned flags) {
    websocket->fin = (flags & FIN) != 0;
    websocket->compressed = (flags & COMPRESSED) != 0;
    websocket->send_takeover = (flags & SEND_TAKEOVER) != 0;
    websocket->receive_takeover = (flags & RECEIVE_TAKEOVER) != 0;
    websocket->pinged = (flags & PINGED) != 0;
    websocket->sends_binary = (flags & SENDS_BINARY) != 0;
}

static void carry_backlog(const struct backlog *backlog, struct record *record) {
    record_bytes(record, backlog->block ? backlog->block + backlog->start : "",
                 backlog->length);
}

static bool carry_inflater(const struct websocket *websocket, struct record *record) {
    char window[1 << DEFLATE_MOST_BITS];
    struct inflater_state state;
    record_number(record, websocket->inflater != NULL, 1);
    if (!websocket->inflater) {
        return true;
    }
    bool fine = inflater_state(websocket->inflater, window, &state);
    record_bytes(record, state.kept, state.length);
    record_number(record, state.produced, 8);
    record_bytes(record, state.window, state.window_length);
    return fine;
}

bool websocket_carry(const struct conn *conn, struct record *record) {
    const struct websocket *websocket = websocket_of(conn);
    if (websocket->close_sent || websocket->close_received || websocket->failed) {
        return false;
    }
    record_number(record, flags_of(websocket), 1);
    record_number(record, websocket->mode, 1);
    record_number(record, websocket->send_window_bits, 1);
    record_number(record, websocket->receive_window_bits, 1);
    record_number(record, websocket->opcode, 1);
    record_number(record, websocket->utf8.missing, 1);
    record_number(record, websocket->utf8.low, 1);
    record_number(record, websocket->utf8.high, 1);
    record_number(record, websocket->left, 8);
    record_number(record, websocket->mask, 4);
    record_number(record, websocket->pinged_since, 4);
    carry_backlog(&websocket->message, record);
    carry_backlog(&websocket->stream, record);
    return carry_inflater(websocket, record);
}

static bool is_window(uint64_t bits) {
    return bits == 0 || (bits >= DEFLATE_LEAST_BITS && bits <= DEFLATE_MOST_BITS);
}

static int resume_backlog(struct conn *conn, struct backlog *backlog, size_t most,
                          struct reading *reading) {
    size_t length;
    const char *bytes = reading_bytes(reading, &length);
    if (length > most) {
        return UV_EINVAL;
    }
    return backlog_append(conn->core, backlog, bytes, length) < 0 ? UV_ENOMEM : 0;
}

static int resume_inflater(struct websocket *websocket, struct reading *reading) {
    if (!reading_below(reading, 1, 1)) {
        return 0;
    }
    struct inflater_state state;
    state.kept = reading_bytes(reading, &state.length);
    state.produced = reading_number(reading, 8);
    state.window = reading_bytes(reading, &state.window_length);
    if (reading->failed || websocket->receive_window_bits == 0) {
        return UV_EINVAL;
    }
    websocket->inflater = inflater_resume(websocket->receive_window_bits, &state);
    return websocket->inflater ? 0 : UV_EINVAL;
}

/* What the fields may be together. */
static bool is_possible(const struct websocket *websocket) {
    uint8_t opcode = websocket->opcode;
    return is_window(websocket->send_window_bits) &&
           is_window(websocket->receive_window_bits) &&
           (opcode == 0 || opcode == WS_TEXT || opcode == WS_BINARY) &&
           (!websocket->compressed || websocket->receive_window_bits || opcode == 0) &&
           (opcode != 0 || websocket->left == 0);
}

static void read_fields(struct websocket *websocket, struct reading *reading) {
    set_flags(websocket, (unsigned)reading_below(reading, 1, FLAGS - 1));
    websocket->mode = (uint8_t)reading_below(reading, 1, SYNC_WEBSOCKET_MESSAGES);
    websocket->send_window_bits = (uint8_t)reading_number(reading, 1);
    websocket->receive_window_bits = (uint8_t)reading_number(reading, 1);
    websocket->opcode = (uint8_t)reading_number(reading, 1);
    websocket->utf8.missing = (uint8_t)reading_below(reading, 1, 3);
    websocket->utf8.low = (uint8_t)reading_number(reading, 1);
    websocket->utf8.high = (uint8_t)reading_number(reading, 1);
    websocket->left = reading_number(reading, 8);
    websocket->mask = (uint32_t)reading_number(reading, 4);
    websocket->pinged_since = (uint32_t)reading_number(reading, 4);
}

int websocket_read(struct conn *conn, struct reading *reading) {
    struct websocket *websocket = websocket_of(conn);
    size_t most = conn_options(conn)->max_message;
    read_fields(websocket, reading);
    int error = is_possible(websocket) ? 0 : UV_EINVAL;
    if (error == 0) {
        error = resume_backlog(conn, &websocket->message, most, reading);
    }
    if (error == 0) {
        error = resume_backlog(conn, &websocket->stream, most + SPARE, reading);
    }
    return error == 0 ? resume_inflater(websocket, reading) : error;
}
