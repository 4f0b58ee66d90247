/* ready.c: reads and writes sockets that are ready. */
#include "conn/ready.h"

#include "conn/conn.h"
#include "conn/hold.h"
#include "conn/input.h"
#include "conn/output.h"
#include "conn/work.h"

/* How many bytes may be read now. With 0 the socket is left for the next poll, which
 * finds it again. The poller tells of clients in the same order each time, so when a tick
 * hasn't room for all, clients that had their turn wait until the others had theirs. */
static size_t read_room(struct conn *conn) {
    struct core *core = conn->core;
    size_t room = work_room(conn);
    if (conn->round == core->round && conn->tick_bytes == 0) {
        return 0;
    }
    if (room == 0) {
        bool wanted = !conn->in_ready && !conn->held && conn->tick_bytes == 0;
        core->crowded |= conn->round != core->round && wanted;
    }
    return room;
}

static void read_once(struct conn *conn) {
    struct batch *batch = &conn->core->batch;
    if (!hold_wants_bytes(conn)) {
        hold_watch(conn); /* only now: most that are held, or end, aren't for long */
        return;
    }
    size_t room = read_room(conn);
    if (room == 0) {
        return;
    }
    char *bytes = batch->arena + batch->arena_used;
    ssize_t count = stream_read(&conn->stream, bytes, room);
    if (count > 0) {
        conn->round = conn->core->round;
        conn->transport->receive(conn, bytes, (size_t)count);
    } else if (count == UV_EOF) {
        input_client_ended(conn);
    } else if (count != UV_EAGAIN) {
        conn_abort(conn, SYNC_RESET, false);
    }
}

static void write_on(struct conn *conn) {
    conn->stream.full = false;
    output_flush(conn);
    if (!conn->stream.full && conn->state != CONN_CLOSING) {
        conn->stream.full = true; /* as the poller knows it */
        stream_watch_room(&conn->core->poller, &conn->stream, false);
    }
}

void conn_ready(void *data, uint32_t events) {
    struct conn *conn = data;
    if (conn->waits && (events & (EPOLLERR | EPOLLHUP)) && conn_is_open(conn)) {
        conn_abort(conn, SYNC_RESET,
                   false); /* it isn't read, so nothing else would tell */
        return;
    }
    /* What came before a connection broke is still read. */
    if ((events & ~(uint32_t)EPOLLOUT) && conn->state != CONN_CLOSING) {
        read_once(conn);
    }
    if ((events & ~(uint32_t)EPOLLIN) && conn->stream.full &&
        conn->state != CONN_CLOSING) {
        write_on(conn);
    }
}
