/* hold.h: whether a connection is read. It is held while its request must be answered,
 * when it has sent more than its rate, and while the program wants no more of it. */
#pragma once

#include "conn/conn.h"

/* Whether it isn't read, as all aren't: see sync_freeze. */
static inline bool hold_is_frozen(const struct conn *conn) {
    return conn->core->frozen > (conn_options(conn)->leads ? SYNC_FROZEN_CLIENTS : 0);
}

/* Whether the socket's bytes are waited for. A poller tells of bytes, and of their end,
 * until they are read: a state that doesn't read them must not watch for them. Nothing
 * comes behind the client's end. A connection that is held is read when it is released;
 * one that is closing is read, and what comes thrown away, to see the end. */
static inline bool hold_wants_bytes(const struct conn *conn) {
    switch (conn->state) {
    case CONN_OPEN:
    case CONN_ENDING: return !conn->held && !hold_is_frozen(conn);
    case CONN_LEAVING:
    case CONN_LEFT: return false;
    default: return true;
    }
}

/* Watches the socket for bytes, or no more, as the connection's state wants it. */
void hold_watch(struct conn *conn);

/* What the connection was held for is over, apart from the program's wish. */
void hold_release(struct conn *conn);

/* The program wants no more messages of a client, or wants them again. What was handed
 * out, and what the kernel has, is all that there is until then. */
void hold_pause(struct conn *conn, bool pause);

/* Reads none of the clients that are open, and hands out none of their messages; or does
 * again. */
void hold_freeze(struct core *core, enum sync_frozen freeze);
