/* reserve.c: see reserve.h. */
#include "conn/reserve.h"

#include <string.h>

#include "conn/clock.h"
#include "conn/conn.h"

enum { GRACE = 50 /* ms that a request may take behind the handshake of TCP */ };

/* Whether its place may be another's: it has said nothing, or nothing since its answer.
 */
static bool is_silent(const struct conn *conn) {
    bool idle = conn->protocol->is_http && !conn->held && conn->out.bytes == 0;
    bool unknown = !conn->protocol->is_http && !conn->transport->secure;
    uint32_t silence = core_now(conn->core) - conn->last_read;
    return (idle || unknown) && !conn->protocol->is_client && conn->backlog.length == 0 &&
           !conn->unfinished && silence >= GRACE;
}

bool reserve_has_place(struct core *core) {
    for (uint32_t i = 0; i < core->reserved && core->reserved == CORE_RESERVE; i++) {
        struct conn *conn = core->reserve[i].conn;
        if (is_silent(conn)) {
            reserve_leave(conn);
            conn_abort(conn, SYNC_REFUSED, true);
        }
    }
    return core->reserved < CORE_RESERVE;
}

void reserve_enter(struct conn *conn) {
    struct core *core = conn->core;
    core->reserve[core->reserved++] = (struct place){conn, core_now(core)};
    conn->service->reserved++;
    conn->reserved = true;
    clock_arm(conn);
}

/* Keeps the order: the first has been there the longest. */
void reserve_leave(struct conn *conn) {
    struct core *core = conn->core;
    if (!conn->reserved) {
        return;
    }
    uint32_t place = reserve_place(conn);
    core->reserved--;
    memmove(&core->reserve[place], &core->reserve[place + 1],
            (core->reserved - place) * sizeof(struct place));
    conn->service->reserved--;
    conn->reserved = false;
}

bool reserve_admits(struct conn *conn) {
    if (conn->reserved && service_has_room(conn->service)) {
        reserve_leave(conn);
    }
    return !conn->reserved;
}
