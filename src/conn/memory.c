/* memory.c: a connection without a socket. */
#include "conn/memory.h"

#include <string.h>

#include "conn/backlog.h"
#include "conn/conn.h"
#include "conn/input.h"
#include "conn/output.h"
#include "conn/turn.h"
#include "conn/work.h"

uint32_t memory_feed(struct conn *conn, const char *bytes, uint32_t length) {
    if (conn->state != CONN_OPEN) {
        return length; /* thrown away, as bytes of a connection that lingers are */
    }
    size_t most = (size_t)conn_options(conn)->max_message + WORK_MOST_BYTES;
    size_t room = conn->backlog.length < most ? most - conn->backlog.length : 0;
    uint32_t taken = length < room ? length : (uint32_t)room;
    if (taken == 0 || backlog_append(conn->core, &conn->backlog, bytes, taken) < 0) {
        return 0;
    }
    conn->core->public.bytes_in += (double)taken;
    conn->last_read = core_now(conn->core);
    turn_wait(conn);
    return taken;
}

void memory_end(struct conn *conn) {
    if (conn_is_open(conn)) {
        input_settle(conn);
        input_leave(conn);
        turn_wait(conn);
    }
}

uint32_t memory_take(struct conn *conn, char *bytes, uint32_t size) {
    uint32_t taken = 0;
    struct iovec piece;
    while (taken < size && out_gather(&conn->out, &piece, 1) == 1) {
        size_t part = piece.iov_len < size - taken ? piece.iov_len : size - taken;
        memcpy(bytes + taken, piece.iov_base, part);
        out_consume(&conn->core->pool, &conn->out, part);
        conn->core->public.bytes_out += (double)part;
        taken += (uint32_t)part;
    }
    if (taken > 0) {
        output_flush(conn);
    }
    return taken;
}

/* What is queued waits to be taken. */
static enum transport_written write_nothing(struct conn *conn) {
    return conn->out.bytes == 0 ? TRANSPORT_WRITTEN : TRANSPORT_WAITS;
}

const struct transport memory_transport = {.write = write_nothing};
