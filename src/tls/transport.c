/* transport.c: a connection whose bytes go through TLS. */
#include "tls/transport.h"

#include <string.h>

#include "conn/clock.h"
#include "conn/input.h"
#include "conn/turn.h"
#include "conn/work.h"
#include "tls/tls.h"

enum {
    WEIGHT = 48 * 1024,      /* bytes that OpenSSL takes for a connection */
    PIECES = 16,             /* that are joined into a record */
    ANSWERS_MOST = 64 * 1024 /* to key updates, of a client that doesn't read */
};

static const struct transport tls_transport;

static struct tls *tls_of(const struct conn *conn) {
    return conn->transport_data;
}

static bool is_secure(const struct conn *conn) {
    return conn->transport == &tls_transport;
}

bool secure_handshaking(const struct conn *conn) {
    return is_secure(conn) && !tls_established(tls_of(conn));
}

const char *secure_problem(const struct conn *conn) {
    return is_secure(conn) ? tls_problem(tls_of(conn)) : NULL;
}

/* From now on the connection's bytes go through TLS. Returns whether there was memory
 * for that. */
static bool begin(struct conn *conn, struct tls *tls) {
    if (!tls) {
        conn_abort(conn, SYNC_NO_MEMORY, true);
        return false;
    }
    conn->transport = &tls_transport;
    conn->transport_data = tls;
    conn_weigh(conn->core, WEIGHT);
    input_unfinished(conn, false);
    return true;
}

static void free_tls(struct conn *conn) {
    tls_free(tls_of(conn));
    conn_weigh(conn->core, -(int64_t)WEIGHT);
}

/* Writes the alert that is left, and gives up. */
static void failed(struct conn *conn) {
    const char *problem = tls_problem(tls_of(conn));
    if (problem && conn->protocol->insecure) {
        conn->protocol->insecure(conn, problem);
    }
    struct iovec alert;
    const char *cipher;
    alert.iov_len = tls_peek(tls_of(conn), &cipher);
    alert.iov_base = (char *)cipher;
    if (alert.iov_len > 0) {
        stream_write(&conn->stream, &alert, 1);
    }
    conn_abort(conn, SYNC_BROKE_PROTOCOL, false);
}

/* Decrypts once. Returns whether there may be more. */
static bool decrypt(struct conn *conn) {
    struct batch *batch = &conn->core->batch;
    size_t room = work_room(conn);
    if (room == 0) {
        if (!conn_is_open(conn) || !conn->held) {
            turn_wait(conn);
        }
        return false;
    }
    bool handshaking = secure_handshaking(conn);
    char *plain = batch->arena + batch->arena_used;
    ssize_t count = tls_read(tls_of(conn), plain, room);
    work_add(conn, tls_work(tls_of(conn)));
    if (handshaking && tls_established(tls_of(conn))) {
        conn->unfinished = false;
        clock_arm(conn);
        if (conn->protocol->secured) {
            conn->protocol->secured(conn);
        }
    }
    if (count > 0) {
        if (conn_is_open(conn)) {
            batch->arena_used += (size_t)count;
        }
        input_take(conn, plain, (size_t)count);
    } else if (count == TLS_ENDED) {
        input_client_ended(conn);
    } else if (count == TLS_FAILED) {
        failed(conn);
    }
    if (tls_peek(tls_of(conn), NULL) > ANSWERS_MOST) {
        conn_abort(conn, SYNC_QUEUE_FULL, true);
    }
    return (count > 0 || count == TLS_LATER) && conn->state != CONN_CLOSING;
}

/* Decrypts what was received, and what waited, as far as there is room for it. */
static void resume(struct conn *conn) {
    while (decrypt(conn)) {
    }
    if (conn->state != CONN_CLOSING &&
        (tls_peek(tls_of(conn), NULL) > 0 || conn->out.bytes > 0)) {
        turn_write(conn);
    }
}

/* Decrypted bytes go to the place that these had. */
static void receive(struct conn *conn, char *cipher, size_t length) {
    conn->last_read = core_now(conn->core);
    if (tls_feed(tls_of(conn), cipher, length) < 0) {
        conn_abort(conn, SYNC_NO_MEMORY, true);
        return;
    }
    resume(conn);
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
    ssize_t taken = tls_write(tls_of(conn), plain, length);
    if (taken > 0) {
        out_consume(&conn->core->pool, &conn->out, (size_t)taken);
    }
    return taken;
}

static enum transport_written write_records(struct conn *conn) {
    for (;;) {
        const char *cipher;
        size_t length = tls_peek(tls_of(conn), &cipher);
        if (length > 0) {
            struct iovec piece = {(char *)cipher, length};
            ssize_t written = stream_write(&conn->stream, &piece, 1);
            if (written == UV_EAGAIN) {
                return TRANSPORT_FULL;
            }
            if (written < 0) {
                conn_write_failed(conn);
                return TRANSPORT_BROKEN;
            }
            conn->core->public.bytes_out += (double)written;
            tls_consume(tls_of(conn), (size_t)written);
        } else if (conn->out.bytes == 0) {
            return TRANSPORT_WRITTEN;
        } else {
            ssize_t taken = encrypt(conn);
            if (taken < 0) {
                conn_abort(conn, SYNC_RESET, true);
                return TRANSPORT_BROKEN;
            }
            if (taken == 0) {
                return TRANSPORT_WAITS;
            }
        }
    }
}

/* Tells the client that nothing more comes. */
static bool end(struct conn *conn) {
    return tls_end(tls_of(conn));
}

static const struct transport tls_transport = {.has_socket = true,
                                               .secure = true,
                                               .receive = receive,
                                               .resume = resume,
                                               .write = write_records,
                                               .end = end,
                                               .free = free_tls};

void secure_connect(struct conn *conn) {
    const struct service *service = conn->service;
    if (begin(conn, tls_new_client(service->tls, service->trusted_host))) {
        resume(conn);
    }
}

void secure_begin(struct conn *conn, const char *cipher, size_t length) {
    if (!begin(conn, tls_new(conn->service->tls))) {
        return;
    }
    if (tls_feed(tls_of(conn), cipher, length) < 0) {
        conn_abort(conn, SYNC_NO_MEMORY, true);
        return;
    }
    turn_wait(conn); /* we are within the reading of plain bytes */
}
