/* work.h: how much a tick does for a connection.
 *
 * It takes at most 64 KiB of each, and work of 1,024 messages; what there is for all is
 * batch.h's. One of work is a message, a frame that is none, or WORK_BYTES that were made
 * or are handed out: so little on the wire that becomes much is taken bit by bit, as much
 * on the wire is.
 */
#pragma once

#include "conn/conn.h"

enum {
    WORK_BYTES = 128,
    WORK_MOST = 1024,            /* of one connection */
    WORK_MOST_BYTES = 64 * 1024, /* that are read of it */
    WORK_WORTHWHILE = 4096       /* smaller rests of the arena aren't used */
};

/* Before anything is counted. */
static inline void work_begin(struct conn *conn) {
    if (conn->tick != conn->core->tick) {
        conn->tick = conn->core->tick;
        conn->tick_bytes = 0;
        conn->tick_work = 0;
        conn->handed = false;
    }
}

static inline void work_add(struct conn *conn, size_t work) {
    conn->tick_work += (uint32_t)work;
    conn->core->batch.work += (uint32_t)work;
}

/* Whether more may be done, and another message has room. If not, turn_wait sees to it
 * that the connection is looked at in the next tick. */
static inline bool work_has_room(const struct conn *conn) {
    return conn->tick_work < WORK_MOST && batch_has_room(&conn->core->batch);
}

/* How many bytes may be read now, into the batch's arena; 0 while they have to wait. */
size_t work_room(struct conn *conn);
