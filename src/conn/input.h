/* input.h: from received bytes to messages in the batch. */
#pragma once

#include <sys/types.h>

#include "conn/conn.h"
#include "conn/rate.h"

/* Takes received bytes, at most work_room; what can't be handed out in this tick is kept.
 * The bytes must live until the tick ends, and may be changed. */
void input_take(struct conn *conn, char *bytes, size_t length);

/* Hands out a message. There must be room, and the bytes must live until the tick ends.
 */
void input_push(struct conn *conn, const char *bytes, size_t length);

/* Cuts messages off a byte stream and hands them out, as far as there is room. *scanned
 * is the codec's own: see codec.h. Returns how many bytes they took, or CODEC_TOO_LONG.
 */
ssize_t input_cut(struct conn *conn, uint32_t *scanned, const char *bytes, size_t length);

/* A message is beyond the client's rate: the connection is ended, or held. */
void input_flooded(struct conn *conn);

/* Counts a message against the client's rate. Returns false when it may not be taken:
 * then input_flooded was called. */
static inline bool input_count(struct conn *conn) {
    bool taken = rate_count(conn);
    if (!taken) {
        input_flooded(conn);
    }
    return taken;
}

/* Something was begun and must be ended in time; `anew` when it has just been begun. */
void input_unfinished(struct conn *conn, bool anew);

/* Takes no more, and ends the connection for this reason when its messages were
 * answered. */
void input_end(struct conn *conn, enum sync_reason reason);

/* The client ended its side: what was handed out is answered first. */
void input_client_ended(struct conn *conn);

/* The same, for one that sees to the rest itself. */
void input_leave(struct conn *conn);

/* The client says nothing more that would tell its protocol. Returns whether that was an
 * open question. */
bool input_settle(struct conn *conn);

/* Goes on with connections that wait for their turn, until the batch is half full. */
void input_resume(struct core *core);
