/* input.c: from received bytes to messages in the batch.
 *
 * The first bytes tell which protocol takes them. Messages that came whole point into the
 * batch's arena. Only what is unfinished, or what the batch has no room for, is copied
 * into a backlog; while messages wait there nothing is read, so the kernel's buffer fills
 * and the client is slowed down.
 */
#include "conn/input.h"

#include "conn/abuse.h"

#include "conn/calls.h"
#include "conn/clock.h"
#include "conn/codec.h"
#include "conn/hold.h"
#include "conn/turn.h"
#include "conn/work.h"

static void count_calls(struct conn *conn, const char *bytes, size_t length) {
    work_add(conn, calls_count(bytes, length) - 1); /* one was counted */
}

void input_push(struct conn *conn, const char *bytes, size_t length) {
    conn->core->public.messages_in++;
    work_add(conn, 1 + length / WORK_BYTES);
    conn->had_message = true;
    conn->handed = true;
    const struct sync_options *options = conn_options(conn);
    uint32_t type = SYNC_DATA + options->takes_bytes;
    batch_push(&conn->core->batch, type, conn->slot, conn->tells, bytes, length);
    if (options->counts_calls) {
        count_calls(conn, bytes, length);
    }
}

void input_unfinished(struct conn *conn, bool anew) {
    if (!conn->unfinished || anew) {
        conn->unfinished = true;
        if (!conn->write_broken) { /* else it has been closing for a while */
            conn->since = core_now(conn->core);
            clock_arm(conn);
        }
    }
}

void input_flooded(struct conn *conn) {
    if (conn_options(conn)->flood == SYNC_FLOOD_CLOSE) {
        abuse_allows(conn->service, conn->peer, PEER_FAILS);
        input_end(conn, SYNC_FLOODED);
    } else {
        conn->held = true;
        clock_arm(conn);
    }
}

ssize_t input_cut(struct conn *conn, uint32_t *scanned, const char *bytes,
                  size_t length) {
    const struct sync_options *options = conn_options(conn);
    /* A byte stream keeps its framing when its listener's settings are others; that of a
     * WebSocket's binary frames is no form in which it is sent all. */
    bool is_stream = conn->wire < CODEC_COUNT;
    const struct codec *codec = &codecs[is_stream ? conn->wire : options->framing];
    size_t taken = 0;
    while (taken < length) {
        if (!work_has_room(conn)) {
            turn_wait(conn);
            break;
        }
        struct slice message;
        size_t looked = *scanned;
        ssize_t cut = codec->cut(bytes + taken, length - taken, &looked,
                                 options->max_message, &message);
        *scanned = (uint32_t)looked;
        if (cut == CODEC_TOO_LONG) {
            return CODEC_TOO_LONG;
        }
        if (cut == CODEC_PARTIAL || !input_count(conn)) {
            break;
        }
        input_push(conn, message.bytes, message.length);
        taken += (size_t)cut;
    }
    return (ssize_t)taken;
}

bool input_settle(struct conn *conn) {
    return conn->protocol->settle && conn->protocol->settle(conn);
}

static void take_backlog(struct conn *conn) {
    struct backlog *backlog = &conn->backlog;
    char *bytes = backlog->block + backlog->start;
    backlog_consume(conn->core, backlog,
                    conn->protocol->take(conn, bytes, backlog->length));
}

void input_take(struct conn *conn, char *bytes, size_t length) {
    work_begin(conn);
    conn->tick_bytes += (uint32_t)length;
    conn->core->public.bytes_in += (double)length;
    conn->last_read = core_now(conn->core);
    if (conn->state != CONN_OPEN && (conn_is_open(conn) || !conn_awaits_close(conn))) {
        return; /* what comes is thrown away */
    }
    int error = 0;
    if (conn->backlog.length > 0) {
        error = backlog_append(conn->core, &conn->backlog, bytes, length);
        if (error == 0) {
            take_backlog(conn);
        }
    } else {
        size_t taken = conn->protocol->take(conn, bytes, length);
        if (taken < length && conn->state != CONN_CLOSING) {
            error =
                backlog_append(conn->core, &conn->backlog, bytes + taken, length - taken);
        }
    }
    if (error < 0) {
        conn_abort(conn, SYNC_NO_MEMORY, true);
    }
}

/* Ends the connection in a tick after that of its last messages, so that they can be
 * answered. */
static void end_after_messages(struct conn *conn) {
    work_begin(conn);
    if (conn_is_open(conn) && conn->held) {
        return; /* its answer goes on with it */
    }
    if (conn_is_open(conn) && (conn->in_ready || conn->handed)) {
        turn_wait(conn);
    } else if (conn->state == CONN_ENDING) {
        conn_end(conn, conn->reason);
    } else {
        conn_client_ended(conn);
    }
}

void input_end(struct conn *conn, enum sync_reason reason) {
    if (conn->state == CONN_OPEN) {
        conn->reason = (uint8_t)reason;
        conn->state = CONN_ENDING;
        end_after_messages(conn);
    }
}

void input_leave(struct conn *conn) {
    if (conn_is_open(conn)) {
        conn->state = CONN_LEAVING;
    }
}

void input_client_ended(struct conn *conn) {
    bool settled = conn->state == CONN_OPEN && input_settle(conn);
    input_leave(conn);
    if (settled) {
        turn_wait(conn); /* in the next tick: it may be greeted and answered */
    } else {
        end_after_messages(conn);
    }
}

static void resume(struct conn *conn) {
    work_begin(conn);
    if (conn->owes_connect || hold_is_frozen(conn)) {
        turn_wait(conn);
        return;
    }
    if (conn_is_paused(conn)) {
        return; /* hold_release comes back here */
    }
    if (conn->protocol->resume) {
        conn->protocol->resume(conn);
    }
    if (conn->backlog.length > 0 && !conn->in_ready && !conn_is_paused(conn)) {
        take_backlog(conn);
    }
    if (conn->transport->resume && !conn->in_ready && conn_is_open(conn)) {
        conn->transport->resume(conn);
    }
    if (conn->state == CONN_ENDING || conn->state == CONN_LEAVING) {
        end_after_messages(conn);
    }
}

/* Of one that takes no messages any more. */
static void resume_ended(struct conn *conn) {
    if (conn_awaits_close(conn) && conn->backlog.length > 0) {
        take_backlog(conn); /* it may hold a Close that crossed ours */
    }
    if (conn->transport->resume && conn->state != CONN_CLOSING) {
        conn->transport->resume(conn);
    }
}

void input_resume(struct core *core) {
    struct conn *conn = core->ready;
    struct conn *waiting = NULL; /* those this tick has no room for: first in the next */
    struct conn **waiting_end = &waiting;
    core->ready = NULL;
    core->ready_end = &core->ready;
    while (conn) {
        struct conn *next = conn->next_ready;
        conn->in_ready = false;
        if (conn_is_open(conn) && batch_is_half_full(&core->batch)) {
            conn->in_ready = true;
            conn->next_ready = NULL;
            *waiting_end = conn;
            waiting_end = &conn->next_ready;
        } else if (conn_is_open(conn)) {
            resume(conn);
        } else if (conn->state != CONN_CLOSING) {
            resume_ended(conn);
        }
        conn = next;
    }
    batch_leave_room(&core->batch);
    if (waiting) {
        *waiting_end = core->ready;
        core->ready_end = core->ready ? core->ready_end : waiting_end;
        core->ready = waiting;
    }
}
