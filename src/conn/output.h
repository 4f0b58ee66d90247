/* output.h: from messages to bytes on their way. */
#pragma once

#include "conn/codec.h"
#include "conn/conn.h"

/* Queues a framed message; see sync_send. With `shared` it goes by reference. */
enum sync_sent output_send(struct conn *conn, const struct frame *frame,
                           const char *bytes, size_t length, struct shared *shared);

/* Queues bytes that are no message. Returns SYNC_SENT, or why not. */
enum sync_sent output_raw(struct conn *conn, const char *bytes, size_t length);

/* Writes what is queued. */
void output_flush(struct conn *conn);

/* Whether what was sent before is still unsent: in a tick, nothing leaves before its end.
 */
bool output_is_behind(const struct conn *conn);

/* Unsent bytes, those in the kernel's hands not counted. */
uint32_t output_queued(const struct conn *conn);

/* The usual case of output_send for a run (see out.h): the connection's queue ends with
 * the message before, and has room. Its caller counts the message. Returns whether it was
 * sent. */
static inline bool output_follows(struct conn *conn, const struct shared *run) {
    size_t queued = (size_t)conn->out.bytes + run->length;
    if (!conn->in_unflushed || !conn_is_open(conn) || conn->write_broken ||
        queued > conn_options(conn)->high_water) {
        return false;
    }
    return out_follow(&conn->out, run);
}
