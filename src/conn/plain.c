/* plain.c: a connection whose socket carries its bytes as they are. */
#include "conn/plain.h"

#include "conn/conn.h"
#include "conn/input.h"

enum { WRITE_PIECES = 64 /* iovecs of one write */ };

/* They stay where they were read to, until the tick ends. */
static void receive(struct conn *conn, char *bytes, size_t length) {
    if (conn_is_open(conn)) {
        conn->core->batch.arena_used += length;
    }
    input_take(conn, bytes, length);
}

/* Writes what the kernel takes at once, or with what others are sent. */
static enum transport_written write_now(struct conn *conn) {
    while (conn->out.bytes > 0) {
        struct iovec pieces[WRITE_PIECES];
        int count = out_gather(&conn->out, pieces, WRITE_PIECES);
        if (stream_send(&conn->core->poller, &conn->stream, pieces, count)) {
            return TRANSPORT_FLIES;
        }
        ssize_t written = stream_write(&conn->stream, pieces, count);
        if (written == UV_EAGAIN) {
            return TRANSPORT_FULL;
        }
        if (written < 0) {
            conn_write_failed(conn);
            return TRANSPORT_BROKEN;
        }
        conn->core->public.bytes_out += (double)written;
        out_consume(&conn->core->pool, &conn->out, (size_t)written);
    }
    return TRANSPORT_WRITTEN;
}

const struct transport plain_transport = {
    .has_socket = true, .receive = receive, .write = write_now};
