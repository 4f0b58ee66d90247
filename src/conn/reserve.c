/* reserve.c: see reserve.h. */
#include "conn/reserve.h"

#include <string.h>

#include "conn/conn.h"
#include "http/parser.h"
#include "workers/shares.h"

enum { GRACE = 50 /* ms that a request may take behind the handshake of TCP */ };

static bool is_full(const struct core *core) {
    return core_descriptors(core) >= core->public.client_limit;
}

/* Workers share their ports: what one has no room for is another's, if that has. */
static bool others_are_full(const struct core *core) {
    return !core->shares || shares_least(core) >= core->public.client_limit;
}

/* Whether its place may be another's: it has said nothing, or nothing since its answer.
 */
static bool is_silent(const struct conn *conn) {
    bool idle = conn->protocol == CONN_HTTP && !conn->held && conn->out.bytes == 0;
    bool unknown = conn->protocol == CONN_DETECT && !conn->tls;
    uint32_t silence = core_now(conn->core) - conn->last_read;
    return (idle || unknown) && conn->backlog.length == 0 && !conn->unfinished &&
           silence >= GRACE;
}

static bool has_place(struct core *core) {
    for (uint32_t i = 0; i < core->reserved && core->reserved == RESERVE; i++) {
        struct conn *conn = core->reserve[i];
        if (is_silent(conn)) {
            reserve_leave(conn);
            conn_abort(conn, SYNC_REFUSED, true);
        }
    }
    return core->reserved < RESERVE;
}

bool reserve_takes(struct listener *listener) {
    struct core *core = listener->core;
    return listener->options.transports & SYNC_HTTP && is_full(core) &&
           others_are_full(core) && has_place(core);
}

void reserve_enter(struct conn *conn) {
    struct core *core = conn->core;
    core->reserve[core->reserved++] = conn;
    conn->listener->reserved++;
    conn->reserved = true;
    conn->closing_since = core_now(core);
    conn_arm(conn);
}

/* Keeps the order: the first has been there the longest. */
void reserve_leave(struct conn *conn) {
    struct core *core = conn->core;
    uint32_t place = 0;
    if (!conn->reserved) {
        return;
    }
    while (core->reserve[place] != conn) {
        place++;
    }
    core->reserved--;
    memmove(&core->reserve[place], &core->reserve[place + 1],
            (core->reserved - place) * sizeof(struct conn *));
    conn->listener->reserved--;
    conn->reserved = false;
}

bool reserve_admits(struct conn *conn) {
    if (conn->reserved && listener_has_room(conn->listener)) {
        reserve_leave(conn);
    }
    return !conn->reserved;
}

bool reserve_serves(struct conn *conn, const struct http_request *request) {
    static const char *const paths[] = {"/healthz", "/metrics", "/panel", "/panel.json"};
    if (reserve_admits(conn)) {
        return true;
    }
    const char *target = memchr(request->bytes, ' ', request->head_length);
    size_t length = target ? strcspn(++target, "? ") : 0;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]) && !request->upgrade; i++) {
        if (length == strlen(paths[i]) && memcmp(target, paths[i], length) == 0) {
            return true;
        }
    }
    return false;
}
