/* input.c: from received bytes to messages in the batch.
 *
 * Messages that came whole point into the batch's arena. Only a message that is
 * unfinished, or one that the batch has no room for, is copied into the connection's
 * backlog; while messages wait there nothing is read, so the kernel's buffer fills and
 * the client is slowed down.
 */
#include <string.h>

#include "conn.h"

enum {
    READ_BYTES = 64 * 1024, /* of one connection in a tick */
    READ_MESSAGES = 1024,   /* of one connection in a tick */
    READ_WORTHWHILE = 4096, /* smaller rests of the arena aren't used */
    FIRST_BACKLOG = 256
};

static void start_tick(struct conn *conn) {
    if (conn->tick != conn->core->tick) {
        conn->tick = conn->core->tick;
        conn->tick_bytes = 0;
        conn->tick_messages = 0;
    }
}

static bool has_room(const struct conn *conn) {
    return conn->tick_messages < READ_MESSAGES && batch_has_room(&conn->core->batch);
}

size_t input_appetite(struct conn *conn) {
    start_tick(conn);
    if (conn->state == CONN_OPEN && (conn->in_ready || !has_room(conn))) {
        return 0;
    }
    return conn->tick_bytes < READ_BYTES ? READ_BYTES - conn->tick_bytes : 0;
}

/* Gives the backlog's memory back, now or when no event points into it any more. */
static void backlog_clear(struct conn *conn) {
    struct backlog *backlog = &conn->backlog;
    if (backlog->shown_tick == conn->core->tick) {
        batch_spend(&conn->core->batch, backlog->block);
    } else {
        batch_block_free(backlog->block);
    }
    *backlog = (struct backlog){0};
}

/* Returns 0, or -1 when memory ran out. */
static int backlog_append(struct conn *conn, const char *bytes, size_t length) {
    struct backlog *backlog = &conn->backlog;
    size_t total = backlog->length + length;
    if (backlog->start + total > backlog->capacity) {
        size_t capacity = backlog->capacity ? backlog->capacity : FIRST_BACKLOG;
        while (capacity < total) {
            capacity *= 2;
        }
        char *block = batch_block_new(capacity);
        if (!block) {
            return -1;
        }
        if (backlog->block) {
            memcpy(block, backlog->block + backlog->start, backlog->length);
        }
        uint32_t kept = backlog->length;
        backlog_clear(conn);
        *backlog = (struct backlog){
            .block = block, .length = kept, .capacity = (uint32_t)capacity};
    }
    memcpy(backlog->block + backlog->start + backlog->length, bytes, length);
    backlog->length += (uint32_t)length;
    return 0;
}

static void make_ready(struct conn *conn) {
    struct core *core = conn->core;
    if (!conn->in_ready) {
        conn->in_ready = true;
        conn->next_ready = NULL;
        *core->ready_end = conn;
        core->ready_end = &conn->next_ready;
    }
}

/* Pushes the messages that `bytes` begins with, as far as there is room. Returns how
 * many bytes they took; all, when the connection was closed on the way. */
static size_t push_messages(struct conn *conn, const char *bytes, size_t length) {
    struct core *core = conn->core;
    size_t taken = 0;
    while (taken < length) {
        if (!has_room(conn)) {
            conn->unfinished = false;
            make_ready(conn);
            return taken;
        }
        struct slice message;
        size_t scanned = conn->scanned;
        ssize_t cut = conn->codec->cut(bytes + taken, length - taken, &scanned,
                                       conn->options->max_message, &message);
        conn->scanned = (uint32_t)scanned;
        if (cut == CODEC_TOO_LONG) {
            conn_end(conn, SYNC_MESSAGE_LONG);
            return length;
        }
        if (cut == CODEC_PARTIAL) {
            if (!conn->unfinished || taken > 0) {
                conn->unfinished = true;
                conn->unfinished_since = core_now(core);
                conn_arm(conn);
            }
            return taken;
        }
        batch_push(&core->batch, SYNC_DATA, conn->slot, 0, message.bytes, message.length);
        core->public.messages_in++;
        conn->tick_messages++;
        conn->had_message = true;
        taken += (size_t)cut;
    }
    conn->unfinished = false;
    return taken;
}

static void push_backlog(struct conn *conn) {
    struct backlog *backlog = &conn->backlog;
    size_t taken = push_messages(conn, backlog->block + backlog->start, backlog->length);
    if (taken > 0) {
        backlog->shown_tick = conn->core->tick;
        backlog->start += (uint32_t)taken;
        backlog->length -= (uint32_t)taken;
    }
    if (backlog->length == 0) {
        backlog_clear(conn);
    }
}

void input_take(struct conn *conn, const char *bytes, size_t length) {
    start_tick(conn);
    conn->tick_bytes += (uint32_t)length;
    conn->core->public.bytes_in += (double)length;
    conn->last_read = core_now(conn->core);
    if (conn->state != CONN_OPEN) {
        return; /* it lingers: what comes is thrown away */
    }
    int error = 0;
    if (conn->backlog.length > 0) {
        error = backlog_append(conn, bytes, length);
        if (error == 0) {
            push_backlog(conn);
        }
    } else {
        size_t taken = push_messages(conn, bytes, length);
        if (taken < length) {
            error = backlog_append(conn, bytes + taken, length - taken);
        }
    }
    if (error < 0) {
        conn_abort(conn, SYNC_NO_MEMORY, true);
    }
}

/* The client ended its side. It goes in a tick after that of its last messages, so that
 * they can be answered. */
static void end_after_messages(struct conn *conn) {
    start_tick(conn);
    if (conn->state == CONN_OPEN && (conn->in_ready || conn->tick_messages > 0)) {
        conn->client_ending = true;
        make_ready(conn);
    } else {
        conn_client_ended(conn);
    }
}

static void resume(struct conn *conn) {
    start_tick(conn);
    if (conn->owes_connect) {
        make_ready(conn);
        return;
    }
    if (conn->backlog.length > 0) {
        push_backlog(conn);
    }
    if (conn->client_ending) {
        end_after_messages(conn);
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
        if (conn->state == CONN_OPEN && core->batch.messages >= BATCH_MESSAGES / 2) {
            conn->in_ready = true;
            conn->next_ready = NULL;
            *waiting_end = conn;
            waiting_end = &conn->next_ready;
        } else if (conn->state == CONN_OPEN) {
            resume(conn);
        }
        conn = next;
    }
    if (waiting) {
        *waiting_end = core->ready;
        core->ready_end = core->ready ? core->ready_end : waiting_end;
        core->ready = waiting;
    }
}

uint32_t input_feed(struct conn *conn, const char *bytes, uint32_t length) {
    if (conn->state != CONN_OPEN) {
        return length; /* thrown away, as bytes of a connection that lingers are */
    }
    size_t most = (size_t)conn->options->max_message + READ_BYTES;
    size_t room = conn->backlog.length < most ? most - conn->backlog.length : 0;
    uint32_t taken = length < room ? length : (uint32_t)room;
    if (taken == 0 || backlog_append(conn, bytes, taken) < 0) {
        return 0;
    }
    conn->core->public.bytes_in += (double)taken;
    conn->last_read = core_now(conn->core);
    make_ready(conn);
    return taken;
}

void input_feed_end(struct conn *conn) {
    conn->client_ending = true;
    make_ready(conn);
}

/* How many bytes of the arena may be read into now. Without room the socket is left for
 * the next poll, which finds it again. libuv calls up clients in the same order each
 * time, so when a tick hasn't room for all, those that had their turn wait until the
 * others had theirs. */
static size_t read_room(struct conn *conn) {
    struct core *core = conn->core;
    struct batch *batch = &core->batch;
    size_t room = input_appetite(conn);
    size_t rest = BATCH_ARENA - batch->arena_used;
    if (conn->round == core->round && conn->tick_bytes == 0) {
        return 0;
    }
    if (rest < READ_WORTHWHILE || !batch_has_room(batch)) {
        core->crowded |= conn->round != core->round && !conn->in_ready;
        return 0;
    }
    return room < rest ? room : rest;
}

void input_ready(struct conn *conn) {
    struct batch *batch = &conn->core->batch;
    size_t room = read_room(conn);
    if (room == 0) {
        return;
    }
    char *bytes = batch->arena + batch->arena_used;
    ssize_t count = socket_read(&conn->socket, bytes, room);
    if (count > 0) {
        conn->round = conn->core->round;
        if (conn->state == CONN_OPEN) {
            batch->arena_used += (size_t)count;
        }
        input_take(conn, bytes, (size_t)count);
    } else if (count == UV_EOF) {
        end_after_messages(conn);
    } else if (count != UV_EAGAIN) {
        conn_abort(conn, SYNC_RESET, false);
    }
}
