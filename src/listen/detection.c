/* detection.c: connections that are new, until they have shown what they speak. */
#include "listen/detection.h"

#include <string.h>

#include "conn/abuse.h"
#include "conn/bytestream.h"
#include "conn/clock.h"
#include "conn/conn.h"
#include "conn/detect.h"
#include "conn/input.h"
#include "conn/memory.h"
#include "conn/output.h"
#include "conn/plain.h"
#include "conn/reserve.h"
#include "conn/turn.h"
#include "http/request.h"
#include "listen/proxy.h"
#include "net/network.h"
#include "tls/transport.h"
#include "workers/shares.h"

enum {
    FIRST_LINE = 16 * 1024 /* of a byte stream, that may turn out to be a request's */
};

static const struct protocol unknown;
static const struct protocol guess;
static const struct protocol first_line;
static const struct protocol behind_proxy;

/* What clients may use, as far as that is still open: enum sync_transports. */
static uint32_t open_transports(const struct service *service,
                                const struct transport *transport) {
    uint32_t transports = service->options.transports;
    uint32_t plain = transports & ~(uint32_t)(SYNC_TLS | SYNC_TLS_ONLY);
    if (transport->secure || !transport->has_socket || !service->tls) {
        return plain;
    }
    return transports & SYNC_TLS_ONLY ? SYNC_TLS : plain | SYNC_TLS;
}

static uint32_t transports_of(const struct conn *conn) {
    return open_transports(conn->service, conn->transport);
}

static bool may_be_stream(const struct conn *conn) {
    return transports_of(conn) & SYNC_STREAMS;
}

static int open_conn(struct service *service, const struct transport *transport, int fd,
                     uint8_t kind, const struct sockaddr *peer) {
    bool stream = open_transports(service, transport) == SYNC_STREAMS;
    bool proxied = peer && network_has(service->proxies, peer);
    const struct protocol *protocol = proxied  ? &behind_proxy
                                      : stream ? &first_line
                                               : &unknown;
    int slot = conn_open(service, protocol, transport, fd, kind, peer);
    if (slot > 0) {
        core_conn(service->core, (uint32_t)slot)->proxied = proxied;
    }
    shares_tell(service->core);
    return slot;
}

int detection_open(struct service *service, int fd, uint8_t kind,
                   const struct sockaddr *peer) {
    return open_conn(service, &plain_transport, fd, kind, peer);
}

int detection_open_memory(struct service *service) {
    return open_conn(service, &memory_transport, -1, SYNC_TRANSPORT_MEMORY, NULL);
}

void detection_begin_stream(struct conn *conn) {
    bool told = conn->protocol->is_client;
    conn_speak(conn, &first_line, NULL);
    if (!told) {
        conn_announce(conn);
    }
}

/* A byte stream's first line. */

/* An HTTP request that any page can send is refused, before a part of it is taken for a
 * message. */
static size_t take_first_line(struct conn *conn, char *bytes, size_t length) {
    size_t scanned = conn->scanned;
    bytestream_answered(conn);
    enum detected found = detect_request_line(bytes, length, &scanned);
    conn->scanned = (uint32_t)scanned;
    if (found == DETECT_STREAM) {
        conn_speak(conn, &bytestream_protocol, NULL);
        return conn->protocol->take(conn, bytes, length);
    }
    if (found == DETECT_HTTP) {
        request_refuse(conn, 400, "this is a byte stream, which takes no HTTP",
                       SYNC_REFUSED);
    } else if (length > conn_options(conn)->max_message && length > FIRST_LINE) {
        conn_end(conn, SYNC_MESSAGE_LONG);
    } else {
        input_unfinished(conn, false);
    }
    return conn_is_open(conn) ? 0 : length;
}

/* What is no message by itself is held until the first line ends. A raw chunk is one, so
 * it's handed out when nothing follows. */
static void consider_first_line(const struct conn *conn, struct clock *clock) {
    const struct sync_options *options = conn_options(conn);
    bytestream_consider(conn, clock);
    if (conn->unfinished && options->framing == SYNC_FRAMING_RAW) {
        clock_consider(clock, conn->last_read, options->detect_timeout, CLOCK_SETTLE);
    }
}

static void take_as_stream(struct conn *conn) {
    conn_speak(conn, &bytestream_protocol, NULL);
    conn->unfinished = false;
    turn_wait(conn);
}

static bool settle_first_line(struct conn *conn) {
    if (!conn->unfinished) {
        return false;
    }
    take_as_stream(conn);
    return true;
}

static bool settle_in_time(struct conn *conn, int reason) {
    if (reason != CLOCK_SETTLE) {
        return bytestream_ran_out(conn, reason);
    }
    conn->protocol->settle(conn);
    return true;
}

static const struct protocol first_line = {.is_client = true,
                                           .carried = CARRIED_FIRST_LINE,
                                           .take = take_first_line,
                                           .settle = settle_first_line,
                                           .clock = consider_first_line,
                                           .ran_out = settle_in_time};

/* The first bytes of all. */

/* The client counted as a byte stream because it was silent, as one is whose first packet
 * was lost; it's another kind. As long as it was sent nothing, that can be mended: it
 * leaves, and comes again. Returns whether it's so. */
static bool take_guess_back(struct conn *conn) {
    if (conn->protocol != &guess) {
        return true;
    }
    if (conn->spoken_to) {
        return false;
    }
    conn_speak(conn, &unknown, NULL);
    batch_push(&conn->core->batch, SYNC_CLOSE, conn->slot, SYNC_BY_CLIENT, NULL, 0);
    return true;
}

/* Answers a request for a Flash policy, and ends. */
static void answer_policy(struct conn *conn) {
    const struct shared *policy = conn->service->policy;
    if (policy) {
        output_raw(conn, policy->bytes, policy->length);
    }
    conn_end(conn, SYNC_BY_SERVER);
}

/* Before a handshake costs something. */
static void begin_secure(struct conn *conn, char *bytes, size_t length) {
    if (abuse_allows(conn->service, conn->peer, PEER_SHAKES_HANDS)) {
        secure_begin(conn, bytes, length);
        return;
    }
    conn->core->public.clients_refused++;
    conn_abort(conn, SYNC_REFUSED, true);
}

static size_t begin(struct conn *conn, enum detected found, char *bytes, size_t length) {
    switch (found) {
    case DETECT_POLICY: answer_policy(conn); return length;
    case DETECT_TLS: begin_secure(conn, bytes, length); return length;
    default:
        return request_begin(conn) ? conn->protocol->take(conn, bytes, length) : length;
    }
}

static size_t take_first_bytes(struct conn *conn, char *bytes, size_t length) {
    enum detected found = detect(bytes, length, transports_of(conn));
    bytestream_answered(conn);
    if (found == DETECT_MORE) {
        input_unfinished(conn, false);
        clock_arm(conn);
        return 0;
    }
    if (found != DETECT_STREAM && take_guess_back(conn)) {
        return begin(conn, found, bytes, length);
    }
    if (!may_be_stream(conn) || !reserve_admits(conn)) {
        conn_abort(conn, SYNC_REFUSED, true);
        return length;
    }
    detection_begin_stream(conn);
    return conn->protocol->take(conn, bytes, length);
}

/* A client that is silent, or has sent what may be a message by itself, is a byte stream
 * soon; one that must still show what it is has as long as for its first message. */
static void consider_first_bytes(const struct conn *conn, struct clock *clock) {
    const struct sync_options *options = conn_options(conn);
    if (secure_handshaking(conn) || conn->reserved) {
        return; /* it's unfinished, or isn't waited for */
    }
    bool whole = !conn->unfinished || options->framing == SYNC_FRAMING_RAW;
    if (may_be_stream(conn) && whole) {
        clock_consider(clock, conn->last_read, options->detect_timeout, CLOCK_SETTLE);
    } else {
        clock_consider(clock, conn->last_read, options->first_timeout, SYNC_UNFINISHED);
    }
}

static void consider_guess(const struct conn *conn, struct clock *clock) {
    if (conn->unfinished) {
        consider_first_bytes(conn, clock);
    } else {
        bytestream_consider(conn, clock);
    }
}

static bool settle_first_bytes(struct conn *conn) {
    if (!may_be_stream(conn) || secure_handshaking(conn) || !reserve_admits(conn)) {
        conn_abort(conn, SYNC_REFUSED, false);
    } else if (conn->backlog.length > 0) {
        detection_begin_stream(conn);
        take_as_stream(conn);
    } else if (conn->protocol != &guess) {
        conn_speak(conn, &guess, NULL);
        conn_announce(conn);
    }
    return true;
}

static void tell_insecure(struct conn *conn, const char *problem) {
    batch_push(&conn->core->batch, SYNC_NOTICE, conn->service->id, SYNC_TLS_FAILED,
               problem, strlen(problem));
    abuse_allows(conn->service, conn->peer, PEER_FAILS);
}

static const struct protocol unknown = {.carried = CARRIED_UNKNOWN,
                                        .take = take_first_bytes,
                                        .settle = settle_first_bytes,
                                        .clock = consider_first_bytes,
                                        .ran_out = settle_in_time,
                                        .insecure = tell_insecure};

static const struct protocol guess = {.is_client = true,
                                      .carried = CARRIED_GUESS,
                                      .take = take_first_bytes,
                                      .settle = settle_first_bytes,
                                      .clock = consider_guess,
                                      .ran_out = settle_in_time,
                                      .insecure = tell_insecure};

/* A proxy's connection, until it has said whose it is, or something else. */

/* Goes on as one that comes by itself. */
static void begin_unproxied(struct conn *conn) {
    conn->unfinished = false;
    if (transports_of(conn) == SYNC_STREAMS) {
        detection_begin_stream(conn);
    } else {
        conn_speak(conn, &unknown, NULL);
    }
    clock_arm(conn);
}

static void refuse_header(struct conn *conn) {
    static const char problem[] = "a header of the PROXY protocol is malformed";
    batch_push(&conn->core->batch, SYNC_NOTICE, conn->service->id, SYNC_PROXY_FAILED,
               problem, sizeof(problem) - 1);
    conn_abort(conn, SYNC_BROKE_PROTOCOL, true);
}

static void tell_full(struct conn *conn) {
    enum { NAME = 64 };
    struct batch *batch = &conn->core->batch;
    char *name = conn->peer->told ? NULL : batch_block_new(NAME);
    if (name) {
        conn->peer->told = true;
        peers_name(conn->peer, name, NAME);
        batch_push(batch, SYNC_NOTICE, conn->service->id, SYNC_ADDRESS_FULL, name,
                   strlen(name));
        batch_spend(batch, name);
    }
}

/* Whom the header names may be a proxy, too, whose HTTP headers are believed. Returns
 * whether the connection stays. */
static bool become(struct conn *conn, const struct sockaddr *client) {
    if (client->sa_family == AF_UNSPEC) {
        return true;
    }
    conn->forwarded = true;
    conn->proxied = network_has(conn->service->proxies, client);
    int error = proxy_forward(conn, client);
    if (error == 0) {
        return true;
    }
    if (error != UV_EACCES) {
        conn->core->public.clients_refused++;
    }
    if (error == UV_EMFILE) {
        tell_full(conn);
    }
    conn_abort(conn, SYNC_REFUSED, true);
    return false;
}

static size_t take_header(struct conn *conn, char *bytes, size_t length) {
    struct sockaddr_storage client;
    ssize_t size = proxy_read(bytes, length, &client);
    if (size == PROXY_MORE) {
        input_unfinished(conn, false);
        clock_arm(conn);
        return 0;
    }
    if (size == PROXY_BAD) {
        refuse_header(conn);
        return length;
    }
    if (!become(conn, (const struct sockaddr *)&client)) {
        return length;
    }
    begin_unproxied(conn);
    size_t rest = length - (size_t)size;
    return (size_t)size + (rest > 0 ? conn->protocol->take(conn, bytes + size, rest) : 0);
}

static bool settle_header(struct conn *conn) {
    begin_unproxied(conn);
    if (!conn->protocol->settle(conn) && conn->backlog.length > 0) {
        turn_wait(conn);
    }
    return true;
}

static const struct protocol behind_proxy = {.carried = CARRIED_BEHIND_PROXY,
                                             .take = take_header,
                                             .settle = settle_header,
                                             .clock = consider_first_bytes,
                                             .ran_out = settle_in_time};

bool detection_resume(struct conn *conn, uint8_t carried, uint32_t pinged) {
    const struct protocol *const protocols[] = {
        [CARRIED_UNKNOWN] = &unknown,
        [CARRIED_GUESS] = &guess,
        [CARRIED_FIRST_LINE] = &first_line,
        [CARRIED_BEHIND_PROXY] = &behind_proxy,
        [CARRIED_STREAM] = &bytestream_protocol,
    };
    if (carried < CARRIED_UNKNOWN || carried > CARRIED_STREAM) {
        return false;
    }
    conn_speak(conn, protocols[carried], NULL);
    conn->pinged = pinged;
    return true;
}
