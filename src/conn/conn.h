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

#include "conn/codec.h"
#include "conn/protocol.h"
#include "conn/service.h"
#include "conn/transport.h"
#include "core/core.h"
#include "net/stream.h"

enum conn_state {
    CONN_OPEN,
    CONN_ENDING,
    CONN_LEAVING,
    CONN_FLUSHING,
    CONN_LEFT,
    CONN_LINGERING,
    CONN_CLOSING
};

/* Received bytes that aren't cut yet: an unfinished message, or messages that wait for
 * room in a batch. */
struct backlog {
    char *block; /* from batch_block_new, or NULL */
    uint32_t start;
    uint32_t length;
    uint32_t capacity;
    uint32_t shown_tick; /* the tick in which events point into the block */
};

struct conn {
    struct stream stream; /* first, so that the two pointers are one */
    struct core *core;
    struct service *service;
    struct peer *peer; /* whose connection it is, or NULL */
    const struct protocol *protocol;
    union { /* the protocol's own */
        void *protocol_data;
        size_t scanned; /* of a byte stream: how far it was looked through for an end */
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
    uint32_t since; /* when what is unfinished was begun; or the close, if it was */
    uint32_t slot;
    uint32_t round; /* the last in which it was read */
    uint32_t tick;  /* the tick that the next two count for */
    uint32_t tick_bytes;
    uint32_t tick_work;  /* see input_work */
    uint32_t dropped;    /* messages, since the queue was last empty */
    uint64_t rate_until; /* microseconds: its rate is used up until then */
    uint8_t state;
    uint8_t wire; /* in which messages leave: enum wire */
    uint8_t reason;
    uint8_t address[16];
    uint8_t kind : 2; /* of its socket: enum sync_transport */
    bool ipv6 : 1;
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
    bool held : 1;       /* not read: its request must be answered, or it has flooded */
    bool reserved : 1;   /* beyond the bound: see reserve.h */
    bool unfinished : 1; /* the backlog begins with a part of a message */
    bool had_message : 1;
    bool handed : 1; /* a message, in its tick */
    uint16_t port;
};

static inline const struct sync_options *conn_options(const struct conn *conn) {
    return &conn->service->options;
}

/* Whether it may be sent more. */
static inline bool conn_is_open(const struct conn *conn) {
    return conn->state < CONN_FLUSHING;
}

/* From now on the connection speaks another protocol, with this state behind it. */
static inline void conn_speak(struct conn *conn, const struct protocol *protocol,
                              void *data) {
    conn->protocol = protocol;
    conn->protocol_data = data;
}

/* Whether it has sent more than its rate, and isn't read for a while. */
static inline bool conn_is_paused(const struct conn *conn) {
    return conn->held && !conn->protocol->is_http;
}

/* Whether the protocol's own word for the end waits for its answer. */
static inline bool conn_awaits_close(const struct conn *conn) {
    return conn->protocol->awaits_close && conn->protocol->awaits_close(conn);
}

/* conn.c: the life of a connection. */

/* Takes over a connected socket; fd is -1 and peer NULL for a connection without one.
 * `kind` is of enum sync_transport. Returns the slot, or an error code; then fd is
 * closed. */
int conn_open(struct service *service, const struct protocol *protocol,
              const struct transport *transport, int fd, uint8_t kind,
              const struct sockaddr *peer);

/* Closes gracefully, for a reason of ours; because the client ended its side; or at
 * once, a TCP client seeing a reset if `reset`. */
void conn_end(struct conn *conn, enum sync_reason reason);
void conn_client_ended(struct conn *conn);
void conn_abort(struct conn *conn, enum sync_reason reason, bool reset);

/* The client reads no more. What it has sent is still taken, for a while. */
void conn_write_failed(struct conn *conn);

/* The client answered our Close frame. */
void conn_close_answered(struct conn *conn);

/* Counts memory that connections take from now on, or don't take any more. */
void conn_weigh(struct core *core, int64_t bytes);

/* The queue ran empty. Returns whether something was queued to say the end. */
bool conn_emptied(struct conn *conn);

/* Puts the connection among those that owe an event, to be pushed when the poll ends. */
void conn_owe(struct conn *conn);
void conn_push_owed(struct core *core);

/* Frees connections whose last event was handed out. Returns how many. */
uint32_t conn_free_released(struct core *core);

/* The connection is a client from now on: SYNC_CONNECT. */
void conn_announce(struct conn *conn);

/* A poller_ready: a connection's socket, which is the first in it, is ready or broken. */
void conn_ready(void *data, uint32_t events);

/* input.c: from bytes to messages. */

/* The socket has something to read, or is broken. */
void input_ready(struct conn *conn);

enum { WORK_BYTES_MOST = 64 * 1024 /* that a tick takes of one connection */ };

/* How many bytes the connection may still take in this tick. */
size_t input_appetite(struct conn *conn);

/* Takes received bytes, at most input_appetite; what can't be handed out in this tick
 * is kept. The bytes must live until the tick ends, and may be changed. */
void input_take(struct conn *conn, char *bytes, size_t length);

/* The client ended its side: what was handed out is answered first. */
void input_client_ended(struct conn *conn);

/* The same, for one that sees to the rest itself. */
void input_leave(struct conn *conn);

/* How many bytes of the arena the connection may use now; 0 while it has to wait. */
size_t input_room(struct conn *conn);

/* Whether the connection may do more in this tick, and another message has room; if not,
 * input_wait sees to it that the connection's backlog is looked at in the next. */
bool input_has_room(const struct conn *conn);

/* Counts what a tick does for the connection, against its own budget and that of all. One
 * is a message, a frame that is none, or WORK_BYTES that were made or are handed out: so
 * little on the wire that becomes much is taken bit by bit, as much on the wire is. */
enum { WORK_BYTES = 128 };
void input_work(struct conn *conn, size_t work);
void input_wait(struct conn *conn);

/* Hands out a message. There must be room, and the bytes must live until the tick ends.
 */
void input_push(struct conn *conn, const char *bytes, size_t length);

/* Cuts messages off a byte stream and hands them out, as far as there is room. *scanned
 * is the codec's own: see codec.h. Returns how many bytes they took, or CODEC_TOO_LONG.
 */
ssize_t input_cut(struct conn *conn, size_t *scanned, const char *bytes, size_t length);

/* Something was begun and must be ended in time; `anew` when it has just been begun. */
void input_unfinished(struct conn *conn, bool anew);

/* Takes no more, and ends the connection for this reason when its messages were
 * answered. */
void input_end(struct conn *conn, enum sync_reason reason);

/* Counts a message against the client's rate. Returns false when it may not be taken: the
 * connection is then ended, or held. */
bool input_count(struct conn *conn);

/* When a client that was held for its rate may send again, in ms. */
uint32_t input_release_due(const struct conn *conn);

/* What the connection was held for is over. */
void input_release(struct conn *conn);

/* Watches the socket for bytes, or no more, as the connection's state wants it. */
void input_watch(struct conn *conn);

/* The client says nothing more that would tell its protocol. Returns whether that was an
 * open question. */
bool input_settle(struct conn *conn);

/* A place for `length` more bytes, or NULL when memory ran out; the caller adds what it
 * has written there to the backlog's length. */
char *backlog_claim(struct conn *conn, struct backlog *backlog, size_t length);

/* Returns 0, or -1 when memory ran out. */
int backlog_append(struct conn *conn, struct backlog *backlog, const char *bytes,
                   size_t length);

/* Takes off bytes that were used, and that events may point to. */
void backlog_consume(struct conn *conn, struct backlog *backlog, size_t length);

/* Gives the backlog's memory back, now or when no event points into it any more. */
void backlog_clear(struct conn *conn, struct backlog *backlog);

/* Hands out messages that waited for room; stops when the batch is half full. */
void input_resume(struct core *core);

/* output.c: from messages to bytes. */

/* Queues a framed message; see sync_send. With `shared` it goes by reference. */
enum sync_sent output_send(struct conn *conn, const struct frame *frame,
                           const char *bytes, size_t length, struct shared *shared);

/* Queues bytes that are no message. Returns SYNC_SENT, or why not. */
enum sync_sent output_raw(struct conn *conn, const char *bytes, size_t length);

/* Writes what is queued. */
void output_flush(struct conn *conn);

/* The socket takes bytes again. */
void output_ready(struct conn *conn);

/* Unsent bytes, those in the kernel's hands not counted. */
uint32_t output_queued(const struct conn *conn);

/* Sees to it that sync_flush visits the connection. */
void output_schedule(struct conn *conn);
