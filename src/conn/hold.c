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
    conn->held = false;
    hold_watch(conn);
    if (conn->backlog.length > 0 || conn->state != CONN_OPEN || conn->transport->resume ||
        conn->protocol->resume) {
        turn_wait(conn);
    }
    clock_arm(conn);
}
