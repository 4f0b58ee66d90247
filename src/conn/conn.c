/* conn.c: the life of a connection. What it receives is input.c's, what it sends
 * output.c's. */
#include "conn/conn.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conn/reserve.h"
#include "http/request.h"
#include "listen/connect.h"
#include "tls/transport.h"
#include "websocket/websocket.h"

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

static void socket_closed(struct conn *conn) {
    conn->socket_closed = true;
    if (conn->close_pushed) {
        release(conn);
    }
}

static void keep_peer(struct conn *conn, const struct sockaddr *peer) {
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
        conn->socket_closed = true;
        release(conn);
    }
    return error;
}

int conn_open(struct service *service, const struct transport *transport, int fd,
              uint8_t kind, const struct sockaddr *peer) {
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
    conn->transport = transport;
    conn->kind = kind;
    conn->slot = slot;
    conn->last_read = core_now(core);
    if (transport->has_socket) {
        int error = open_socket(conn, fd);
        if (error < 0) {
            return error;
        }
        keep_peer(conn, peer);
    }
    core->public.clients_accepted++;
    if (conn_transports(conn) == SYNC_STREAMS) {
        conn->protocol = CONN_STREAM;
        conn_announce(conn);
    }
    conn_arm(conn);
    return (int)slot;
}

uint32_t conn_transports(const struct conn *conn) {
    uint32_t transports = conn_options(conn)->transports;
    uint32_t plain = transports & ~(uint32_t)(SYNC_TLS | SYNC_TLS_ONLY);
    const struct transport *carrier = conn->transport;
    if (carrier->secure || !carrier->has_socket || !conn->service->tls) {
        return plain;
    }
    return transports & SYNC_TLS_ONLY ? SYNC_TLS : plain | SYNC_TLS;
}

void conn_announce(struct conn *conn) {
    struct core *core = conn->core;
    if (core->filling) {
        batch_push(&core->batch, SYNC_CONNECT, conn->slot, conn->service->id, NULL, 0);
    } else {
        conn->owes_connect = true;
        conn_owe(conn);
    }
}

void conn_owe(struct conn *conn) {
    struct core *core = conn->core;
    if (!conn->in_owing) {
        conn->in_owing = true;
        conn->next_owing = core->owing;
        core->owing = conn;
        core_wake(core);
    }
}

static void owe_close(struct conn *conn, enum sync_reason reason) {
    if (!conn->owes_close && !conn->close_pushed) {
        if (!conn->reason) {
            conn->reason = (uint8_t)reason;
        }
        conn->owes_close = true;
        conn->core->public.http_count -= conn->protocol == CONN_HTTP;
        conn_owe(conn);
    }
}

static void push_owed(struct conn *conn) {
    struct batch *batch = &conn->core->batch;
    if (conn->owes_connect) {
        conn->owes_connect = false;
        batch_push(batch, SYNC_CONNECT, conn->slot, conn->service->id, NULL, 0);
    }
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
        if (conn_is_attempt(conn)) {
            connect_broke(conn);
        }
        batch_push(batch, SYNC_CLOSE, conn->slot, conn->reason, NULL, 0);
        conn->owes_close = false;
        conn->close_pushed = true;
        if (conn->socket_closed) {
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

uint32_t conn_free_released(struct core *core) {
    uint32_t freed = 0;
    struct conn *conn = core->released;
    core->released = NULL;
    while (conn) {
        struct conn *next = conn->next_owing;
        if (conn->in_unflushed) {
            release(conn); /* once more, when sync_flush has passed it */
        } else {
            wheel_remove(&core->wheel, &conn->deadline);
            out_clear(&core->pool, &conn->out);
            batch_block_free(conn->backlog.block);
            if (conn->transport->free) {
                conn->transport->free(conn);
            }
            if (conn->protocol == CONN_HTTP) {
                request_free(conn);
            } else if (conn->protocol == CONN_WEBSOCKET) {
                websocket_free(conn);
            }
            batch_unreserve(&core->batch, CONN_EVENTS);
            table_remove(&core->conns, conn->slot);
            core->public.client_count--;
            conn_weigh(core, -(int64_t)sizeof(*conn));
            conn->service->left(conn);
            slab_give(&core->conn_slabs, conn);
            freed++;
        }
        conn = next;
    }
    tell_freed(core);
    return freed;
}

static void disarm(struct conn *conn) {
    struct core *core = conn->core;
    wheel_remove(&core->wheel, &conn->deadline);
    if (core->wheel.count == 0) {
        uv_timer_stop(&core->wheel_timer); /* else sync_poll would wait for it */
    }
}

static void close_socket(struct conn *conn, enum sync_reason reason, bool reset) {
    if (conn->state == CONN_CLOSING) {
        return;
    }
    conn->state = CONN_CLOSING;
    disarm(conn);
    owe_close(conn, reason);
    if (conn->transport->has_socket) {
        stream_close(&conn->core->poller, &conn->stream, reset);
    } else {
        out_clear(&conn->core->pool, &conn->out);
    }
    socket_closed(conn);
}

void conn_abort(struct conn *conn, enum sync_reason reason, bool reset) {
    close_socket(conn, reason, reset);
}

/* Says that nothing more comes; returns whether that must be written. */
static bool says_end(struct conn *conn) {
    return conn->transport->end && conn->transport->end(conn);
}

static void start_flushing(struct conn *conn) {
    conn->state = CONN_FLUSHING;
    conn->closing_since = core_now(conn->core);
    if (conn_is_paused(conn)) {
        input_release(conn);
    }
    input_watch(conn); /* to see its end */
    if (conn->protocol == CONN_WEBSOCKET) {
        websocket_say_close(conn, 0, "", 0);
    }
    conn_arm(conn);
    output_schedule(conn);
}

void conn_end(struct conn *conn, enum sync_reason reason) {
    if (conn->state != CONN_OPEN) {
        return;
    }
    if (reason != SYNC_BY_SERVER) { /* that is true only when all was written */
        conn->reason = (uint8_t)reason;
    }
    if (conn->write_broken) {
        close_socket(conn, SYNC_RESET, false);
    } else {
        start_flushing(conn);
    }
}

void conn_client_ended(struct conn *conn) {
    conn->client_ended = true;
    if (conn->write_broken) {
        close_socket(conn, SYNC_RESET, false);
    } else if (conn->state == CONN_OPEN) {
        owe_close(conn, SYNC_BY_CLIENT);
        start_flushing(conn);
    } else if (conn->state == CONN_LINGERING) {
        close_socket(conn, SYNC_BY_CLIENT, false);
    }
}

void conn_close_answered(struct conn *conn) {
    if (conn->state != CONN_LINGERING) {
        return;
    }
    if (says_end(conn)) {
        conn->transport->write(conn);
    }
    close_socket(conn, SYNC_BY_SERVER, false);
}

void conn_write_failed(struct conn *conn) {
    conn->write_broken = true;
    stream_watch_room(&conn->core->poller, &conn->stream, false);
    out_clear(&conn->core->pool, &conn->out);
    if (conn->state == CONN_OPEN && !conn->client_ended) {
        conn->closing_since = core_now(conn->core);
        conn_arm(conn);
    } else {
        close_socket(conn, SYNC_RESET, false);
    }
}

/* A WebSocket's Close is answered by the client before TCP ends (RFC 6455 section 7.1.1);
 * in either case what comes meanwhile is read. */
static void end_our_side(struct conn *conn) {
    if (!websocket_expects_close(conn)) {
        stream_end(&conn->stream);
    }
    conn->state = CONN_LINGERING;
    owe_close(conn, SYNC_BY_SERVER);
}

void conn_emptied(struct conn *conn) {
    if (conn->choked && conn->state == CONN_OPEN) {
        conn->choked = false;
        conn->owes_drain = true;
        conn_owe(conn);
    }
    if (conn->protocol == CONN_HTTP) {
        request_emptied(conn);
    }
    if (conn->state != CONN_FLUSHING) {
        return;
    }
    if (says_end(conn)) {
        output_flush(conn); /* comes back here */
        return;
    }
    if (conn->client_ended || !conn->transport->has_socket) {
        close_socket(conn, SYNC_BY_SERVER, false);
    } else {
        end_our_side(conn);
    }
}

/* What a clock that ran out asks for, apart from closing for an enum sync_reason. */
enum { CLOCK_SETTLE = 1000, CLOCK_PING, CLOCK_RELEASE };

/* The clock that runs out first, as [since, since + timeout) in wrapping ms. */
struct clock {
    uint32_t left; /* ms until it runs out; UINT32_MAX: none runs */
    int reason;
};

static void consider(struct clock *clock, uint32_t now, uint32_t since, uint32_t timeout,
                     int reason) {
    if (timeout > 0) {
        uint32_t passed = now - since;
        uint32_t left = passed < timeout ? timeout - passed : 0;
        if (left < clock->left) {
            clock->left = left;
            clock->reason = reason;
        }
    }
}

/* A client that is silent, or has sent what may be a message by itself, is a byte stream
 * soon; one that must still show what it is has as long as for its first message. */
static void consider_detecting(struct clock *clock, uint32_t now,
                               const struct conn *conn) {
    const struct sync_options *options = conn_options(conn);
    if (secure_handshaking(conn) || conn->reserved) {
        return; /* it's unfinished, or isn't waited for */
    }
    if (conn->guessed && !conn->unfinished) {
        consider(clock, now, conn->last_read, options->idle_timeout, SYNC_IDLE);
        return;
    }
    bool stream = conn_transports(conn) & SYNC_STREAMS;
    bool whole = !conn->unfinished || options->framing == SYNC_FRAMING_RAW;
    if (stream && whole) {
        consider(clock, now, conn->last_read, options->detect_timeout, CLOCK_SETTLE);
    } else {
        consider(clock, now, conn->last_read, options->first_timeout, SYNC_UNFINISHED);
    }
}

/* What is no message by itself is held until the first line ends. A raw chunk is one, so
 * it's handed out when nothing follows. */
static void consider_stream(struct clock *clock, uint32_t now, const struct conn *conn) {
    const struct sync_options *options = conn_options(conn);
    bool held = conn->unfinished && !conn->proven;
    consider(clock, now, conn->last_read, options->idle_timeout, SYNC_IDLE);
    if (held && options->framing == SYNC_FRAMING_RAW) {
        consider(clock, now, conn->last_read, options->detect_timeout, CLOCK_SETTLE);
    }
}

/* Between requests, and while a response isn't read. */
static void consider_request(struct clock *clock, uint32_t now, const struct conn *conn) {
    const struct sync_options *options = conn_options(conn);
    if (conn->out.bytes > 0) {
        consider(clock, now, request_progress(conn), options->message_timeout,
                 SYNC_UNFINISHED);
    } else if (!conn->held) {
        consider(clock, now, conn->last_read, options->first_timeout, SYNC_IDLE);
    }
}

static void consider_ping(struct clock *clock, uint32_t now, const struct conn *conn) {
    const struct sync_options *options = conn_options(conn);
    uint32_t since;
    if (websocket_pinged(conn, &since)) {
        consider(clock, now, since, options->pong_timeout, SYNC_NO_PONG);
    } else {
        consider(clock, now, conn->last_read, options->ping_interval, CLOCK_PING);
    }
}

static struct clock next_clock(const struct conn *conn) {
    const struct sync_options *options = conn_options(conn);
    uint32_t now = core_now(conn->core);
    struct clock clock = {UINT32_MAX, SYNC_RESET};
    if (conn->state != CONN_OPEN || conn->write_broken) {
        consider(&clock, now, conn->closing_since, options->close_timeout, SYNC_RESET);
        return clock;
    }
    if (conn_is_paused(conn)) {
        return (struct clock){input_release_due(conn), CLOCK_RELEASE};
    }
    if (conn->reserved && !conn->held && conn->out.bytes == 0) {
        consider(&clock, now, reserve_since(conn), RESERVE_STAY, SYNC_REFUSED);
    }
    switch (conn->protocol) {
    case CONN_DETECT: consider_detecting(&clock, now, conn); break;
    case CONN_HTTP: consider_request(&clock, now, conn); break;
    case CONN_WEBSOCKET: consider_ping(&clock, now, conn); break;
    default: consider_stream(&clock, now, conn);
    }
    if (conn->unfinished) {
        uint32_t timeout =
            conn->had_message ? options->message_timeout : options->first_timeout;
        consider(&clock, now, conn->unfinished_since, timeout, SYNC_UNFINISHED);
    }
    return clock;
}

void conn_arm(struct conn *conn) {
    struct core *core = conn->core;
    struct clock clock = next_clock(conn);
    if (clock.left == UINT32_MAX || conn->state == CONN_CLOSING) {
        return;
    }
    uint64_t due = uv_now(&core->loop) + clock.left;
    if (conn->deadline.link && conn->deadline.due <= due) {
        return; /* it's looked at early enough, and then set anew */
    }
    wheel_set(&core->wheel, &conn->deadline, due);
    uint64_t wait = clock.left + WHEEL_STEP;
    if (!uv_is_active((uv_handle_t *)&core->wheel_timer) ||
        uv_timer_get_due_in(&core->wheel_timer) > wait) {
        uv_timer_start(&core->wheel_timer, conn_deadlines_run, wait, 0);
    }
}

static void ran_out(struct conn *conn, int reason) {
    if (reason == CLOCK_SETTLE) {
        input_settle(conn);
    } else if (reason == CLOCK_PING) {
        websocket_ping(conn);
    } else if (reason == CLOCK_RELEASE) {
        input_release(conn);
    } else if (reason == SYNC_REFUSED && reserve_admits(conn)) {
        return; /* there is room for it now */
    } else if (conn->protocol == CONN_HTTP && reason == SYNC_UNFINISHED &&
               conn->state == CONN_OPEN && conn->unfinished) {
        request_refuse(conn, 408, "the request did not come in time",
                       SYNC_BROKE_PROTOCOL);
    } else if (reason == SYNC_NO_PONG && conn->state == CONN_OPEN &&
               !conn->write_broken) {
        conn_end(conn, SYNC_NO_PONG); /* with a Close, for one that is only slow */
    } else {
        /* A client that is slow to go gets a reset, so that nothing of it stays. */
        bool reset = conn->state != CONN_LINGERING;
        conn_abort(conn, (enum sync_reason)reason, reset);
    }
}

void conn_deadlines_run(uv_timer_t *timer) {
    struct core *core = timer->data;
    struct deadline *deadline;
    uint64_t now = uv_now(&core->loop);
    while ((deadline = wheel_next_due(&core->wheel, now))) {
        struct conn *conn =
            (struct conn *)(void *)((char *)deadline - offsetof(struct conn, deadline));
        struct clock clock = next_clock(conn);
        if (clock.left == 0) {
            ran_out(conn, clock.reason);
            core_wake(core); /* libuv runs timers before it sleeps, too */
        }
        conn_arm(conn);
    }
    int64_t wait = wheel_wait(&core->wheel, now);
    if (wait >= 0) {
        uv_timer_start(timer, conn_deadlines_run, (uint64_t)wait, 0);
    }
}
