/* rate.h: how many messages a client may send: a leaky bucket that holds message_burst of
 * them and loses one every message_interval. conn->rate_until is when it will be empty.
 */
#pragma once

#include "conn/conn.h"

/* Counts a message of a client that has a rate. Returns false when that would be too
 * many. */
bool rate_take(struct conn *conn);
/* The same of any client: most have no rate. */
static inline bool rate_count(struct conn *conn) {
    return conn_options(conn)->message_interval == 0 || rate_take(conn);
}

/* In how many ms the next may come. */
uint32_t rate_due(const struct conn *conn);
