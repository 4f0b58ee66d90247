/* sync.h: the door of libsync, a server core on libuv that hands out batches of events.
 *
 * This same text is the ffi.cdef of the Lua library (lua/sync/core.lua), so it holds
 * declarations only: no #include, no #define. C files include <stdint.h> and <stddef.h>
 * before it.
 *
 * The core calls nobody back. A program drives it:
 *
 *     while ((n = sync_poll(sync, 1)) >= 0) {
 *         for (i = 0; i < n; i++) handle(&sync->events[i]);
 *         sync_flush(sync);
 *     }
 *
 * From one sync_poll to the next is a tick. Everything an event points to lives until
 * the tick ends. A connection is named by its slot, a small integer that isn't used
 * again before its SYNC_CLOSE was handed out. Slot 0 is never a connection, and every
 * call takes a slot that is gone as a harmless no-op (SYNC_CLOSED).
 *
 * Functions that can fail return 0 or more, or a negative libuv error code, which
 * sync_error_name and sync_error_text put in words. One thread may use one core.
 */
#pragma once
#pragma GCC visibility push(default)

enum sync_event_type {
    SYNC_CONNECT = 1, /* slot; value: its listener */
    SYNC_DATA,        /* slot; data, length: one message (raw: one chunk) */
    SYNC_DRAIN,       /* slot: its queue was above high_water and is empty now;
                         value: messages dropped meanwhile */
    SYNC_OVERFLOW,    /* slot: the first message was dropped (SYNC_OVERFLOW_DROP) */
    SYNC_CLOSE,       /* slot; value: enum sync_reason. The last event of a slot */
    SYNC_TIMER,       /* id: the timer; value: microseconds it is late */
    SYNC_SIGNAL,      /* id: the signal's number */
    SYNC_RESOLVED,    /* id: the request; value: 0 or a negated error code;
                         data: addresses, one a line */
    SYNC_NOTICE       /* id: listener or 0; value: enum sync_notice; for the log */
};

enum sync_reason {
    SYNC_BY_SERVER = 1, /* sync_end: everything queued was written */
    SYNC_BY_ABORT,      /* sync_abort */
    SYNC_BY_CLIENT,     /* the client ended its side */
    SYNC_RESET,         /* the connection broke */
    SYNC_IDLE,          /* nothing came for idle_timeout */
    SYNC_UNFINISHED,    /* a message was begun and not ended in time */
    SYNC_QUEUE_FULL,    /* max_queue was reached with SYNC_OVERFLOW_CLOSE */
    SYNC_MESSAGE_LONG,  /* a message was longer than max_message */
    SYNC_NO_MEMORY
};

enum sync_notice {
    SYNC_ACCEPT_PAUSED = 1, /* max_clients or the file limit is reached */
    SYNC_ACCEPT_RESUMED,
    SYNC_ACCEPT_FILES, /* no file was left for a client that waits: it is tried again */
    SYNC_ACCEPT_FAILED
};

enum sync_framing {
    SYNC_FRAMING_RAW,
    SYNC_FRAMING_NULL,
    SYNC_FRAMING_LINE,
    SYNC_FRAMING_LENGTH16,
    SYNC_FRAMING_LENGTH32
};

enum sync_overflow { SYNC_OVERFLOW_CLOSE, SYNC_OVERFLOW_DROP };

enum sync_transport { SYNC_TRANSPORT_TCP, SYNC_TRANSPORT_UNIX, SYNC_TRANSPORT_MEMORY };

/* What became of a message that was given to sync_send. */
enum sync_sent {
    SYNC_SENT,    /* queued */
    SYNC_FULL,    /* queued, and the queue is above high_water: wait for SYNC_DRAIN */
    SYNC_DROPPED, /* not queued: max_queue is reached, or memory ran out */
    SYNC_CLOSED,  /* not queued: the client has gone, is going, or was just closed
                     because max_queue is reached */
    SYNC_TOO_LONG /* not queued: it fits neither the framing's prefix nor max_queue */
};

struct sync_event {
    uint32_t type; /* enum sync_event_type */
    uint32_t id;   /* the slot, timer, signal, request or listener */
    uint32_t value;
    uint32_t length; /* bytes at data */
    const char *data;
};

/* The public head of a core; read-only. */
struct sync {
    struct sync_event *events; /* this tick's batch; it moves only at sync_poll */
    uint32_t event_count;
    uint32_t client_count; /* connections that hold a slot */
    uint32_t client_limit; /* see sync_limit_clients */
    double messages_in;    /* totals since sync_open; doubles, as Lua has no others */
    double messages_out;
    double bytes_in;
    double bytes_out;
    double messages_dropped;
    double clients_accepted;
};

/* The settings of a listener; all times in milliseconds, 0 turning one off. The core
 * knows no defaults: they are class fields in lua/sync/protocol.lua. */
struct sync_options {
    uint32_t framing;     /* enum sync_framing */
    uint32_t overflow;    /* enum sync_overflow */
    uint32_t max_message; /* bytes of one message, its framing not counted */
    uint32_t max_queue;   /* unsent bytes of one client */
    uint32_t high_water;  /* unsent bytes above which sends say SYNC_FULL */
    uint32_t max_clients;
    uint32_t backlog;         /* for listen(2) */
    uint32_t idle_timeout;    /* no byte came */
    uint32_t first_timeout;   /* the first message was begun and isn't complete */
    uint32_t message_timeout; /* a later one was begun and isn't complete */
    uint32_t close_timeout;   /* a close waits so long for the client to read */
    uint32_t keepalive;       /* seconds of silence before TCP keepalive probes */
};

/* Makes a core, or NULL when memory or files ran out. Ignores SIGPIPE for the whole
 * process unless the program handles it. Free it with sync_close. */
struct sync *sync_open(void);

/* Closes every connection and listener at once, without flushing, and frees all. */
void sync_close(struct sync *sync);

/* Ends the last tick and fills the next batch; with block != 0 it sleeps until there
 * is something. Returns the number of events, or -1 when nothing is left that could
 * make one. Reads at most 64 KiB and 1,024 messages of a connection a tick. */
int32_t sync_poll(struct sync *sync, int32_t block);

/* Writes what was queued: one gathered write a connection. Call it once a tick. */
void sync_flush(struct sync *sync);

/* Frames a message and queues it; bytes are copied. Returns enum sync_sent. */
int32_t sync_send(struct sync *sync, uint32_t slot, const char *bytes, size_t length);

/* The same for many clients: framed once for each framing in use, and where the
 * message is large shared by reference instead of copied. Zeros among the slots and
 * the slot `except` are passed over. Returns how many it was queued for. */
uint32_t sync_send_many(struct sync *sync, const uint32_t *slots, uint32_t count,
                        uint32_t except, const char *bytes, size_t length);

/* Closes gracefully: no further message is delivered, the queue is written, then the
 * connection ends, at the latest after close_timeout. */
void sync_end(struct sync *sync, uint32_t slot);

/* Closes at once: the queue is lost and a TCP client sees a reset. */
void sync_abort(struct sync *sync, uint32_t slot);

/* Unsent bytes of a client. */
uint32_t sync_queued(struct sync *sync, uint32_t slot);

/* Writes the client's IP address into text (at least 46 bytes; a Unix socket's is
 * empty) and returns its port, or 0. */
uint32_t sync_peer(struct sync *sync, uint32_t slot, char *text, size_t size);

/* enum sync_transport of a client. */
uint32_t sync_transport(struct sync *sync, uint32_t slot);

/* Listens. host is a name, an IPv4 or IPv6 address, "*" (every address) or
 * "unix:PATH" (port unused); every address a name has is bound, all to the same port,
 * and port 0 asks for a free one. Host names are looked up before it returns.
 * Returns the listener's id (1 or more) or an error code. Options are copied. */
int32_t sync_listen(struct sync *sync, const char *host, uint32_t port,
                    const struct sync_options *options);

/* The port a listener is bound to (0 for a Unix socket or a listener that's gone). */
uint32_t sync_listener_port(struct sync *sync, uint32_t id);

/* Writes the bound addresses, separated by ", ", and returns the text's length. */
uint32_t sync_listener_addresses(struct sync *sync, uint32_t id, char *text, size_t size);

/* Stops accepting; its connections stay. A Unix socket's file is removed. */
void sync_listener_close(struct sync *sync, uint32_t id);

/* How many connections the whole core takes before accepting pauses. */
void sync_limit_clients(struct sync *sync, uint32_t limit);

/* Fires SYNC_TIMER after delay, then every interval (0: once) milliseconds; fractions
 * count: the average rate is exact, and firings that were missed are left out.
 * Returns the timer's id (1 or more) or an error code. */
int32_t sync_timer_start(struct sync *sync, double delay, double interval);
void sync_timer_stop(struct sync *sync, uint32_t id);

/* Seconds of a clock that never jumps, for measuring. */
double sync_now(void);

/* Watches a signal; with once != 0 the second one has its default effect again, so
 * that it ends a process that hangs. sync_signal_stop gives the signal back. */
int32_t sync_signal_start(struct sync *sync, int32_t number, int32_t once);
void sync_signal_stop(struct sync *sync, int32_t number);

/* Looks a host name up in the background; SYNC_RESOLVED tells. Returns the request's
 * id (1 or more) or an error code. */
int32_t sync_resolve(struct sync *sync, const char *host);

/* Gives memory that was needed for many connections back to the system. */
void sync_trim(struct sync *sync);

/* Raises this process's file limit as far as it may and returns it. */
uint32_t sync_file_limit(void);

/* A connection without a socket, for tests: what is fed takes the path of received
 * bytes, and what is sent stays queued until it is taken, so one that never takes is a
 * client that never reads. `listener` comes from sync_listen with host "memory:".
 * Returns the slot or an error code. */
int32_t sync_memory_connect(struct sync *sync, uint32_t listener);

/* Feeds bytes; returns how many were taken, less than length when the client's
 * messages must be handed out first (feed the rest in a later tick). */
uint32_t sync_memory_feed(struct sync *sync, uint32_t slot, const char *bytes,
                          uint32_t length);
/* Ends the client's side. */
void sync_memory_end(struct sync *sync, uint32_t slot);
/* Takes up to size bytes of what was sent; returns how many. */
uint32_t sync_memory_take(struct sync *sync, uint32_t slot, char *bytes, uint32_t size);

/* "EADDRINUSE" and "address already in use" of an error code; static text. */
const char *sync_error_name(int32_t code);
const char *sync_error_text(int32_t code);

/* libuv's version; static text. */
const char *sync_uv_version(void);

#pragma GCC visibility pop
