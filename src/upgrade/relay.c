/* relay.c: a TLS connection whose plaintext another process has. */
#include "upgrade/relay.h"

#include <stdlib.h>
#include <unistd.h>

#include "conn/clock.h"
#include "conn/hold.h"
#include "conn/plain.h"
#include "conn/turn.h"

enum { MOST_UNSENT = 256 * 1024 /* bytes of one side; then the other isn't read */ };

/* Both sides; NULL is one that has gone. */
struct relay {
    struct conn *sides[2];
};

static struct conn *other_side(const struct conn *conn) {
    const struct relay *relay = conn->protocol_data;
    return relay->sides[relay->sides[0] == conn];
}

static size_t take(struct conn *conn, char *bytes, size_t length) {
    struct conn *other = other_side(conn);
    if (!other || !conn_is_open(other) || other->write_broken) {
        return length;
    }
    if (out_append(&conn->core->pool, &other->out, bytes, length) < 0) {
        conn_abort(other, SYNC_NO_MEMORY, true);
        return length;
    }
    turn_write(other);
    if (other->out.bytes > MOST_UNSENT) {
        hold_pause(conn, true);
    }
    return length;
}

static void emptied(struct conn *conn) {
    struct conn *other = other_side(conn);
    if (other && other->waits) {
        hold_pause(other, false);
    }
}

/* Counted here, since the event that follows lets the program look. */
static void gone(struct conn *conn) {
    struct conn *other = other_side(conn);
    conn->core->public.relay_count--;
    if (other) {
        hold_pause(other, false);
        conn_end(other, SYNC_BY_SERVER);
    }
}

static void free_side(struct conn *conn) {
    struct relay *relay = conn->protocol_data;
    relay->sides[relay->sides[1] == conn] = NULL;
    if (!relay->sides[0] && !relay->sides[1]) {
        free(relay);
    }
}

static const struct protocol relay_protocol = {
    .is_relay = true, .take = take, .emptied = emptied, .gone = gone, .free = free_side};

/* What the connection was goes on elsewhere. */
static void forget(struct conn *conn) {
    conn->core->public.http_count -= conn->protocol->is_http;
    if (conn->protocol->free) {
        conn->protocol->free(conn);
    }
    backlog_clear(conn->core, &conn->backlog);
    conn->unfinished = conn->held = conn->waits = false;
    conn->choked = conn->owes_drain = conn->owes_overflow = false;
    conn->tells = 0;
}

static void join(struct relay *relay, int side, struct conn *conn) {
    relay->sides[side] = conn;
    conn_speak(conn, &relay_protocol, relay);
    conn->core->public.relay_count++;
    hold_watch(conn);
    turn_wait(conn); /* what waits within TLS */
    clock_arm(conn);
}

static size_t take_nothing(struct conn *conn, char *bytes, size_t length) {
    (void)conn;
    (void)bytes;
    return length;
}

static const struct protocol ended = {.take = take_nothing};

void relay_begin(struct conn *conn, int fd) {
    struct relay *relay = calloc(1, sizeof(*relay));
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    forget(conn);
    conn_speak(conn, &ended, NULL);
    int slot = relay ? conn_open(conn->service, &ended, &plain_transport, fd,
                                 SYNC_TRANSPORT_UNIX, &none)
                     : UV_ENOMEM;
    if (slot < 0) {
        if (!relay) {
            close(fd);
        }
        free(relay);
        conn_abort(conn, SYNC_NO_MEMORY, true);
        return;
    }
    join(relay, 0, conn);
    join(relay, 1, core_conn(conn->core, (uint32_t)slot));
}

void relay_end_all(struct core *core) {
    for (uint32_t slot = 1; slot < core->conns.used; slot++) {
        struct conn *conn = core_conn(core, slot);
        if (conn && conn->protocol == &relay_protocol) {
            conn_end(conn, SYNC_BY_SERVER);
        }
    }
}
