/* output.c: from messages to bytes on their way.
 *
 * Sending only queues; sync_flush writes all that a connection was sent in a tick with
 * one call. What the kernel doesn't take at once stays queued until the socket has room.
 */
#include "conn/output.h"

#include <string.h>

#include "conn/turn.h"

uint32_t output_queued(const struct conn *conn) {
    return conn->out.bytes;
}

bool output_is_behind(const struct conn *conn) {
    return conn->transport->has_socket ? conn->stream.full : conn->out.bytes > 0;
}

/* The queue would grow over max_queue. */
static enum sync_sent overflow(struct conn *conn) {
    if (conn_options(conn)->overflow == SYNC_OVERFLOW_CLOSE) {
        conn_abort(conn, SYNC_QUEUE_FULL, true);
        return SYNC_CLOSED;
    }
    conn->core->public.messages_dropped++;
    conn->choked = true;
    if (conn->dropped++ == 0) {
        conn->owes_overflow = true;
        turn_owe(conn);
    }
    return SYNC_DROPPED;
}

static int append(struct conn *conn, const struct frame *frame, const char *bytes,
                  size_t length, struct shared *shared) {
    struct pool *pool = &conn->core->pool;
    if (shared && shared->size > 0 && conn->stream.full) {
        return out_append(pool, &conn->out, shared->bytes + shared->start,
                          shared->length); /* it would keep all of the run */
    }
    if (shared) {
        return out_append_shared(pool, &conn->out, shared);
    }
    size_t head = frame->head_length;
    size_t tail = frame->tail_length;
    if (head + length + tail == 0) {
        return 0;
    }
    char *place = out_claim(pool, &conn->out, head + length + tail);
    if (!place) {
        return -1;
    }
    memcpy(place, frame->head, head);
    memcpy(place + head, bytes, length);
    if (tail) {
        place[head + length] = frame->tail[0];
    }
    return 0;
}

enum sync_sent output_send(struct conn *conn, const struct frame *frame,
                           const char *bytes, size_t length, struct shared *shared) {
    const struct sync_options *options = conn_options(conn);
    size_t total =
        shared ? shared->length : frame->head_length + length + frame->tail_length;
    if (!conn->protocol->is_client || !conn_is_open(conn) || conn->write_broken) {
        return SYNC_CLOSED;
    }
    if (total > options->max_queue) {
        return SYNC_TOO_LONG;
    }
    size_t queued = output_queued(conn) + total;
    if (queued > options->high_water && !conn->stream.full) {
        /* Much in one tick: what the client can take mustn't count as unread. */
        if (conn->stream.flying) {
            poller_push(&conn->core->poller);
        }
        output_flush(conn);
        if (!conn_is_open(conn) || conn->write_broken) {
            return SYNC_CLOSED;
        }
        queued = output_queued(conn) + total;
    }
    if (queued > options->max_queue) {
        return overflow(conn);
    }
    if (append(conn, frame, bytes, length, shared) < 0) {
        return overflow(conn);
    }
    conn->core->public.messages_out++;
    conn->spoken_to = true;
    turn_write(conn);
    if (queued > options->high_water) {
        conn->choked = true;
        return SYNC_FULL;
    }
    return SYNC_SENT;
}

enum sync_sent output_raw(struct conn *conn, const char *bytes, size_t length) {
    if (conn->state == CONN_LEFT || conn->state == CONN_CLOSING || conn->write_broken) {
        return SYNC_CLOSED;
    }
    if (conn->out.bytes + length > conn_options(conn)->max_queue) {
        return SYNC_TOO_LONG;
    }
    if (out_append(&conn->core->pool, &conn->out, bytes, length) < 0) {
        return SYNC_DROPPED;
    }
    turn_write(conn);
    return SYNC_SENT;
}

/* Whether somebody waits for the queue to be empty. */
static bool is_awaited(const struct conn *conn) {
    return conn->state != CONN_OPEN || conn->choked || conn->protocol->emptied;
}

void output_flush(struct conn *conn) {
    if (conn->stream.full || conn->stream.flying || conn->write_broken ||
        conn->state == CONN_CLOSING) {
        return;
    }
    enum transport_written written;
    do {
        written = conn->transport->write(conn);
    } while (written == TRANSPORT_WRITTEN && conn_emptied(conn));
    if (written == TRANSPORT_FULL) {
        stream_watch_room(&conn->core->poller, &conn->stream, true);
    } else if (written == TRANSPORT_FLIES && is_awaited(conn)) {
        poller_hurry(&conn->core->poller);
    }
}
