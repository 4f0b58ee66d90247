/* transport.c: a connection whose bytes go through TLS. */
#include "tls/transport.h"

#include <string.h>

#include "listen/connect.h"
#include "tls/tls.h"

enum {
    PIECES = 16,             /* that are joined into a record */
    ANSWERS_MOST = 64 * 1024 /* to key updates, of a client that doesn't read */
};

bool secure_handshaking(const struct conn *conn) {
    return conn->tls && !tls_established(conn->tls);
}

void secure_connect(struct conn *conn) {
    const struct service *service = conn->service;
    conn_set_tls(conn, tls_new_client(service->tls, service->trusted_host));
    if (!conn->tls) {
        conn_abort(conn, SYNC_NO_MEMORY, true);
        return;
    }
    input_unfinished(conn, false);
    secure_receive(conn, NULL, 0);
}

void secure_begin(struct conn *conn, const char *cipher, size_t length) {
    conn_set_tls(conn, tls_new(conn->service->tls));
    if (!conn->tls || tls_feed(conn->tls, cipher, length) < 0) {
        conn_abort(conn, SYNC_NO_MEMORY, true);
        return;
    }
    input_unfinished(conn, false);
    input_wait(conn); /* we are within the reading of plain bytes */
}

/* Writes the alert that is left, and gives up. */
static void failed(struct conn *conn) {
    const char *problem = tls_problem(conn->tls);
    if (problem && conn->protocol == CONN_DETECT && !conn->attempt) {
        batch_push(&conn->core->batch, SYNC_NOTICE, conn->service->id, SYNC_TLS_FAILED,
                   problem, strlen(problem));
    }
    struct iovec alert;
    const char *cipher;
    alert.iov_len = tls_peek(conn->tls, &cipher);
    alert.iov_base = (char *)cipher;
    if (alert.iov_len > 0) {
        stream_write(&conn->stream, &alert, 1);
    }
    conn_abort(conn, SYNC_BROKE_PROTOCOL, false);
}

/* Decrypts once. Returns whether there may be more. */
static bool decrypt(struct conn *conn) {
    struct batch *batch = &conn->core->batch;
    size_t room = input_room(conn);
    if (room == 0) {
        if (conn->state != CONN_OPEN || !conn->held) {
            input_wait(conn);
        }
        return false;
    }
    bool handshaking = secure_handshaking(conn);
    char *plain = batch->arena + batch->arena_used;
    ssize_t count = tls_read(conn->tls, plain, room);
    input_work(conn, tls_work(conn->tls));
    if (handshaking && tls_established(conn->tls)) {
        conn->unfinished = false;
        conn_arm(conn);
        if (conn_is_attempt(conn)) {
            connect_secured(conn);
            input_begin_stream(conn);
        }
    }
    if (count > 0) {
        if (conn->state == CONN_OPEN) {
            batch->arena_used += (size_t)count;
        }
        input_take(conn, plain, (size_t)count);
    } else if (count == TLS_ENDED) {
        input_client_ended(conn);
    } else if (count == TLS_FAILED) {
        failed(conn);
    }
    if (tls_peek(conn->tls, NULL) > ANSWERS_MOST) {
        conn_abort(conn, SYNC_QUEUE_FULL, true);
    }
    return (count > 0 || count == TLS_LATER) && conn->state != CONN_CLOSING;
}

void secure_receive(struct conn *conn, const char *cipher, size_t length) {
    if (length > 0) {
        conn->last_read = core_now(conn->core);
        if (tls_feed(conn->tls, cipher, length) < 0) {
            conn_abort(conn, SYNC_NO_MEMORY, true);
            return;
        }
    }
    while (decrypt(conn)) {
    }
    if (conn->state != CONN_CLOSING &&
        (tls_peek(conn->tls, NULL) > 0 || conn->out.bytes > 0)) {
        output_schedule(conn);
    }
}

/* Encrypts the first bytes of the queue as one record; small messages are joined. */
static ssize_t encrypt(struct conn *conn) {
    char record[TLS_RECORD_MOST];
    struct iovec pieces[PIECES];
    int count = out_gather(&conn->out, pieces, PIECES);
    const char *plain = pieces[0].iov_base;
    size_t length = pieces[0].iov_len;
    if (length < sizeof(record) && count > 1) {
        length = 0;
        for (int i = 0; i < count && length < sizeof(record); i++) {
            size_t room = sizeof(record) - length;
            size_t part = pieces[i].iov_len < room ? pieces[i].iov_len : room;
            memcpy(record + length, pieces[i].iov_base, part);
            length += part;
        }
        plain = record;
    } else if (length > sizeof(record)) {
        length = sizeof(record);
    }
    ssize_t taken = tls_write(conn->tls, plain, length);
    if (taken > 0) {
        out_consume(&conn->core->pool, &conn->out, (size_t)taken);
    }
    return taken;
}

enum written secure_write(struct conn *conn) {
    for (;;) {
        const char *cipher;
        size_t length = tls_peek(conn->tls, &cipher);
        if (length > 0) {
            struct iovec piece = {(char *)cipher, length};
            ssize_t written = stream_write(&conn->stream, &piece, 1);
            if (written == UV_EAGAIN) {
                return FULL;
            }
            if (written < 0) {
                conn_write_failed(conn);
                return BROKEN;
            }
            conn->core->public.bytes_out += (double)written;
            tls_consume(conn->tls, (size_t)written);
        } else if (conn->out.bytes == 0) {
            return WRITTEN;
        } else {
            ssize_t taken = encrypt(conn);
            if (taken < 0) {
                conn_abort(conn, SYNC_RESET, true);
                return BROKEN;
            }
            if (taken == 0) {
                return WAITS;
            }
        }
    }
}

bool secure_end(struct conn *conn) {
    if (!conn->tls || conn->said_end) {
        return false;
    }
    conn->said_end = true;
    tls_end(conn->tls);
    return true;
}
