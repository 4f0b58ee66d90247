/* carry.c: a connection that goes on in the next process. */
#include "upgrade/carry.h"

#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "conn/clock.h"
#include "conn/memory.h"
#include "conn/plain.h"
#include "conn/turn.h"
#include "http/request.h"
#include "listen/detection.h"
#include "tls/transport.h"
#include "websocket/websocket.h"

enum {
    IPV6 = 1,
    PROXIED = 2,
    FORWARDED = 4,
    CHOKED = 8,
    OWES_DRAIN = 16,
    OWES_OVERFLOW = 32,
    SPOKEN_TO = 64,
    HELD = 128,
    WAITS = 256,
    UNFINISHED = 512,
    HAD_MESSAGE = 1024,
    RELAYED = 2048,
    FLAGS = 4096, /* the first that is none */
    PIECES = 64,
    MOST_TELLS = 7,
    MOST_BACKLOG = 256 * 1024 * 1024
};

bool carry_may(const struct conn *conn) {
    return !secure_handshaking(conn) && conn->protocol->carried &&
           conn->state == CONN_OPEN && !conn->owes_close && !conn->close_pushed &&
           !conn->owes_connect && !conn->write_broken && !conn->reserved &&
           !conn->stream.flying;
}

bool carry_rests(struct conn *conn) {
    return conn->state != CONN_OPEN || !conn->transport->has_socket ||
           stream_rests(&conn->core->poller, &conn->stream);
}

/* What is encrypted stays, as TLS does. */
int carry_collect(struct conn *conn) {
    struct poller *poller = &conn->core->poller;
    char *bytes = NULL;
    ssize_t count = 0;
    if (!poller->backend->rests || !conn->transport->has_socket ||
        conn->transport->secure) {
        return 0;
    }
    while ((count = stream_read(poller, &conn->stream, &bytes, BATCH_ARENA)) > 0) {
        if (backlog_append(conn->core, &conn->backlog, bytes, (size_t)count) < 0) {
            conn_abort(conn, SYNC_NO_MEMORY, true);
            return UV_ENOMEM;
        }
        turn_wait(conn); /* should it stay here after all */
    }
    return 0;
}

static unsigned flags_of(const struct conn *conn) {
    bool held = conn->held && !conn->protocol->is_http;
    return (conn->ipv6 ? IPV6 : 0U) | (conn->proxied ? PROXIED : 0U) |
           (conn->forwarded ? FORWARDED : 0U) | (conn->choked ? CHOKED : 0U) |
           (conn->owes_drain ? OWES_DRAIN : 0U) |
           (conn->owes_overflow ? OWES_OVERFLOW : 0U) |
           (conn->spoken_to ? SPOKEN_TO : 0U) | (held ? HELD : 0U) |
           (conn->waits ? WAITS : 0U) | (conn->unfinished ? UNFINISHED : 0U) |
           (conn->had_message ? HAD_MESSAGE : 0U) |
           (conn->relayed || conn->transport->secure ? RELAYED : 0U);
}

static void set_flags(struct conn *conn, unsigned flags) {
    conn->ipv6 = (flags & IPV6) != 0;
    conn->proxied = (flags & PROXIED) != 0;
    conn->forwarded = (flags & FORWARDED) != 0;
    conn->choked = (flags & CHOKED) != 0;
    conn->owes_drain = (flags & OWES_DRAIN) != 0;
    conn->owes_overflow = (flags & OWES_OVERFLOW) != 0;
    conn->spoken_to = (flags & SPOKEN_TO) != 0;
    conn->held = (flags & HELD) != 0;
    conn->waits = (flags & WAITS) != 0;
    conn->unfinished = (flags & UNFINISHED) != 0;
    conn->had_message = (flags & HAD_MESSAGE) != 0;
    conn->relayed = (flags & RELAYED) != 0;
}

static bool is_stream(const struct conn *conn) {
    return conn->protocol->carried <= CARRIED_STREAM;
}

/* What was received and isn't taken yet. What HTTP has taken of a request goes before. */
static bool write_backlog(const struct conn *conn, struct record *record) {
    size_t before = record->length;
    record_number(record, 0, 4);
    if (conn->protocol->is_http && !conn->protocol->carry(conn, record)) {
        return false;
    }
    const struct backlog *backlog = &conn->backlog;
    char *place = record_claim(record, backlog->length);
    if (place && backlog->length > 0) {
        memcpy(place, backlog->block + backlog->start, backlog->length);
    }
    size_t whole = record->length - before - 4;
    record_number_at(record, before, whole, 4);
    return !record->failed && whole <= MOST_BACKLOG;
}

/* What is unsent in TLS leaves from here. */
static void write_unsent(const struct conn *conn, struct record *record) {
    if (conn->transport->secure) {
        record_number(record, 0, 4);
        return;
    }
    record_number(record, conn->out.bytes, 4);
    char *place = record_claim(record, conn->out.bytes);
    for (const struct piece *piece = conn->out.head; place && piece;
         piece = piece->next) {
        memcpy(place, piece->bytes, piece->length);
        place += piece->length;
    }
}

bool carry_out(const struct conn *conn, struct record *record) {
    record_number(record, conn->protocol->carried, 1);
    record_number(record, !conn->transport->has_socket, 1);
    record_number(record, conn->kind, 1);
    record_number(record, flags_of(conn), 2);
    record_number(record, conn->tells, 1);
    char *address = record_claim(record, sizeof(conn->address));
    if (address) {
        memcpy(address, conn->address, sizeof(conn->address));
    }
    record_number(record, conn->port, 2);
    record_number(record, conn->last_read, 4);
    record_number(record, conn->since, 4);
    record_number(record, conn->rate_until, 8);
    record_number(record, conn->dropped, 4);
    record_number(record, is_stream(conn) ? conn->pinged : 0, 4);
    if (record->failed || !write_backlog(conn, record)) {
        return false;
    }
    write_unsent(conn, record);
    bool more = conn->protocol->carry && !conn->protocol->is_http;
    return (!more || conn->protocol->carry(conn, record)) && !record->failed;
}

/* As long as it isn't known what it speaks. */
static size_t take_nothing(struct conn *conn, char *bytes, size_t length) {
    (void)conn;
    (void)bytes;
    (void)length;
    return 0;
}

static const struct protocol arriving = {.take = take_nothing};

static void count_peer(struct conn *conn) {
    struct sockaddr_in ipv4 = {.sin_family = AF_INET};
    struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6};
    memcpy(&ipv4.sin_addr, conn->address, sizeof(ipv4.sin_addr));
    memcpy(&ipv6.sin6_addr, conn->address, sizeof(ipv6.sin6_addr));
    if (conn->kind == SYNC_TRANSPORT_TCP || conn->forwarded) {
        conn->peer = peers_enter(&conn->core->peers,
                                 conn->ipv6 ? (const struct sockaddr *)&ipv6
                                            : (const struct sockaddr *)&ipv4,
                                 uv_now(&conn->core->loop) * 1000);
    }
}

static void read_fields(struct conn *conn, struct reading *reading, uint32_t *pinged) {
    set_flags(conn, (unsigned)reading_below(reading, 2, FLAGS - 1));
    conn->tells = (uint8_t)reading_below(reading, 1, MOST_TELLS);
    for (size_t i = 0; i < sizeof(conn->address); i++) {
        conn->address[i] = (uint8_t)reading_number(reading, 1);
    }
    conn->port = (uint16_t)reading_number(reading, 2);
    conn->last_read = (uint32_t)reading_number(reading, 4);
    conn->since = (uint32_t)reading_number(reading, 4);
    conn->rate_until = reading_number(reading, 8);
    conn->dropped = (uint32_t)reading_number(reading, 4);
    *pinged = (uint32_t)reading_number(reading, 4);
}

static int read_bytes(struct conn *conn, struct reading *reading) {
    size_t length;
    const char *bytes = reading_bytes(reading, &length);
    if (length > MOST_BACKLOG) {
        return UV_EINVAL;
    }
    int error = backlog_append(conn->core, &conn->backlog, bytes, length);
    bytes = reading_bytes(reading, &length);
    if (error == 0) {
        error = out_append(&conn->core->pool, &conn->out, bytes, length);
    }
    return error < 0 ? UV_ENOMEM : 0;
}

static int speak(struct conn *conn, uint8_t carried, uint32_t pinged,
                 struct reading *reading) {
    switch (carried) {
    case CARRIED_HTTP: return request_begin(conn) ? 0 : UV_ENOMEM;
    case CARRIED_WEBSOCKET: return websocket_resume(conn, reading);
    default: return detection_resume(conn, carried, pinged) ? 0 : UV_EINVAL;
    }
}

/* Lets it go on where it was. */
static void go_on(struct conn *conn) {
    count_peer(conn);
    if (conn->choked && conn->out.bytes == 0) { /* the relay has it */
        conn->choked = false;
        conn->owes_drain = true;
    }
    if (conn->owes_drain || conn->owes_overflow) {
        turn_owe(conn);
    }
    if (conn->out.bytes > 0) {
        turn_write(conn);
    }
    turn_wait(conn);
    clock_arm(conn);
}

static int read_all(struct conn *conn, uint8_t carried, struct reading *reading) {
    uint32_t pinged;
    read_fields(conn, reading, &pinged);
    int error = read_bytes(conn, reading);
    if (error == 0) {
        error = speak(conn, carried, pinged, reading);
    }
    bool whole = !reading->failed && reading->length == 0;
    return error == 0 && !whole ? UV_EINVAL : error;
}

int carry_in(struct service *service, int fd, const char *bytes, size_t length) {
    struct reading reading = {bytes, length, false};
    uint8_t carried = (uint8_t)reading_number(&reading, 1);
    bool has_socket = reading_below(&reading, 1, 1) == 0;
    uint8_t kind = (uint8_t)reading_below(&reading, 1, SYNC_TRANSPORT_MEMORY);
    if (reading.failed || has_socket != (fd >= 0)) {
        if (fd >= 0) {
            close(fd);
        }
        return UV_EINVAL;
    }
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    int slot =
        conn_open(service, &arriving, has_socket ? &plain_transport : &memory_transport,
                  fd, kind, &none);
    if (slot < 0) {
        return slot;
    }
    struct conn *conn = core_conn(service->core, (uint32_t)slot);
    int error = read_all(conn, carried, &reading);
    if (error < 0) {
        carry_away(conn);
        return error;
    }
    go_on(conn);
    return slot;
}

void carry_away(struct conn *conn) {
    if (conn->state == CONN_CLOSING) {
        return;
    }
    conn->core->public.http_count -= conn->protocol->is_http;
    conn->close_pushed = true; /* nobody is told */
    conn->owes_drain = conn->owes_overflow = false;
    out_clear(&conn->core->pool, &conn->out);
    conn_abort(conn, SYNC_BY_SERVER, false);
}
