/* rate.h: how many messages a client may send: a leaky bucket that holds message_burst of
 * them and loses one every message_interval. conn->rate_until is when it will be empty.
 */
#pragma once

#include "conn/conn.h"

/* Counts a message. Returns false when that would be too many. */
bool rate_count(struct conn *conn);

/* In how many ms the next may come. */
uint32_t rate_due(const struct conn *conn);
