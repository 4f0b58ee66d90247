/* reserve.h: places beyond the bound of connections, so that operators' requests are
 * answered by a server that is full.
 *
 * When a core has as many connections as it may, listeners that serve HTTP go on
 * accepting, into a few places. Who is there has two seconds to ask for /healthz,
 * /metrics or /panel, and is refused otherwise: by 503, or a reset. One that has said
 * nothing makes room for who comes next. Where there is room for all again, they are
 * connections as others are.
 */
#pragma once

#include <stdbool.h>

#include "core/core.h"

struct http_request;

enum { RESERVE_STAY = 2000 /* ms, apart from an answer */ };

/* Whether a listener that has no room may accept nevertheless. */
bool reserve_takes(struct listener *listener);

/* A connection that was accepted then, and one that is freed. */
void reserve_enter(struct conn *conn);
void reserve_leave(struct conn *conn);

/* Whether a connection may be served as all are. */
bool reserve_admits(struct conn *conn);

/* Whether it may be, or its request is an operator's. */
bool reserve_serves(struct conn *conn, const struct http_request *request);
