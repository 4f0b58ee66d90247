/* conn.h: one connection, from accept to release.
 *
 *     OPEN ──► ENDING ─────► FLUSHING ──► LINGERING ──► CLOSING ──► released
 *       └────────┴─► LEAVING ──► LEFT ───────────────────┘
 *
 * OPEN takes and sends messages. ENDING takes nothing more; what was handed out may still
 * be answered. FLUSHING writes what is queued, and says to senders that it is closed.
 * LINGERING has ended its side and reads on, so that bytes on their way to us don't make
 * the kernel reset what we have just written. CLOSING has closed the socket. The slot is
 * given back when SYNC_CLOSE was handed out.
 *
 * LEAVING and LEFT are ENDING and FLUSHING where the client has ended its side: nothing
 * more comes, so the connection is closed as soon as all is written. From each state one
 * that is broken, aborted or too late goes to CLOSING.
 */
#pragma once

#include "conn/backlog.h"
#include "conn/protocol.h"
#include "conn/service.h"
#include "conn/transport.h"
#include "core/core.h"
#include "net/poller.h"

enum conn_state {
    CONN_OPEN,
    CONN_ENDING,
    CONN_LEAVING,
    CONN_FLUSHING,
    CONN_LEFT,
    CONN_LINGERING,
    CONN_CLOSING
};

struct conn {
    struct stream stream; /* first, so that the two pointers are one */
    struct core *core;
    struct service *service;
    struct peer *peer; /* whose connection it is, or NULL */
    const struct protocol *protocol;
    union { /* the protocol's own */
        void *protocol_data;
        struct {              /* of a byte stream */
            uint32_t scanned; /* how far it was looked through for an end */
            uint32_t pinged;  /* ms, never 0: when; 0: no answer is waited for */
        };
    };
    const struct transport *transport;
    void *transport_data; /* the transport's own: struct tls, or NULL */
    struct out out;
    struct backlog backlog;
    struct deadline deadline;
    struct conn *next_unflushed;
    struct conn *next_ready;
    struct conn *next_owing; /* after the release: the next released */
    uint32_t last_read;      /* ms (wrapping, as the next two) */
    uint32_t
        since; /* when the unfinished message, or the close of the connection, began */
    uint32_t slot;
    uint32_t round; /* the last in which it was read */
    uint32_t tick;  /* the tick that the next two count for */
    uint32_t tick_bytes;
    uint32_t tick_work;  /* see work.h */
    uint32_t dropped;    /* messages, since the queue was last empty */
    uint64_t rate_until; /* microseconds: its rate is used up until then */
    uint8_t state;
    uint8_t wire; /* in which messages leave: enum wire */
    uint8_t reason;
    uint8_t tells; /* the value of its next SYNC_DATA: the kind, and whether that turns */
    uint8_t address[16];
    uint8_t kind : 2; /* of its socket: enum sync_transport */
    bool ipv6 : 1;
    bool proxied : 1;      /* it comes from one of the service's proxies */
    bool forwarded : 1;    /* and has its client's address */
    bool write_broken : 1; /* the client reads no more; what it sent is still read */
    bool choked : 1;       /* above high water since the queue was last empty */
    bool in_unflushed : 1;
    bool in_ready : 1;
    bool in_owing : 1;
    bool owes_connect : 1; /* only one without a socket */
    bool owes_drain : 1;
    bool owes_overflow : 1;
    bool owes_close : 1;
    bool close_pushed : 1;
    bool spoken_to : 1;  /* it was sent a message */
    bool held : 1;       /* not read: its request must be answered, it has flooded, or: */
    bool waits : 1;      /* the program wants no more of it for now */
    bool reserved : 1;   /* beyond the bound: see reserve.h */
    bool unfinished : 1; /* the backlog begins with a part of a message */
    bool had_message : 1;
    bool handed : 1;  /* a message, in its tick */
    bool relayed : 1; /* another process does its TLS */
    uint16_t port;
    uint32_t name; /* see sync_name */
};

static inline const struct sync_options *conn_options(const struct conn *conn) {
    return &conn->service->options;
}

/* Whether it may be sent more, and answered. */
static inline bool conn_is_open(const struct conn *conn) {
    return conn->state < CONN_FLUSHING;
}

/* From now on the connection speaks another protocol, with this state behind it. */
static inline void conn_speak(struct conn *conn, const struct protocol *protocol,
                              void *data) {
    conn->protocol = protocol;
    conn->protocol_data = data;
}

/* Whether it isn't read for a while: it has sent more than its rate, or the program wants
 * no more of it. */
static inline bool conn_is_paused(const struct conn *conn) {
    return conn->held && !conn->protocol->is_http;
}

/* Whether the protocol's own word for the end waits for its answer. */
static inline bool conn_awaits_close(const struct conn *conn) {
    return conn->protocol->awaits_close && conn->protocol->awaits_close(conn);
}

/* Takes over a connected socket; fd is -1 and peer NULL for a connection without one.
 * `kind` is of enum sync_transport. Returns the slot, or an error code; then fd is
 * closed. */
int conn_open(struct service *service, const struct protocol *protocol,
              const struct transport *transport, int fd, uint8_t kind,
              const struct sockaddr *peer);

/* Whose address it has from now on. */
void conn_keep_peer(struct conn *conn, const struct sockaddr *peer);

/* Writes its IP address, if it has one, and returns its port. */
uint32_t conn_address(const struct conn *conn, char *text, size_t size);

/* Closes gracefully, for a reason of ours; because the client ended its side; or at
 * once, a TCP client seeing a reset if `reset`. */
void conn_end(struct conn *conn, enum sync_reason reason);
void conn_client_ended(struct conn *conn);
void conn_abort(struct conn *conn, enum sync_reason reason, bool reset);

/* The client reads no more. What it has sent is still taken, for a while. */
void conn_write_failed(struct conn *conn);

/* The client answered the protocol's own word for the end. */
void conn_close_answered(struct conn *conn);

/* Counts memory that connections take from now on, or don't take any more. */
void conn_weigh(struct core *core, int64_t bytes);

/* The queue ran empty. Returns whether something was queued to say the end. */
bool conn_emptied(struct conn *conn);

/* Pushes what is owed of connections that were made since the last poll: before this one,
 * which may find what has come for them already. */
void conn_push_connects(struct core *core);

/* Pushes the events that connections owe. */
void conn_push_owed(struct core *core);

/* Frees connections whose last event was handed out. Returns how many. */
uint32_t conn_free_released(struct core *core);

/* The connection is a client from now on: SYNC_CONNECT. */
void conn_announce(struct conn *conn);
