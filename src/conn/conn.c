/* conn.c: the life of a connection. What it receives is input.c's, what it sends
 * output.c's. */
#include "conn/conn.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conn/clock.h"
#include "conn/hold.h"
#include "conn/turn.h"

enum {
    CONN_EVENTS =
        5, /* most in a tick: connect or notice, overflow, drain, two of close */
    FREED_LEAST = 1024 * 1024, /* bytes that are told of, when they are */
    FREED_SHARE = 5            /* a fifth of what there was */
};

/* Counted instead of measured, for that costs nothing. */
void conn_weigh(struct core *core, int64_t bytes) {
    core->weight += (uint64_t)bytes;
    if (core->weight > core->most_weight) {
        core->most_weight = core->weight;
    }
}

static void tell_freed(struct core *core) {
    uint64_t freed = core->most_weight - core->weight;
    if (freed >= FREED_LEAST && freed * FREED_SHARE >= core->most_weight) {
        core->most_weight = core->weight;
        batch_push(&core->batch, SYNC_FREED, 0, (uint32_t)(freed / 1024), NULL, 0);
    }
}

static void release(struct conn *conn) {
    conn->next_owing = conn->core->released;
    conn->core->released = conn;
}

uint32_t conn_address(const struct conn *conn, char *text, size_t size) {
    if (conn->kind != SYNC_TRANSPORT_TCP && !conn->forwarded) {
        return 0;
    }
    inet_ntop(conn->ipv6 ? AF_INET6 : AF_INET, conn->address, text, (socklen_t)size);
    return conn->port;
}

void conn_keep_peer(struct conn *conn, const struct sockaddr *peer) {
    conn->ipv6 = false;
    if (peer->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)peer;
        memcpy(conn->address, &in->sin_addr, 4);
        conn->port = ntohs(in->sin_port);
    } else if (peer->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)peer;
        conn->port = ntohs(in6->sin6_port);
        conn->ipv6 = !IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);
        memcpy(conn->address, &in6->sin6_addr.s6_addr[conn->ipv6 ? 0 : 12],
               conn->ipv6 ? 16 : 4);
    }
}

/* Watches the socket. Returns 0, or an error code; then fd is closed, and the connection
 * will be released. */
static int open_socket(struct conn *conn, int fd) {
    int error = stream_open(&conn->core->poller, &conn->stream, fd);
    if (error < 0) {
        conn->state = CONN_CLOSING;
        conn->close_pushed = true; /* nobody has heard of it */
        release(conn);
    }
    return error;
}

int conn_open(struct service *service, const struct protocol *protocol,
              const struct transport *transport, int fd, uint8_t kind,
              const struct sockaddr *peer) {
    struct core *core = service->core;
    struct conn *conn = slab_take_zeroed(&core->conn_slabs, sizeof(*conn));
    bool reserved = conn && batch_reserve(&core->batch, CONN_EVENTS) == 0;
    uint32_t slot = reserved ? table_add(&core->conns, conn) : 0;
    if (slot == 0) {
        if (reserved) {
            batch_unreserve(&core->batch, CONN_EVENTS);
        }
        slab_give(&core->conn_slabs, conn);
        if (fd >= 0) {
            close(fd);
        }
        return UV_ENOMEM;
    }
    core->public.client_count++;
    conn_weigh(core, sizeof(*conn));
    service->clients++;
    conn->core = core;
    conn->service = service;
    conn->wire = (uint8_t)service->options.framing;
    conn_speak(conn, protocol, NULL);
    conn->transport = transport;
    conn->kind = (unsigned)kind & 3;
    conn->slot = slot;
    conn->last_read = core_now(core);
    if (transport->has_socket) {
        int error = open_socket(conn, fd);
        if (error < 0) {
            return error;
        }
        conn_keep_peer(conn, peer);
    }
    core->public.clients_accepted++;
    if (protocol->is_client) {
        conn_announce(conn);
    }
    clock_arm(conn);
    return (int)slot;
}

void conn_announce(struct conn *conn) {
    struct core *core = conn->core;
    if (core->filling) {
        batch_push(&core->batch, SYNC_CONNECT, conn->slot, conn->service->id, NULL, 0);
    } else {
        conn->owes_connect = true;
        turn_owe(conn);
    }
}

static void owe_close(struct conn *conn, enum sync_reason reason) {
    if (!conn->owes_close && !conn->close_pushed) {
        if (!conn->reason) {
            conn->reason = (uint8_t)reason;
        }
        conn->owes_close = true;
        conn->core->public.http_count -= conn->protocol->is_http;
        turn_owe(conn);
    }
}

static void push_connect(struct conn *conn) {
    if (conn->owes_connect) {
        conn->owes_connect = false;
        batch_push(&conn->core->batch, SYNC_CONNECT, conn->slot, conn->service->id, NULL,
                   0);
    }
}

void conn_push_connects(struct core *core) {
    for (struct conn *conn = core->owing; conn; conn = conn->next_owing) {
        push_connect(conn);
    }
}

static void push_owed(struct conn *conn) {
    struct batch *batch = &conn->core->batch;
    push_connect(conn);
    if (conn->owes_overflow && !conn->owes_close) {
        batch_push(batch, SYNC_OVERFLOW, conn->slot, 0, NULL, 0);
    }
    if (conn->owes_drain && !conn->owes_close) {
        batch_push(batch, SYNC_DRAIN, conn->slot, conn->dropped, NULL, 0);
        conn->dropped = 0;
    }
    conn->owes_overflow = false;
    conn->owes_drain = false;
    if (conn->owes_close) {
        if (conn->protocol->gone) {
            conn->protocol->gone(conn);
        }
        batch_push(batch, SYNC_CLOSE, conn->slot, conn->reason, NULL, 0);
        conn->owes_close = false;
        conn->close_pushed = true;
        if (conn->state == CONN_CLOSING) {
            release(conn);
        }
    }
}

void conn_push_owed(struct core *core) {
    struct conn *conn = core->owing;
    core->owing = NULL;
    while (conn) {
        struct conn *next = conn->next_owing;
        conn->in_owing = false;
        push_owed(conn);
        conn = next;
    }
}

static void free_conn(struct conn *conn) {
    struct core *core = conn->core;
    wheel_remove(&core->wheel, &conn->deadline);
    out_clear(&core->pool, &conn->out);
    batch_block_free(conn->backlog.block);
    if (conn->transport->free) {
        conn->transport->free(conn);
    }
    if (conn->protocol->free) {
        conn->protocol->free(conn);
    }
    batch_unreserve(&core->batch, CONN_EVENTS);
    table_remove(&core->conns, conn->slot);
    core->public.client_count--;
    conn_weigh(core, -(int64_t)sizeof(*conn));
    conn->service->left(conn);
    slab_give(&core->conn_slabs, conn);
}

uint32_t conn_free_released(struct core *core) {
    uint32_t freed = 0;
    struct conn *conn = core->released;
    core->released = NULL;
    while (conn) {
        struct conn *next = conn->next_owing;
        if (conn->in_unflushed || conn->stream.closing) {
            /* Once more, when sync_flush has passed it, and the kernel has done with it.
             */
            release(conn);
        } else {
            free_conn(conn);
            freed++;
        }
        conn = next;
    }
    tell_freed(core);
    return freed;
}

void conn_abort(struct conn *conn, enum sync_reason reason, bool reset) {
    if (conn->state == CONN_CLOSING) {
        return;
    }
    conn->state = CONN_CLOSING;
    clock_disarm(conn);
    owe_close(conn, reason);
    if (conn->transport->has_socket) {
        stream_close(&conn->core->poller, &conn->stream, reset);
    } else {
        out_clear(&conn->core->pool, &conn->out);
    }
    if (conn->close_pushed) {
        release(conn);
    }
}

/* Says that nothing more comes; returns whether that must be written. */
static bool says_end(struct conn *conn) {
    return conn->transport->end && conn->transport->end(conn);
}

static void start_flushing(struct conn *conn) {
    conn->state = conn->state == CONN_LEAVING ? CONN_LEFT : CONN_FLUSHING;
    conn->since = core_now(conn->core);
    if (conn_is_paused(conn)) {
        hold_release(conn);
    }
    hold_watch(conn); /* to see the end of the client's side */
    if (conn->protocol->say_close) {
        conn->protocol->say_close(conn, 0, "", 0);
    }
    clock_arm(conn);
    turn_write(conn);
}

void conn_end(struct conn *conn, enum sync_reason reason) {
    if (!conn_is_open(conn)) {
        return;
    }
    if (reason != SYNC_BY_SERVER) { /* that is true only when all was written */
        conn->reason = (uint8_t)reason;
    }
    if (conn->write_broken) {
        conn_abort(conn, SYNC_RESET, false);
    } else {
        start_flushing(conn);
    }
}

void conn_client_ended(struct conn *conn) {
    if (conn->write_broken) {
        conn_abort(conn, SYNC_RESET, false);
    } else if (conn_is_open(conn)) {
        conn->state = CONN_LEAVING;
        owe_close(conn, SYNC_BY_CLIENT);
        start_flushing(conn);
    } else if (conn->state == CONN_FLUSHING) {
        conn->state = CONN_LEFT;
    } else if (conn->state == CONN_LINGERING) {
        conn_abort(conn, SYNC_BY_CLIENT, false);
    }
}

void conn_close_answered(struct conn *conn) {
    if (conn->state != CONN_LINGERING) {
        return;
    }
    if (says_end(conn)) {
        conn->transport->write(conn);
    }
    conn_abort(conn, SYNC_BY_SERVER, false);
}

void conn_write_failed(struct conn *conn) {
    conn->write_broken = true;
    stream_watch_room(&conn->core->poller, &conn->stream, false);
    out_clear(&conn->core->pool, &conn->out);
    if (conn_is_open(conn)) {
        conn->since = core_now(conn->core);
        clock_arm(conn);
    } else {
        conn_abort(conn, SYNC_RESET, false);
    }
}

/* A protocol's own word for the end is answered by the client before TCP ends; in either
 * case what comes meanwhile is read. */
static void end_our_side(struct conn *conn) {
    if (!conn_awaits_close(conn)) {
        stream_end(&conn->stream);
    }
    conn->state = CONN_LINGERING;
    owe_close(conn, SYNC_BY_SERVER);
}

bool conn_emptied(struct conn *conn) {
    if (conn->choked && conn_is_open(conn)) {
        conn->choked = false;
        conn->owes_drain = true;
        turn_owe(conn);
    }
    if (conn->protocol->emptied) {
        conn->protocol->emptied(conn);
    }
    if (conn->state != CONN_FLUSHING && conn->state != CONN_LEFT) {
        return false;
    }
    if (says_end(conn)) {
        return true;
    }
    if (conn->state == CONN_LEFT || !conn->transport->has_socket) {
        conn_abort(conn, SYNC_BY_SERVER, false);
    } else {
        end_our_side(conn);
    }
    return false;
}
