/* control.c: how a WebSocket is asked whether it is there, and how it ends. */
#include "websocket/control.h"

#include <string.h>

#include "conn/input.h"
#include "conn/output.h"
#include "websocket/state.h"

void control_send(struct conn *conn, enum ws_opcode opcode, const char *payload,
                  size_t length) {
    char frame[2 + WS_CONTROL_MOST];
    uint8_t head = ws_header_write(frame, opcode, false, length);
    memcpy(frame + head, payload, length);
    /* A client that pings and doesn't read gets no pongs once its queue is full. */
    output_raw(conn, frame, head + length);
}

static uint32_t code_for(const struct conn *conn) {
    if (websocket_of(conn)->close_code) {
        return websocket_of(conn)->close_code;
    }
    switch (conn->reason) {
    case SYNC_MESSAGE_LONG: return WS_TOO_BIG;
    case SYNC_BROKE_PROTOCOL: return WS_PROTOCOL_ERROR;
    case SYNC_NO_PONG: return WS_GOING_AWAY;
    case SYNC_FLOODED: return WS_POLICY;
    default: return WS_NORMAL;
    }
}

void control_say_close(struct conn *conn, uint32_t code, const char *why, size_t length) {
    struct websocket *websocket = websocket_of(conn);
    /* A client that ended the stream without a Close was cut off, perhaps by something in
     * between: what still listens there must not take our Close for its end. */
    bool cut_off = conn->state == CONN_LEFT && !websocket->close_received;
    if (websocket->close_sent || cut_off) {
        return;
    }
    websocket->close_sent = true;
    code = code ? code : code_for(conn);
    if (!websocket->close_code) {
        websocket->close_code = (uint16_t)code;
    }
    char payload[WS_CONTROL_MOST] = {(char)(code >> 8), (char)(code & 0xff)};
    size_t most = sizeof(payload) - 2;
    size_t kept = length <= most && utf8_valid(why, length) ? length : 0;
    memcpy(payload + 2, why, kept);
    /* To a Close without a code the answer has none. */
    control_send(conn, WS_CLOSE, payload, code == WS_NO_CODE ? 0 : 2 + kept);
}

void control_ping(struct conn *conn) {
    struct websocket *websocket = websocket_of(conn);
    websocket->pinged = true;
    websocket->pinged_since = core_now(conn->core);
    control_send(conn, WS_PING, "", 0);
    if (!websocket->deflater_behind) { /* silent for so long: its memory is given back */
        deflater_free(websocket->deflater);
        websocket->deflater = NULL;
    }
}

bool control_fail(struct conn *conn, enum ws_code code) {
    struct websocket *websocket = websocket_of(conn);
    websocket->failed = true;
    websocket->close_code = (uint16_t)code;
    input_end(conn, code == WS_TOO_BIG ? SYNC_MESSAGE_LONG : SYNC_BROKE_PROTOCOL);
    return false;
}

bool control_no_memory(struct conn *conn) {
    conn_abort(conn, SYNC_NO_MEMORY, true);
    return false;
}
