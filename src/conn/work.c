/* work.c: how much a tick does for a connection. */
#include "conn/work.h"

static size_t appetite(struct conn *conn) {
    work_begin(conn);
    bool waits = conn->in_ready || !work_has_room(conn);
    bool opened = conn_is_open(conn);
    /* What comes when it has ended is thrown away, but records are read until then. */
    if ((opened || conn->transport->resume) && (waits || (opened && conn->held))) {
        return 0;
    }
    return conn->tick_bytes < WORK_MOST_BYTES ? WORK_MOST_BYTES - conn->tick_bytes : 0;
}

size_t work_room(struct conn *conn) {
    const struct batch *batch = &conn->core->batch;
    size_t room = appetite(conn);
    size_t rest = BATCH_ARENA - batch->arena_used;
    if (rest < WORK_WORTHWHILE || !batch_has_room(batch)) {
        return 0;
    }
    return room < rest ? room : rest;
}
