/* reserve.h: places beyond the bound of connections, so that operators' requests are
 * answered by a server that is full.
 *
 * When a core has as many connections as it may, listeners that serve HTTP go on
 * accepting, into a few places. Who is there has two seconds to ask for /healthz,
 * /readyz, /metrics or /panel, and is refused otherwise: by 503, or a reset. One that has
 * said nothing makes room for who comes next. Where there is room for all again, they are
 * connections as others are.
 */
#pragma once

#include "conn/conn.h"

enum { RESERVE_STAY = 2000 /* ms, apart from an answer */ };

/* Whether there is a place in the reserve, which one who has said nothing may leave. */
bool reserve_has_place(struct core *core);

/* A connection that was accepted into the reserve, and one that is freed, or has said
 * nothing. */
void reserve_enter(struct conn *conn);
void reserve_leave(struct conn *conn);

/* Whether a connection may be served as all are. */
bool reserve_admits(struct conn *conn);

/* Which of the reserve's places is a connection's. */
static inline uint32_t reserve_place(const struct conn *conn) {
    uint32_t place = 0;
    while (conn->core->reserve[place].conn != conn) {
        place++;
    }
    return place;
}

/* When it was accepted, in ms. */
static inline uint32_t reserve_since(const struct conn *conn) {
    return conn->core->reserve[reserve_place(conn)].since;
}
