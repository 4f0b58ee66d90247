/* bytestream.c: a connection that speaks a byte stream. */
#include "conn/bytestream.h"

#include "conn/clock.h"
#include "conn/codec.h"
#include "conn/conn.h"
#include "conn/input.h"

static size_t take(struct conn *conn, char *bytes, size_t length) {
    ssize_t taken = input_cut(conn, &conn->scanned, bytes, length);
    if (taken == CODEC_TOO_LONG) {
        conn_end(conn, SYNC_MESSAGE_LONG);
        return length;
    }
    if (conn->reason == SYNC_FLOODED) {
        return length; /* the rest is thrown away */
    }
    if ((size_t)taken == length || conn->in_ready || conn->held) {
        conn->unfinished = false;
    } else {
        input_unfinished(conn, taken > 0);
    }
    return (size_t)taken;
}

static void consider(const struct conn *conn, struct clock *clock) {
    clock_consider(clock, conn->last_read, conn_options(conn)->idle_timeout, SYNC_IDLE);
}

const struct protocol bytestream_protocol = {
    .is_client = true, .take = take, .clock = consider};
