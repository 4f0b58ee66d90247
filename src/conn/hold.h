/* hold.h: whether a connection is read. It is held while its request must be answered, or
 * when it has sent more than its rate. */
#pragma once

#include "conn/conn.h"

/* Whether the socket's bytes are waited for. a poller tells of bytes, and of their end,
 * until they are read: a state that doesn't read them must not watch for them. Nothing
 * comes behind the client's end. A connection that is held is read when it is released;
 * one that is closing is read, and what comes thrown away, to see the end. */
static inline bool hold_wants_bytes(const struct conn *conn) {
    switch (conn->state) {
    case CONN_OPEN:
    case CONN_ENDING: return !conn->held;
    case CONN_LEAVING:
    case CONN_LEFT: return false;
    default: return true;
    }
}

/* Watches the socket for bytes, or no more, as the connection's state wants it. */
void hold_watch(struct conn *conn);

/* What the connection was held for is over. */
void hold_release(struct conn *conn);
