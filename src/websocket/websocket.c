/* websocket.c: a connection that has become a WebSocket. */
#include "websocket/websocket.h"

#include "conn/clock.h"
#include "websocket/control.h"
#include "websocket/receive.h"
#include "websocket/state.h"

struct websocket *websocket_new(struct conn *conn,
                                const struct sync_websocket *settings) {
    struct websocket *websocket =
        slab_take_zeroed(&conn->core->websocket_slabs, sizeof(*websocket));
    if (!websocket) {
        return NULL;
    }
    websocket->mode = (uint8_t)settings->mode;
    if (settings->deflate) {
        websocket->send_window_bits = (uint8_t)settings->send_window_bits;
        websocket->receive_window_bits = (uint8_t)settings->receive_window_bits;
        websocket->send_takeover = settings->send_takeover != 0;
        websocket->receive_takeover = settings->receive_takeover != 0;
    }
    return websocket;
}

static void free_websocket(struct conn *conn) {
    struct websocket *websocket = websocket_of(conn);
    backlog_clear(conn->core, &websocket->message);
    backlog_clear(conn->core, &websocket->stream);
    inflater_free(websocket->inflater);
    deflater_free(websocket->deflater);
    slab_give(&conn->core->websocket_slabs, websocket);
}

static bool awaits_close(const struct conn *conn) {
    const struct websocket *websocket = websocket_of(conn);
    return websocket->close_sent && !websocket->close_received && !websocket->failed &&
           conn->state != CONN_CLOSING;
}

static void consider(const struct conn *conn, struct clock *clock) {
    const struct sync_options *options = conn_options(conn);
    const struct websocket *websocket = websocket_of(conn);
    if (websocket->pinged) {
        clock_consider(clock, websocket->pinged_since, options->pong_timeout,
                       SYNC_NO_PONG);
    } else {
        clock_consider(clock, conn->last_read, options->ping_interval, CLOCK_PING);
    }
}

static bool ran_out(struct conn *conn, int reason) {
    if (reason == CLOCK_PING) {
        control_ping(conn);
    } else if (reason == SYNC_NO_PONG && conn_is_open(conn) && !conn->write_broken) {
        conn_end(conn, SYNC_NO_PONG); /* with a Close, for one that is only slow */
    } else {
        return false;
    }
    return true;
}

static const struct protocol websocket_protocol = {.is_client = true,
                                                   .carried = CARRIED_WEBSOCKET,
                                                   .carry = websocket_carry,
                                                   .take = receive_take,
                                                   .resume = receive_resume,
                                                   .clock = consider,
                                                   .ran_out = ran_out,
                                                   .say_close = control_say_close,
                                                   .awaits_close = awaits_close,
                                                   .free = free_websocket};

void websocket_begin(struct conn *conn, struct websocket *websocket, bool binary) {
    conn_speak(conn, &websocket_protocol, websocket);
    conn->tells = binary ? SYNC_KIND_BINARY : SYNC_KIND_TEXT;
    websocket_turn(conn, conn->tells);
}

int websocket_resume(struct conn *conn, struct reading *reading) {
    struct sync_websocket none = {0};
    struct websocket *websocket = websocket_new(conn, &none);
    if (!websocket) {
        return UV_ENOMEM;
    }
    conn_speak(conn, &websocket_protocol, websocket);
    int error = websocket_read(conn, reading);
    websocket_use(conn, SYNC_KIND_NONE);
    return error;
}

void websocket_turn(struct conn *conn, uint32_t kind) {
    if (websocket_is(conn)) {
        websocket_of(conn)->sends_binary = kind == SYNC_KIND_BINARY;
        websocket_use(conn, SYNC_KIND_NONE);
    }
}

void websocket_use(struct conn *conn, uint32_t kind) {
    if (websocket_is(conn)) {
        bool own = kind == SYNC_KIND_NONE;
        bool binary = own ? websocket_of(conn)->sends_binary : kind == SYNC_KIND_BINARY;
        conn->wire = websocket_wire(conn, binary);
    }
}

bool websocket_is(const struct conn *conn) {
    return conn->protocol == &websocket_protocol;
}

uint32_t websocket_close_code(const struct conn *conn) {
    return websocket_is(conn) ? websocket_of(conn)->close_code : 0;
}

uint32_t websocket_held(const struct conn *conn) {
    if (!websocket_is(conn)) {
        return 0;
    }
    const struct websocket *websocket = websocket_of(conn);
    return websocket->message.capacity + websocket->stream.capacity;
}
