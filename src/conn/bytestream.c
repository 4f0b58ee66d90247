/* bytestream.c: a connection that speaks a byte stream. */
#include "conn/bytestream.h"

#include "conn/clock.h"
#include "conn/codec.h"
#include "conn/conn.h"
#include "conn/input.h"
#include "conn/output.h"

void bytestream_answered(struct conn *conn) {
    if (conn->pinged) {
        conn->pinged = 0;
        clock_arm(conn); /* the next ping comes before this one's time is up */
    }
}

static size_t take(struct conn *conn, char *bytes, size_t length) {
    bytestream_answered(conn);
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

void bytestream_consider(const struct conn *conn, struct clock *clock) {
    const struct sync_options *options = conn_options(conn);
    clock_consider(clock, conn->last_read, options->idle_timeout, SYNC_IDLE);
    if (conn->pinged) {
        clock_consider(clock, conn->pinged, options->pong_timeout, SYNC_NO_PONG);
    } else if (conn->service->ping && conn->wire == options->framing) {
        clock_consider(clock, conn->last_read, options->ping_interval, CLOCK_PING);
    }
}

bool bytestream_ran_out(struct conn *conn, int reason) {
    if (reason != CLOCK_PING) {
        return false;
    }
    uint32_t now = core_now(conn->core);
    conn->pinged = now ? now : UINT32_MAX;
    output_send(conn, NULL, NULL, 0, conn->service->ping);
    return true;
}

const struct protocol bytestream_protocol = {.is_client = true,
                                             .carried = CARRIED_STREAM,
                                             .take = take,
                                             .clock = bytestream_consider,
                                             .ran_out = bytestream_ran_out};
