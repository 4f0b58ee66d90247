/* input.c: from received bytes to messages in the batch.
 *
 * The first bytes tell which protocol takes them. Messages that came whole point into the
 * batch's arena. Only what is unfinished, or what the batch has no room for, is copied
 * into a backlog; while messages wait there nothing is read, so the kernel's buffer fills
 * and the client is slowed down.
 */
#include <string.h>

#include "conn/calls.h"
#include "conn/clock.h"
#include "conn/conn.h"

enum {
    READ_WORK = 1024,       /* of one connection in a tick */
    READ_WORTHWHILE = 4096, /* smaller rests of the arena aren't used */
    FIRST_BACKLOG = 256
};

static void start_tick(struct conn *conn) {
    if (conn->tick != conn->core->tick) {
        conn->tick = conn->core->tick;
        conn->tick_bytes = 0;
        conn->tick_work = 0;
        conn->handed = false;
    }
}

bool input_has_room(const struct conn *conn) {
    return conn->tick_work < READ_WORK && batch_has_room(&conn->core->batch);
}

size_t input_appetite(struct conn *conn) {
    start_tick(conn);
    bool waits = conn->in_ready || !input_has_room(conn);
    bool opened = conn_is_open(conn);
    /* What comes when it has ended is thrown away, but records are read until then. */
    if ((opened || conn->transport->resume) && (waits || (opened && conn->held))) {
        return 0;
    }
    return conn->tick_bytes < WORK_BYTES_MOST ? WORK_BYTES_MOST - conn->tick_bytes : 0;
}

void input_work(struct conn *conn, size_t work) {
    conn->tick_work += (uint32_t)work;
    conn->core->batch.work += (uint32_t)work;
}

void backlog_clear(struct conn *conn, struct backlog *backlog) {
    if (backlog->shown_tick == conn->core->tick) {
        batch_spend(&conn->core->batch, backlog->block);
    } else {
        batch_block_free(backlog->block);
    }
    *backlog = (struct backlog){0};
}

char *backlog_claim(struct conn *conn, struct backlog *backlog, size_t length) {
    size_t total = backlog->length + length;
    if (backlog->start + total > backlog->capacity) {
        size_t capacity = backlog->capacity ? backlog->capacity : FIRST_BACKLOG;
        while (capacity < total) {
            capacity *= 2;
        }
        char *block = batch_block_new(capacity);
        if (!block) {
            return NULL;
        }
        if (backlog->block) {
            memcpy(block, backlog->block + backlog->start, backlog->length);
        }
        uint32_t kept = backlog->length;
        backlog_clear(conn, backlog);
        *backlog = (struct backlog){
            .block = block, .length = kept, .capacity = (uint32_t)capacity};
    }
    return backlog->block + backlog->start + backlog->length;
}

int backlog_append(struct conn *conn, struct backlog *backlog, const char *bytes,
                   size_t length) {
    if (length == 0) {
        return 0;
    }
    char *place = backlog_claim(conn, backlog, length);
    if (!place) {
        return -1;
    }
    memcpy(place, bytes, length);
    backlog->length += (uint32_t)length;
    return 0;
}

void backlog_consume(struct conn *conn, struct backlog *backlog, size_t length) {
    if (length > 0) {
        backlog->shown_tick = conn->core->tick;
        backlog->start += (uint32_t)length;
        backlog->length -= (uint32_t)length;
    }
    if (backlog->length == 0) {
        backlog_clear(conn, backlog);
    }
}

void input_wait(struct conn *conn) {
    struct core *core = conn->core;
    if (!conn->in_ready) {
        conn->in_ready = true;
        conn->next_ready = NULL;
        *core->ready_end = conn;
        core->ready_end = &conn->next_ready;
    }
}

static void count_calls(struct conn *conn, const char *bytes, size_t length) {
    input_work(conn, calls_count(bytes, length) - 1); /* one was counted */
}

void input_push(struct conn *conn, const char *bytes, size_t length) {
    conn->core->public.messages_in++;
    input_work(conn, 1 + length / WORK_BYTES);
    conn->had_message = true;
    conn->handed = true;
    batch_push(&conn->core->batch, SYNC_DATA, conn->slot, 0, bytes, length);
    if (conn_options(conn)->counts_calls) {
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

static uint64_t now_us(const struct conn *conn) {
    return uv_now(&conn->core->loop) * 1000;
}

/* A leaky bucket that holds message_burst messages and loses one every message_interval;
 * rate_until is when it will be empty. */
bool input_count(struct conn *conn) {
    const struct sync_options *options = conn_options(conn);
    uint64_t interval = options->message_interval;
    if (interval == 0) {
        return true;
    }
    uint64_t now = now_us(conn);
    uint64_t until = (conn->rate_until > now ? conn->rate_until : now) + interval;
    if (until - now <= interval * options->message_burst) {
        conn->rate_until = until;
        return true;
    }
    if (options->flood == SYNC_FLOOD_CLOSE) {
        input_end(conn, SYNC_FLOODED);
    } else {
        conn->held = true;
        clock_arm(conn);
    }
    return false;
}

uint32_t input_release_due(const struct conn *conn) {
    const struct sync_options *options = conn_options(conn);
    uint64_t spare = (uint64_t)options->message_interval * (options->message_burst - 1);
    uint64_t now = now_us(conn);
    return conn->rate_until > now + spare
               ? (uint32_t)((conn->rate_until - spare - now) / 1000 + 1)
               : 0;
}

ssize_t input_cut(struct conn *conn, size_t *scanned, const char *bytes, size_t length) {
    const struct sync_options *options = conn_options(conn);
    const struct codec *codec = &codecs[options->framing];
    size_t taken = 0;
    while (taken < length) {
        if (!input_has_room(conn)) {
            input_wait(conn);
            break;
        }
        struct slice message;
        ssize_t cut = codec->cut(bytes + taken, length - taken, scanned,
                                 options->max_message, &message);
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
    backlog_consume(conn, backlog, conn->protocol->take(conn, bytes, backlog->length));
}

void input_take(struct conn *conn, char *bytes, size_t length) {
    start_tick(conn);
    conn->tick_bytes += (uint32_t)length;
    conn->core->public.bytes_in += (double)length;
    conn->last_read = core_now(conn->core);
    if (conn->state != CONN_OPEN && (conn_is_open(conn) || !conn_awaits_close(conn))) {
        return; /* what comes is thrown away */
    }
    int error = 0;
    if (conn->backlog.length > 0) {
        error = backlog_append(conn, &conn->backlog, bytes, length);
        if (error == 0) {
            take_backlog(conn);
        }
    } else {
        size_t taken = conn->protocol->take(conn, bytes, length);
        if (taken < length && conn->state != CONN_CLOSING) {
            error = backlog_append(conn, &conn->backlog, bytes + taken, length - taken);
        }
    }
    if (error < 0) {
        conn_abort(conn, SYNC_NO_MEMORY, true);
    }
}

/* Ends the connection in a tick after that of its last messages, so that they can be
 * answered. */
static void end_after_messages(struct conn *conn) {
    start_tick(conn);
    if (conn_is_open(conn) && conn->held) {
        return; /* its answer goes on with it */
    }
    if (conn_is_open(conn) && (conn->in_ready || conn->handed)) {
        input_wait(conn);
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

/* Whether the socket's bytes are waited for. epoll tells of bytes, and of their end,
 * until they are read: a state that doesn't read them must not watch for them. Nothing
 * comes behind the client's end. A connection that is held is read when it is released;
 * one that is closing is read, and what comes thrown away, to see the end.
 */
static bool wants_bytes(const struct conn *conn) {
    switch (conn->state) {
    case CONN_OPEN:
    case CONN_ENDING: return !conn->held;
    case CONN_LEAVING:
    case CONN_LEFT: return false;
    default: return true;
    }
}

void input_watch(struct conn *conn) {
    if (conn->transport->has_socket) {
        stream_watch_bytes(&conn->core->poller, &conn->stream, wants_bytes(conn));
    }
}

void input_release(struct conn *conn) {
    conn->held = false;
    input_watch(conn);
    if (conn->backlog.length > 0 || conn->state != CONN_OPEN || conn->transport->resume ||
        conn->protocol->resume) {
        input_wait(conn);
    }
    clock_arm(conn);
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
        input_wait(conn); /* in the next tick: it may be greeted and answered */
    } else {
        end_after_messages(conn);
    }
}

static void resume(struct conn *conn) {
    start_tick(conn);
    if (conn->owes_connect) {
        input_wait(conn);
        return;
    }
    if (conn_is_paused(conn)) {
        return; /* input_release comes back here */
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

size_t input_room(struct conn *conn) {
    const struct batch *batch = &conn->core->batch;
    size_t room = input_appetite(conn);
    size_t rest = BATCH_ARENA - batch->arena_used;
    if (rest < READ_WORTHWHILE || !batch_has_room(batch)) {
        return 0;
    }
    return room < rest ? room : rest;
}

/* Whether the socket may be read now. If not it's left for the next poll, which finds it
 * again. libuv calls up clients in the same order each time, so when a tick hasn't room
 * for all, those that had their turn wait until the others had theirs. */
static size_t read_room(struct conn *conn) {
    struct core *core = conn->core;
    size_t room = input_room(conn);
    if (conn->round == core->round && conn->tick_bytes == 0) {
        return 0;
    }
    if (room == 0) {
        bool wanted = !conn->in_ready && !conn->held && conn->tick_bytes == 0;
        core->crowded |= conn->round != core->round && wanted;
    }
    return room;
}

void input_ready(struct conn *conn) {
    struct batch *batch = &conn->core->batch;
    if (!wants_bytes(conn)) {
        input_watch(conn); /* only now: most that are held, or end, aren't for long */
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
