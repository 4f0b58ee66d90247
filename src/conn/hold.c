/* hold.c: whether a connection is read. */
#include "conn/hold.h"

#include "conn/clock.h"
#include "conn/turn.h"

void hold_watch(struct conn *conn) {
    if (conn->transport->has_socket) {
        stream_watch_bytes(&conn->core->poller, &conn->stream, hold_wants_bytes(conn));
    }
}

void hold_release(struct conn *conn) {
    if (conn->waits) {
        return;
    }
    conn->held = false;
    hold_watch(conn);
    if (conn->backlog.length > 0 || conn->state != CONN_OPEN || conn->transport->resume ||
        conn->protocol->resume) {
        turn_wait(conn);
    }
    clock_arm(conn);
}

void hold_pause(struct conn *conn, bool pause) {
    if (conn->protocol->is_http || !conn_is_open(conn) || conn->waits == pause) {
        return;
    }
    conn->waits = pause;
    if (pause) {
        conn->held = true;
        conn->unfinished = false; /* nothing of it is taken, so it can't be in time */
    } else {
        conn->last_read = core_now(conn->core); /* its silence was ours */
        hold_release(conn);
    }
}

/* Those that a backend only tells of are not read by whoever is told. */
void hold_freeze(struct core *core, enum sync_frozen freeze) {
    core->frozen = (uint8_t)freeze;
    bool all = !freeze || core->poller.backend->rests;
    for (uint32_t slot = 1; slot < core->conns.used && all; slot++) {
        struct conn *conn = core_conn(core, slot);
        if (conn && conn->state != CONN_CLOSING) {
            hold_watch(conn);
        }
    }
}
