/* turn.h: the lists in which a connection waits for its turn. What is done then is
 * conn.c's, input.c's and output.c's. */
#pragma once

#include "conn/conn.h"

/* It owes an event, to be pushed when the poll ends: conn_push_owed. */
void turn_owe(struct conn *conn);

/* It has something that wasn't handed out, or asked to end: input_resume looks at it in
 * the next tick. */
void turn_wait(struct conn *conn);

/* It has something to write: sync_flush does. Most have been told so in this tick. */
void turn_write_first(struct conn *conn);
static inline void turn_write(struct conn *conn) {
    if (!conn->in_unflushed) {
        turn_write_first(conn);
    }
}
