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
 * A connection of a listener with several transports is told to nobody until its first
 * bytes have shown which it uses: SYNC_CONNECT comes for a byte stream, and a WebSocket
 * begins as a SYNC_REQUEST that the program answers with sync_upgrade.
 *
 * Functions that can fail return 0 or more, or a negative libuv error code, which
 * sync_error_name and sync_error_text put in words. One thread may use one core.
 */
#pragma once
#pragma GCC visibility push(default)

enum sync_event_type {
    SYNC_CONNECT = 1, /* slot; value: its listener */
    SYNC_DATA,        /* slot; data, length: one message (raw: one chunk); value: its enum
                         sync_kind, and SYNC_KIND_TURNS */
    SYNC_BYTES,       /* the same, of a listener with takes_bytes */
    SYNC_REQUEST,     /* slot; value: bytes of the head; data: head and body of an HTTP
                         request (see sync_respond) */
    SYNC_FILE,        /* slot; what sync_file_open has found; value: 0, or the HTTP status
                         of its failure; data: a struct sync_file, unless it failed */
    SYNC_DRAIN,       /* slot: its queue was above high_water and is empty now;
                         value: messages dropped meanwhile */
    SYNC_OVERFLOW,    /* slot: the first message was dropped (SYNC_OVERFLOW_DROP) */
    SYNC_CLOSE,       /* slot; value: enum sync_reason. The last event of a slot */
    SYNC_TIMER,       /* id: the timer; value: microseconds it is late */
    SYNC_SIGNAL,      /* id: the signal's number */
    SYNC_CONNECT_FAILED, /* id: the request; value: a negated error code;
                            data: what is wrong in TLS, for UV_EPROTO */
    SYNC_RESOLVED,       /* id: the request; value: 0 or a negated error code;
                            data: addresses, one a line */
    SYNC_EXITED,         /* id: a worker's process; value: its exit code, or the signal
                            that ended it times 256 */
    SYNC_JOB,   /* id: the job; value: what it says of itself; data: its result */
    SYNC_WATCH, /* id: the watch; value: enum sync_watched */
    SYNC_FREED, /* value: KiB that connections had and that are free now, without
                   others having come: time for sync_trim when it is calm */
    SYNC_NOTICE /* id: listener or 0; value: enum sync_notice; for the log */
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
    SYNC_NO_MEMORY,
    SYNC_BROKE_PROTOCOL, /* what came is no WebSocket, HTTP or TLS, or no UTF-8 */
    SYNC_NO_PONG,        /* a ping was not answered */
    SYNC_REFUSED, /* it speaks a transport that the listener hasn't, or HTTP to a byte
                     stream */
    SYNC_FLOODED, /* it sent more than its rate, with SYNC_FLOOD_CLOSE */
    SYNC_BANNED   /* its address is shut out: see sync_kick */
};

enum sync_notice {
    SYNC_ACCEPT_PAUSED = 1, /* max_clients or the file limit is reached: more wait */
    SYNC_ACCEPT_RESUMED,
    SYNC_ACCEPT_FILES, /* no file was left for a client that waits: it is tried again */
    SYNC_ACCEPT_FAILED,
    SYNC_TLS_FAILED,   /* a handshake; data: why */
    SYNC_PROXY_FAILED, /* what a proxy says of its client; data: why */
    SYNC_ACCEPT_FULL,  /* the file limit is reached: others than operators are refused */
    SYNC_ADDRESS_FULL, /* data: who has max_per_address; more are refused, untold */
    SYNC_MEMORY_HIGH,  /* see sync_watch_memory; comes again and again */
    SYNC_STEP_NOTICE =
        32 /* and an enum sync_step: an address has reached it; data: who */
};

/* What happens to an address that does something too often, again and again. */
enum sync_step {
    SYNC_STEP_NONE,
    SYNC_STEP_WARN, /* the program is told */
    SYNC_STEP_SLOW, /* it may do a tenth */
    SYNC_STEP_KICK, /* it has no more connections; the program closes those that it has */
    SYNC_STEP_BAN   /* the program is to shut it out */
};

enum sync_framing {
    SYNC_FRAMING_RAW,
    SYNC_FRAMING_NULL,
    SYNC_FRAMING_LINE,
    SYNC_FRAMING_LENGTH16,
    SYNC_FRAMING_LENGTH32,
    SYNC_FRAMING_LENGTH24LE
};

enum sync_overflow { SYNC_OVERFLOW_CLOSE, SYNC_OVERFLOW_DROP };

/* What a client turned out to use. */
enum sync_transport {
    SYNC_TRANSPORT_TCP,
    SYNC_TRANSPORT_UNIX,
    SYNC_TRANSPORT_MEMORY,
    SYNC_TRANSPORT_WEBSOCKET
};

/* What clients of a listener may use, as bits. */
enum sync_transports {
    SYNC_STREAMS = 1, /* the byte stream, cut by the framing */
    SYNC_WEBSOCKET = 2,
    SYNC_HTTP = 4,
    SYNC_POLICY = 8, /* requests for a Flash policy (see sync_listener_policy) */
    SYNC_TLS = 16,   /* all of these in TLS (see sync_listener_tls) */
    SYNC_TLS_ONLY = 32
};

/* What a message is: a byte stream's is neither, whatever it is sent as. */
enum sync_kind {
    SYNC_KIND_NONE,
    SYNC_KIND_TEXT,
    SYNC_KIND_BINARY,
    SYNC_KIND_TURNS = 4 /* beside one of these: messages before were of another kind, so
                           give it to sync_turn before the message is answered */
};

/* What a WebSocket's binary frames are. */
enum sync_websocket_mode {
    SYNC_WEBSOCKET_MIRROR,  /* with framing raw messages, else a byte stream */
    SYNC_WEBSOCKET_MESSAGES /* messages, whatever the framing */
};

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
    union {
        const char *data;
        const uint8_t *bytes;
    };
};

/* A file that sync_file_open has found. */
struct sync_file {
    const char
        *name;    /* the path that was opened, a folder's index's; it ends at its NUL */
    double size;  /* bytes */
    double mtime; /* seconds since 1970 of its last change */
    uint32_t mtime_ns;      /* and nanoseconds */
    uint32_t slash_missing; /* the index of a folder whose path had no slash at its end */
};

/* How often something took how long. Bucket i counts times of less than
 * sync_bucket_end(i) microseconds that are not in one before; a bucket ends at most a
 * quarter above its begin. */
enum { SYNC_BUCKETS = 100 };
struct sync_times {
    uint32_t bucket[SYNC_BUCKETS];
};

/* The public head of a core; read-only but for the cursor. */
struct sync {
    struct sync_event *events; /* this tick's batch; it moves only at sync_poll */
    uint32_t event_count;
    int32_t cursor;        /* the program's: how many events of this batch it has begun to
                              handle, for the watchdog; sync_poll sets it to 0 */
    uint32_t client_count; /* connections that hold a slot */
    uint32_t client_limit; /* see sync_limit_clients */
    uint32_t http_count;   /* connections that speak HTTP */
    uint32_t relay_count;  /* those that pass on what is another process's */
    double messages_in;    /* totals since sync_open; doubles, as Lua has no others */
    double messages_out;
    double bytes_in;
    double bytes_out;
    double messages_dropped;
    double clients_accepted;
    double clients_refused; /* their address had as many as it may, or came too often */
    double clients_banned;  /* the same of those that are shut out */
    double ticks;
    double busy;         /* seconds that the program has had the batches in its hands */
    double longest_tick; /* seconds, of these: see sync_longest_handler */
    struct sync_times tick_times;  /* of which each tick had so much */
    struct sync_times timers_late; /* when they fired */
};

/* What becomes of a client that sends more messages than its rate. */
enum sync_flood {
    SYNC_FLOOD_CLOSE,
    SYNC_FLOOD_PAUSE /* it isn't read until it may send again */
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
    uint32_t max_per_address;    /* connections of the whole core; 0: any (see peers.h) */
    uint32_t connect_interval;   /* microseconds in which an address may connect once; 5 s
                                    of them may come at once. 0: any */
    uint32_t handshake_interval; /* the same of handshakes of TLS */
    uint32_t failure_interval;   /* the same of those that fail, and of sync_fail */
    uint32_t warn_at; /* strikes at which an address reaches a step; 0: never. One is what
                         it does too often; one a second is forgotten */
    uint32_t slow_at;
    uint32_t kick_at;
    uint32_t ban_at;
    uint32_t backlog;         /* for listen(2) */
    uint32_t idle_timeout;    /* no byte came */
    uint32_t first_timeout;   /* the first message was begun and isn't complete */
    uint32_t message_timeout; /* a later one was begun and isn't complete */
    uint32_t close_timeout;   /* a close waits so long for the client to read */
    uint32_t keepalive;       /* seconds of silence before TCP keepalive probes; see
                                 stream_tune */
    uint32_t transports;      /* enum sync_transports; 0: SYNC_STREAMS */
    uint32_t detect_timeout;  /* a client that says nothing is a byte stream */
    uint32_t max_head;        /* bytes of an HTTP request's head */
    uint32_t max_headers;
    uint32_t max_body;
    uint32_t ping_interval;    /* a WebSocket that sends nothing is pinged; so is a
                                  byte stream: see sync_listener_ping */
    uint32_t pong_timeout;     /* and closed, if still nothing comes */
    uint32_t compress_from;    /* WebSocket messages of so many bytes are compressed */
    uint32_t message_interval; /* microseconds: a client's rate; 0: any */
    uint32_t message_burst;    /* how many may come at once after a silence */
    uint32_t flood;            /* enum sync_flood */
    uint32_t counts_calls;     /* in a tick's budget, a JSON array is as many messages as
                                  it has elements */
    uint32_t takes_bytes;      /* messages are SYNC_BYTES, not SYNC_DATA */
    uint32_t leads;            /* sync_flush writes to these connections before others */
};

/* What was agreed on for a WebSocket. */
struct sync_websocket {
    uint32_t mode;             /* enum sync_websocket_mode */
    uint32_t binary;           /* it's sent binary until sync_turn says otherwise */
    uint32_t deflate;          /* permessage-deflate (RFC 7692), with what follows */
    uint32_t send_window_bits; /* 9 to 15 */
    uint32_t receive_window_bits;
    uint32_t send_takeover; /* a message may refer to those before */
    uint32_t receive_takeover;
};

/* Names the way to the kernel that cores take from now on: "uring", "epoll", "poll", or
 * "auto": uring; epoll, or poll, where that can't be used. Returns 0, or an error code:
 * UV_EINVAL for another name, UV_ENOTSUP for one that doesn't work; sync_io_why then says
 * why. */
int32_t sync_choose_io(const char *name);

enum { SYNC_IO_THREADS_MOST = 64 };

/* Says how many threads send and receive for each core that is made from now on, by
 * "uring"; 0: none. Returns 0, or UV_ENOTSUP; sync_io_why then says why. */
int32_t sync_choose_io_threads(uint32_t count);
uint32_t sync_io_threads(void);

/* The way that cores take, and why. */
const char *sync_io(void);
const char *sync_io_why(void);

/* Makes a core, or NULL when memory or files ran out. Ignores SIGPIPE for the whole
 * process unless the program handles it. Free it with sync_close. */
struct sync *sync_open(void);

/* Closes every connection and listener at once, without flushing, and frees all. */
void sync_close(struct sync *sync);

/* Ends the last tick and fills the next batch; with block != 0 it sleeps until there
 * is something. Returns the number of events, or -1 when nothing is left that could
 * make one. A tick takes at most 64 KiB of a connection, and work of 1,024 messages, or
 * of 8,192 for all. A message is as many as it has 128 bytes, and one; so are bytes that
 * are inflated; an HTTP request is 64; see also counts_calls. */
int32_t sync_poll(struct sync *sync, int32_t block);

/* Writes what was queued: one gathered write a connection. Call it once a tick. */
void sync_flush(struct sync *sync);

/* The same for who calls sync_poll next, which may write all by its own system call. */
void sync_flush_with_poll(struct sync *sync);

/* Frames a message and queues it; bytes are copied. Returns enum sync_sent. */
int32_t sync_send(struct sync *sync, uint32_t slot, const void *bytes, size_t length);

/* The same as a message of this enum sync_kind; SYNC_KIND_NONE: of the client's own. A
 * text that isn't UTF-8 leaves as binary. */
int32_t sync_send_as(struct sync *sync, uint32_t slot, const void *bytes, size_t length,
                     uint32_t kind);

/* From now on sync_send sends this client messages of this kind: that of the message
 * which is handled. */
void sync_turn(struct sync *sync, uint32_t slot, uint32_t kind);

/* The same as sync_send for many clients: framed once for each framing in use, and where
 * the message is large shared by reference instead of copied. Zeros among the slots and
 * the slot `except` are passed over. Returns how many it was queued for. */
uint32_t sync_send_many(struct sync *sync, const uint32_t *slots, uint32_t count,
                        uint32_t except, const void *bytes, size_t length);

/* The same as messages of this enum sync_kind: see sync_send_as. */
uint32_t sync_send_many_as(struct sync *sync, const uint32_t *slots, uint32_t count,
                           uint32_t except, const void *bytes, size_t length,
                           uint32_t kind);

/* Closes gracefully: no further message is delivered, the queue is written, then the
 * connection ends, at the latest after close_timeout. A WebSocket is told the code (0:
 * 1000), and why (at most 123 bytes of UTF-8). */
void sync_end(struct sync *sync, uint32_t slot, uint32_t code, const char *why,
              size_t length);

/* With pause != 0 no further message of a client is taken until it's called with 0: what
 * was handed out in this tick is all. Its bytes wait in the kernel, and with the client.
 * The clocks that look at what it says stand still; that it was reset is still told. */
void sync_pause(struct sync *sync, uint32_t slot, int32_t pause);

/* Closes the connections that are no clients: those that have shown nothing yet and those
 * between HTTP requests; with at_once != 0 also those whose request is being answered. */
void sync_close_idle(struct sync *sync, int32_t at_once);

/* Closes at once: the queue is lost and a TCP client sees a reset. */
void sync_abort(struct sync *sync, uint32_t slot);

/* Unsent bytes of a client. */
uint32_t sync_queued(struct sync *sync, uint32_t slot);

/* Whether the client hasn't taken what it was sent in earlier ticks. */
int32_t sync_is_behind(struct sync *sync, uint32_t slot);

/* Writes the client's IP address into text (at least 46 bytes; a Unix socket's is
 * empty) and returns its port, or 0. */
uint32_t sync_peer(struct sync *sync, uint32_t slot, char *text, size_t size);

/* enum sync_transport of a client, and whether it uses TLS. */
uint32_t sync_transport(struct sync *sync, uint32_t slot);
uint32_t sync_secure(struct sync *sync, uint32_t slot);

/* The code of a WebSocket's Close frame: the client's, or else the one that it was sent;
 * 0 before either. */
uint32_t sync_close_code(struct sync *sync, uint32_t slot);

/* Whether what is sent to a client now leaves as text frames of a WebSocket. */
uint32_t sync_sends_text(struct sync *sync, uint32_t slot);

/* The listener that a connection came by; 0 when it has gone. */
uint32_t sync_listener_of(struct sync *sync, uint32_t slot);

/* Answers a request with the bytes of a response, head and body. With keep != 0 the
 * connection may send its next request, else it ends. Returns enum sync_sent. */
int32_t sync_respond(struct sync *sync, uint32_t slot, const char *bytes, size_t length,
                     int32_t keep);

/* Looks in one of the listener's web folders, counted from 0, for the file of a request
 * that isn't answered yet; for a folder it's its index.html. The path is relative, and
 * ends at its NUL; with any_case != 0 the case of its letters is of no matter. SYNC_FILE
 * tells. Returns 0 or an error code. */
int32_t sync_file_open(struct sync *sync, uint32_t slot, const char *path, uint32_t which,
                       int32_t any_case);

/* Answers a request with a head, and with `length` bytes at `offset` of the file that was
 * found. What the client doesn't read isn't read from the disk. Returns enum sync_sent.
 */
int32_t sync_respond_file(struct sync *sync, uint32_t slot, const char *head,
                          size_t head_length, double offset, double length, int32_t keep);

/* Answers a request with the head of a 101 response; the connection is a WebSocket from
 * then on, and a client: sends reach it. Returns enum sync_sent. */
int32_t sync_upgrade(struct sync *sync, uint32_t slot, const char *head, size_t length,
                     const struct sync_websocket *settings);

/* Writes the Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455 section 4.2.2) into
 * text (29 bytes, a NUL behind it). */
void sync_websocket_accept(const char *key, size_t length, char *text);

/* Listens. host is a name, an IPv4 or IPv6 address, "*" (every address) or
 * "unix:PATH" (port unused); every address a name has is bound, all to the same port,
 * and port 0 asks for a free one. Host names are looked up before it returns.
 * Returns the listener's id (1 or more) or an error code. Options are copied. */
int32_t sync_listen(struct sync *sync, const char *host, uint32_t port,
                    const struct sync_options *options);

/* Gives a listener other options, in place of those that it had: its sockets stay open,
 * connections that it has keep their framing, and go by the rest. Its proxies, folders
 * and ping are gone, and without SYNC_TLS its certificates; give it new ones. Returns 0
 * or an error code. */
int32_t sync_listener_renew(struct sync *sync, uint32_t id,
                            const struct sync_options *options);

/* The port a listener is bound to (0 for a Unix socket or a listener that's gone). */
uint32_t sync_listener_port(struct sync *sync, uint32_t id);

/* Writes the bound addresses, separated by ", ", and returns the text's length. */
uint32_t sync_listener_addresses(struct sync *sync, uint32_t id, char *text, size_t size);

/* One more folder that sync_file_open looks in. Returns 0 or an error code. */
int32_t sync_listener_root(struct sync *sync, uint32_t id, const char *path);

/* Gives a listener certificates, and takes the place of those that it had: clients that
 * are connected notice nothing. `files` are `count` pairs of a certificate's file and a
 * key's, in PEM; the first is for clients that ask for no name. minimum is 12 or 13, for
 * TLS 1.2 or 1.3. Returns 0, or an error code, and nothing has changed; the message says
 * what is wrong, or on success what should be known. */
int32_t sync_listener_tls(struct sync *sync, uint32_t id, const char *const *files,
                          uint32_t count, uint32_t minimum, char *message, size_t size);

/* Makes the connections that sync_connect makes for a listener, which should have no
 * sockets, speak TLS: they are made when the server has shown a certificate for this
 * host, a name or an address. `files` are three: authorities' certificates (NULL: those
 * that the system trusts), and a certificate and its key for servers that ask for one
 * (NULL: none); all in PEM. Returns 0, or an error code; the message says as by
 * sync_listener_tls. */
int32_t sync_listener_trust(struct sync *sync, uint32_t id, const char *host,
                            const char *const *files, char *message, size_t size);

/* What requests for a Flash policy are answered with; a NUL is put behind it. Returns 0
 * or an error code. */
int32_t sync_listener_policy(struct sync *sync, uint32_t id, const char *text,
                             size_t length);

/* Whether a text is a network: a block ("10.0.0.0/8", "2001:db8::/32"), an address, or
 * "unix". Returns 0 or UV_EINVAL. */
int32_t sync_network(const char *text);

/* The same; writes it in one form, whatever it was written as. size is at least 64. */
int32_t sync_network_name(const char *text, char *name, size_t size);

/* Connections that are accepted from a network from now on are a proxy's, and may say
 * whose they are. Returns 0 or an error code. */
int32_t sync_listener_proxy(struct sync *sync, uint32_t id, const char *network);

/* Whether a connection is a proxy's; and whether an address is of the proxies that its
 * listener knows, or UV_EINVAL when it's none. */
uint32_t sync_proxied(struct sync *sync, uint32_t slot);
int32_t sync_is_proxy(struct sync *sync, uint32_t slot, const char *address);

/* A proxy's connection has this address from now on, also as to max_per_address; with ""
 * its own again. Returns 0, UV_EMFILE when that address has more than it may, or another
 * error code. */
int32_t sync_forwarded(struct sync *sync, uint32_t slot, const char *address);

/* What silent byte streams are sent, as a message. Returns 0 or an error code. */
int32_t sync_listener_ping(struct sync *sync, uint32_t id, const char *bytes,
                           size_t length);

/* Stops accepting; its connections stay. A Unix socket's file is removed. The parent of a
 * worker goes on listening, for the one that takes its place. */
void sync_listener_close(struct sync *sync, uint32_t id);

/* The same for good: the parent stops, too, when no worker that lives has the port. */
void sync_listener_end(struct sync *sync, uint32_t id);

/* How many connections the whole core takes before accepting pauses. */
void sync_limit_clients(struct sync *sync, uint32_t limit);

/* Fires SYNC_TIMER after delay, then every interval (0: once) milliseconds; fractions
 * count: the average rate is exact, and firings that were missed are left out.
 * Returns the timer's id (1 or more) or an error code. */
int32_t sync_timer_start(struct sync *sync, double delay, double interval);
void sync_timer_stop(struct sync *sync, uint32_t id);

/* Whether bytes are valid UTF-8 (RFC 3629). */
int32_t sync_is_text(const char *bytes, size_t length);

/* Reads and writes JSON, piece by piece: Lua makes and walks the tables, so that all of
 * it is compiled. Texts are UTF-8, which is the caller's to check: sync_is_text. */
enum sync_json_kind {
    SYNC_JSON_NULL,
    SYNC_JSON_FALSE,
    SYNC_JSON_TRUE,
    SYNC_JSON_NUMBER,
    SYNC_JSON_STRING,
    SYNC_JSON_KEY,    /* of the value that follows */
    SYNC_JSON_LIST,   /* begins */
    SYNC_JSON_OBJECT, /* begins */
    SYNC_JSON_END     /* of the list or object begun last */
};

struct sync_json_token {
    int32_t kind;    /* enum sync_json_kind */
    uint32_t length; /* of a string or a key */
    union {
        const char *text;
        double number;
    };
};

/* Fields are read-only. */
struct sync_json {
    const struct sync_json_token *tokens; /* what was read, in order */
    const char *problem;                  /* why it could not be */
    size_t position;                      /* and at which byte */
    const char *written;                  /* the text under way */
    size_t length;                        /* of it */
};

/* Returns NULL without memory. */
struct sync_json *sync_json_new(void);
void sync_json_free(struct sync_json *json);

/* Takes a text apart, behind whose end a byte 0 stands, and whose lists and objects are
 * nested up to `depth`, at most 64. Returns how many tokens it has, or -1. The tokens
 * live until the next call; strings without escapes are the text's own bytes. */
int32_t sync_json_read(struct sync_json *json, const char *text, size_t length,
                       uint32_t depth);

/* Begins a text with bytes that are JSON already. It lives until the next one begins. */
void sync_json_begin(struct sync_json *json, const char *bytes, size_t length);

/* Each appends to the text, behind a comma where one is due. Memory that can't be had is
 * told by sync_json_end. */
void sync_json_string(struct sync_json *json, const char *bytes, size_t length);
void sync_json_key(struct sync_json *json, const char *bytes, size_t length);

/* A number that is finite, by the digits that it takes to read the same number back:
 * whole ones up to 2^53 in full. */
void sync_json_number(struct sync_json *json, double number);

/* null, true, false, or the begin of a list or an object: enum sync_json_kind. */
void sync_json_put(struct sync_json *json, int32_t kind);

/* Ends a list with "]", an object with "}", or appends any other bytes, without a comma.
 */
void sync_json_raw(struct sync_json *json, const char *bytes, size_t length);

/* Returns 0, or -1 if there was no memory for the text. */
int32_t sync_json_end(struct sync_json *json);

/* Fills bytes with random ones that nobody can guess. Returns 0, or -1 when there is no
 * randomness. */
int32_t sync_random(char *bytes, size_t length);

/* Gives a line, its newline included, to the thread that writes the log to standard error
 * or to its file: nobody waits for who reads it. Up to 256 KiB wait; lines for which
 * there is no room, or that can't be written as the disk is full, are dropped, and a
 * line, in JSON with json != 0, says how many. Returns 0, or -1 for one that was dropped.
 */
int32_t sync_log_write(const char *line, size_t length, int32_t json);

/* Waits until all lines are written, at most so long. Returns 0, or -1 when they aren't.
 * The end of the process does this, for a second. */
int32_t sync_log_flush(uint32_t milliseconds);

/* Has the log written to the end of a file, which is made if there is none. Call it
 * before there are threads. Returns 0 or an error code. */
int32_t sync_log_open(const char *path);

/* Has the file opened anew, by its name, before the next line: it may have been moved
 * away. What fails is a line in the old one. Returns 1, 0 where the log has no file, or
 * an error code. */
int32_t sync_log_reopen(void);

/* Whether standard error is systemd's journal, which reads a line's priority in front of
 * it (sd-daemon(3)). */
int32_t sync_log_is_journal(void);

/* The same as sync_log_write and sync_log_flush, for standard output. */
int32_t sync_print(const char *line, size_t length);
int32_t sync_print_flush(uint32_t milliseconds);

/* Writes where a file or folder really is, without links, into real. Returns 0, or -1: it
 * isn't there, or longer than fits. */
int32_t sync_path_real(const char *path, char *real, size_t size);

/* A number that is another when a file has been written or replaced; 0: there is none. */
double sync_path_stamp(const char *path);

/* Seconds of a clock that never jumps, for measuring. */
double sync_now(void);

/* The same of a clock that goes on while the machine sleeps, too, where there is one:
 * what others may take when its time is over is measured by it. */
double sync_awake(void);

/* Seconds since 1970, of the wall's clock. */
double sync_wall(void);

/* The end of a bucket of struct sync_times, in microseconds. */
double sync_bucket_end(uint32_t bucket);

/* Watches a signal. Those with seconds end the process: all of them are given back to the
 * system when the first of them comes, and the second one, of whichever kind, has its
 * default effect, and ends a process that hangs. It comes by itself when a tick takes so
 * many seconds from then on; the last one ends at sync_flush. sync_signal_stop gives the
 * signal back. */
int32_t sync_signal_start(struct sync *sync, int32_t number, int32_t seconds);
void sync_signal_stop(struct sync *sync, int32_t number);

/* Looks a host name up in the background; SYNC_RESOLVED tells. Returns the request's
 * id (1 or more) or an error code. */
int32_t sync_resolve(struct sync *sync, const char *host);

/* Connects to an IP address and port, or to "unix:PATH" (port unused), in the background.
 * The connection takes the settings of a listener, which may be one without sockets
 * (host "memory:"), and is a client of it: SYNC_CONNECT tells that it's made, or
 * SYNC_CONNECT_FAILED. Returns the request's id (1 or more) or an error code. */
int32_t sync_connect(struct sync *sync, uint32_t listener, const char *address,
                     uint32_t port);

/* Makes a stream socket that is connected already a connection, as if sync_connect had
 * made it. Returns its slot, which SYNC_CONNECT tells, too, or an error code: of
 * UV_ENOMEM the socket was closed, of others it is as it was. */
int32_t sync_adopt(struct sync *sync, uint32_t listener, int32_t fd);

/* Gives a request up: neither event comes. */
void sync_connect_cancel(struct sync *sync, uint32_t id);

/* Gives up a job, which is work on a thread that ends in SYNC_JOB; which call begins one
 * is said by the module that does it (src/secrets, src/sql). Its event doesn't come. One
 * that waits isn't begun, one that is under way ends as soon as it can. */
void sync_job_cancel(struct sync *sync, uint32_t id);

/* Watches a descriptor of another library: SYNC_WATCH tells each tick what it is ready
 * for, as long as it is: a broken one (reset by its peer) for all that is asked, and
 * SYNC_BROKEN. interest is of enum sync_watched, 0 for none; sync_watch_change sets
 * another. Returns the watch's id (1 or more) or an error code. Stop it before the
 * library closes the descriptor: no event of its id comes any more, but for those of this
 * tick. */
enum sync_watched {
    SYNC_READABLE = 1,
    SYNC_WRITABLE = 2,
    SYNC_BROKEN = 4,
    SYNC_UNHELD = 8 /* of an interest: the loop ends all the same, as if it were none */
};
int32_t sync_watch_start(struct sync *sync, int32_t fd, uint32_t interest);
int32_t sync_watch_change(struct sync *sync, uint32_t id, uint32_t interest);
void sync_watch_stop(struct sync *sync, uint32_t id);

/* A door: a Unix socket for those who run the server, which only its owner and root may
 * open. The folder is made if it lacks, and must be the process's own and nobody else's
 * (UV_EPERM); sockets that dead processes have left are removed. Returns a descriptor to
 * be watched, or an error code; sync_door_close removes the file, too. */
int32_t sync_door_open(const char *folder, const char *path);
void sync_door_close(int32_t door, const char *path);

/* Takes one who has come: returns a descriptor for sync_adopt and writes who it is, or
 * UV_EAGAIN: there is none, UV_EPERM: it's neither the owner nor root, and was refused,
 * or another error code. sync_door_refuse closes one that isn't adopted. */
struct sync_visitor {
    uint32_t user;
    int32_t process;
};
int32_t sync_door_accept(int32_t door, struct sync_visitor *visitor);
void sync_door_refuse(int32_t visitor);

/* The user who runs a process, or an error code: where its door is depends on that. */
int32_t sync_door_owner(int32_t process);

/* Whether a person reads and writes here: standard input and output are a terminal. */
int32_t sync_at_terminal(void);

/* Workers: processes that are started as this one was, and share its ports. The parent
 * makes what they share (once, for `count` workers, at most SYNC_MOST_WORKERS), and
 * starts them. */
enum { SYNC_MOST_WORKERS = 1024 };
int32_t sync_shares_new(struct sync *sync, uint32_t count);

/* Starts worker `number` of `count` with these arguments (the first is the program's
 * name, NULL is behind the last). It has the parent's standard files, and a connection to
 * it whose other end is written to *bus (see sync_adopt). Returns its process id, or an
 * error code; SYNC_EXITED tells when it has ended. */
int32_t sync_spawn(struct sync *sync, const char *const *arguments, uint32_t number,
                   uint32_t count, int32_t *bus);

/* The same for a process that is to take the place of worker `number`, by `takes` "1", or
 * that only tries whether it could: "trial". The program is looked for anew. *fd becomes
 * a socket to it, as that of sync_next_start. */
int32_t sync_spawn_next(struct sync *sync, const char *const *arguments, uint32_t number,
                        uint32_t count, const char *takes, int32_t *fd);

/* Offers that socket, which is the core's then, to the worker, who fetches it; and takes
 * the offer back. All by the successor's process id. Return 0, or the descriptor, or an
 * error code. */
int32_t sync_next_offer(struct sync *sync, int32_t process, int32_t fd);
void sync_next_withdraw(struct sync *sync, int32_t process);
int32_t sync_next_fetch(struct sync *sync, int32_t process);

/* How many cores this process may use. */
uint32_t sync_core_count(void);

/* Sends a process a signal. Returns 0 or an error code. */
int32_t sync_kill(int32_t process, int32_t number);

/* Notes that a worker has ended, and that it accepts no clients. */
void sync_shares_leave(struct sync *sync, uint32_t number);

/* Closes the ports that workers share: nobody is accepted any more. */
void sync_shares_close(struct sync *sync);

/* In a process that sync_spawn has started, once: from now on sync_listen gets its
 * sockets from the parent. Returns its number and 65,536 times the count, 0 when it's no
 * worker, or an error code. Its connection to the parent is file descriptor 3. */
int32_t sync_worker_begin(struct sync *sync);

/* Another process has this worker's place: this one tells the others nothing more of its
 * clients. */
void sync_worker_end(struct sync *sync);

struct sync_watchdog {
    uint32_t limit;  /* milliseconds that the handling of an event may take */
    uint32_t ending; /* milliseconds after which an error ends it; 0: none does */
    uint32_t json;   /* the form of the log's lines */
    double lua;      /* the address of a Lua state, for ending */
};

/* Starts a thread that logs an event whose handling takes so long or longer, and ends it;
 * one core of a process has one. When it can't be ended, the process ends with 75. It
 * needs a cursor that is kept, and the signal SIGRTMIN + 6. Returns 0 or an error code;
 * the message is what lacks for ending. */
int32_t sync_watchdog_start(struct sync *sync, const struct sync_watchdog *options,
                            char *message, size_t size);
void sync_watchdog_stop(struct sync *sync);

/* What this tick does from now on may take so long until it is told of, or ended. */
void sync_watchdog_allow(struct sync *sync, uint32_t milliseconds);

/* For the callback of LuaJIT's profiler, whose signal the watchdog sends: whether it
 * wants to know where Lua is, once. The answer is lines of file:line, innermost first. */
int32_t sync_watchdog_asks(struct sync *sync);
void sync_watchdog_tell(struct sync *sync, const char *stack);

/* What sources of code begin with that are none of the script's: the watchdog raises no
 * error in them, and names no line of theirs where compiled code hangs. */
void sync_watchdog_own(const char *prefix);

/* An error was caught where it does no harm: the watchdog raises none in this handler. */
void sync_watchdog_caught(void);

/* Whose handler made the longest tick: "onData of Echo", or "12 events" where that is not
 * known. Returns the length of the text, which ends at a NUL. */
uint32_t sync_longest_handler(struct sync *sync, char *text, size_t size);

/* Whether LuaJIT's profiler runs, or something else that takes its signal. */
int32_t sync_is_profiled(void);

/* What the watchdog's log calls a listener's class (UTF-8), and a connection's client: a
 * whole number. Of names above 2^32 the part that is divisible by it is common to all. */
int32_t sync_listener_name(struct sync *sync, uint32_t id, const char *name);
void sync_name(struct sync *sync, uint32_t slot, double name);

/* An upgrade: the next process goes on with this one's sockets and connections. What it
 * is handed is a parcel of items.
 *
 * Starts it, by the command line (see sync_spawn) that this one was started by: the
 * program is looked for anew. *fd becomes a socket to it, whose other end is its
 * descriptor 3. Returns its process id or an error code; SYNC_EXITED tells when it has
 * ended. */
int32_t sync_next_start(struct sync *sync, const char *const *arguments, int32_t *fd);

/* Whether this process was started so; once. */
int32_t sync_is_next(void);

/* Reads no client any more that is open, and accepts none; or does again. */
enum sync_frozen {
    SYNC_FROZEN_NOT,
    SYNC_FROZEN_CLIENTS, /* but for connections that lead: see sync_options */
    SYNC_FROZEN_ALL
};
void sync_freeze(struct sync *sync, int32_t freeze);

/* Whether nothing of connections that are frozen is under way in the kernel any more. */
int32_t sync_rests(struct sync *sync);

/* Says a text to the other process, and hears one, at most size - 1 bytes with a NUL
 * behind them; waits at most so long. Return 0, or how many bytes; or an error code:
 * UV_EAGAIN when nothing came, UV_EOF when there's nobody any more. */
int32_t sync_next_say(int32_t fd, const char *text, uint32_t milliseconds);
int32_t sync_next_hear(int32_t fd, char *text, uint32_t size, uint32_t milliseconds);
void sync_next_close(int32_t fd);

/* Writes a line to this socket of the abstract namespace, if somebody listens, and
 * listens on it: who asks for an upgrade hears so what came of it. */
void sync_answer(const char *name, const char *text);
int32_t sync_answer_wait(const char *name);

/* What both processes must know to understand each other: it changes with what parcels
 * hold, here and in lua/sync/upgrade/. */
enum { SYNC_HANDOVER_FORMAT = 4 };

struct sync_parcel;
enum sync_item_type {
    SYNC_ITEM_TEXT = 1,
    SYNC_ITEM_LISTENER,
    SYNC_ITEM_CLIENT,
    SYNC_ITEM_WORKER, /* the last three: see sync_parcel_workers */
    SYNC_ITEM_BOUND,
    SYNC_ITEM_SHARES
};
struct sync_item {
    uint32_t type;  /* enum sync_item_type */
    uint32_t value; /* a listener's port; the slot that a client had */
    uint32_t length;
    const char *data; /* a text; a listener's host, which ends at its NUL */
};

/* An empty one, or NULL. Free it. */
struct sync_parcel *sync_parcel_new(void);
void sync_parcel_free(struct sync_parcel *parcel);

/* Add an item. Memory that can't be had is told by sync_parcel_send. The last one returns
 * 1, or 0 when the connection must stay here: it is ending, or a request of it is being
 * answered. Between two ticks. */
void sync_parcel_text(struct sync_parcel *parcel, const char *bytes, size_t length);
void sync_parcel_listener(struct sync *sync, struct sync_parcel *parcel, uint32_t id,
                          const char *host, uint32_t port);
int32_t sync_parcel_client(struct sync *sync, struct sync_parcel *parcel, uint32_t slot);

/* One in TLS stays here as a relay: the other process gets a socket to it. */

/* Whether it could be added now. */
int32_t sync_parcel_may(struct sync *sync, uint32_t slot);

/* Sends all to the other process, or receives what that has sent. Return 0 or an error
 * code. A parcel that was sent is empty, and may be filled and sent again. With 0 ms
 * sending doesn't wait: UV_EAGAIN, and it is to be sent again, as it is. */
int32_t sync_parcel_send(struct sync_parcel *parcel, int32_t fd, uint32_t milliseconds);
int32_t sync_parcel_receive(struct sync_parcel **parcel, int32_t fd,
                            uint32_t milliseconds);

/* The next item of what was received: 1, 0 behind the last, or an error code. */
int32_t sync_parcel_next(struct sync_parcel *parcel, struct sync_item *item);

/* What becomes of it: the sockets of a listener wait for sync_listen with that host and
 * port; a client is one of this listener from now on, without SYNC_CONNECT. Return 0, or
 * the client's slot, or an error code. */
int32_t sync_parcel_inherit(struct sync *sync, struct sync_parcel *parcel,
                            const struct sync_item *item);
int32_t sync_parcel_take(struct sync *sync, struct sync_parcel *parcel,
                         const struct sync_item *item, uint32_t listener);

/* Closes inherited sockets that nobody has listened on; returns of how many listeners. */
uint32_t sync_disinherit(struct sync *sync);

/* What was handed over is the other process's now: a client has gone from here without a
 * word, but for one in TLS, which is passed on; and a listener doesn't accept. The parcel
 * is the one that the client was added to, or NULL for one that was received. */
void sync_let_go(struct sync *sync, struct sync_parcel *parcel, uint32_t slot);

/* Ends the connections that are passed on. */
void sync_end_relays(struct sync *sync);
void sync_listener_let_go(struct sync *sync, uint32_t id);

/* The file of a Unix socket that was inherited is this process's to remove. */
void sync_listener_own(struct sync *sync, uint32_t id, const char *path);

/* This process's id. */
int32_t sync_process(void);

/* Sends a datagram to a Unix socket: a path, or behind "@" a name of the abstract
 * namespace. Nobody may be there. */
void sync_notify(const char *name, const char *text);

/* The parent of workers becomes its next program, with the same process id: see
 * lua/sync/upgrade/exec.lua.
 *
 * Adds what workers share: their sockets to the parent, the ports, and how many clients
 * each has; and takes an item of these. Returns 0 or an error code. */
void sync_parcel_workers(struct sync *sync, struct sync_parcel *parcel);
int32_t sync_parcel_take_workers(struct sync *sync, struct sync_parcel *parcel,
                                 const struct sync_item *item);

/* A sum over all bytes of a parcel, before it's sent or behind that, by which who
 * receives it sees that it's whole. */
uint32_t sync_parcel_sum(struct sync_parcel *parcel);

/* Two ends of a socket, for a parcel to oneself. Returns 0 or an error code. */
int32_t sync_next_pair(int32_t *fds);

/* Replaces the program, by the command line, and hands `fd` to the next one. Signals wait
 * until that says sync_exec_done. Returns only when it fails, an error code: all is as it
 * was. */
int32_t sync_exec(const char *const *arguments, int32_t fd);

/* The descriptor that the program before has handed to this one, once; or -1. */
int32_t sync_exec_fd(void);
void sync_exec_done(void);

/* A child of this process that the program before has started: SYNC_EXITED tells when it
 * has ended. Returns 0 or an error code. */
int32_t sync_adopt_worker(struct sync *sync, int32_t process);

/* Every connection that there is, one after the other: the next slot behind this one that
 * is a connection, or 0. */
uint32_t sync_next_slot(struct sync *sync, uint32_t slot);

/* Bytes that are in use: of the C library, and in sync-lua of Lua's objects. */
double sync_memory_used(void);

/* Tells, by SYNC_MEMORY_HIGH, when so many bytes or more are used; looked at 100 times a
 * second while there is something to do. Returns 0 or an error code. */
int32_t sync_watch_memory(struct sync *sync, double bytes);

/* Bytes that the core holds for a client: unsent ones, and received ones that are no
 * whole message yet. */
uint32_t sync_held(struct sync *sync, uint32_t slot);

/* Accepts nobody, until it is called with hold = 0. Who comes waits. */
void sync_hold_accepting(struct sync *sync, int32_t hold);

/* Begins to write a file anew, on a thread: it is the old one until the new one is on the
 * disk. Returns a job, whose value is 0 or an error code. */
int32_t sync_keep_file(struct sync *sync, const char *path, const char *text,
                       size_t length);

/* A connection's address has failed to log in. */
void sync_fail(struct sync *sync, uint32_t slot);

/* Shuts a network out (see sync_network; not "unix") for so many seconds, or with 0 lets
 * it in again: connections are reset when they are accepted. Connections that are there
 * stay. Returns 0 or an error code. */
int32_t sync_ban(struct sync *sync, const char *network, double seconds);

/* Whether an address is shut out. */
uint32_t sync_is_banned(struct sync *sync, const char *address);

/* Closes all connections of a network, by a reset. Returns how many there were. */
uint32_t sync_kick(struct sync *sync, const char *network);

/* From now on nobody is accepted, but for those who ask for /healthz, /readyz, /metrics
 * or /panel, and hear so; others have 503, or a reset. A worker leaves all to the others,
 * while they accept. */
void sync_drain(struct sync *sync);

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

/* The state of a room, of which each member is sent what it may see (src/state/state.h
 * and docs/state.md). A state has tables, and they have entities; table 0 is the state's
 * own fields, and has one. An entity's numbers are in a struct of the program's, a double
 * or a bool each, which is read at each patch. Functions return 0 or more, or a negative
 * error code: that of ENOSPC at a bound. */
struct sync_state;

enum sync_sees { SYNC_SEES_ALL, SYNC_SEES_NEAR, SYNC_SEES_ASKED, SYNC_SEES_SHOWN };
enum sync_form { SYNC_FORM_BINARY, SYNC_FORM_JSON, SYNC_FORM_AMF3 };
/* By the table's rule; whatever that is; and what a function has said, for
 * SYNC_SEES_ASKED. */
enum sync_sight {
    SYNC_SIGHT_RULE,
    SYNC_SIGHT_SHOWN,
    SYNC_SIGHT_HIDDEN,
    SYNC_SIGHT_ASKED_YES,
    SYNC_SIGHT_ASKED_NO
};

struct sync_table {
    uint32_t keys;     /* 0: none, 1: whole numbers, 2: strings */
    uint32_t sees;     /* enum sync_sees */
    double near;       /* for SYNC_SEES_NEAR: who is as near comes into sight, */
    double far;        /* and who is further goes out of it */
    uint32_t x_offset; /* of the place, in the struct */
    uint32_t y_offset;
    uint32_t most;       /* entities */
    uint32_t most_bytes; /* of keys, strings, lists and maps */
};

/* Makes a state, to be freed by sync_state_free; NULL when memory ran out. */
struct sync_state *sync_state_new(uint32_t room);
void sync_state_free(struct sync_state *state);

/* Sets what is around a ByteArray in AMF3's form: `head` of the bytes are before it.
 * Needed before a member joins with this form. Returns 0 or an error code. */
int32_t sync_state_envelope(struct sync_state *state, const char *envelope, size_t head,
                            size_t length);

/* Declare a table, and then its fields, private ones last, by a name and a code (type.h).
 * Before the first entity and the first member. Return the number. */
int32_t sync_state_table(struct sync_state *state, const char *name, size_t length,
                         const struct sync_table *options);
int32_t sync_state_field(struct sync_state *state, uint32_t table, const char *name,
                         size_t length, int32_t is_private, uint32_t offset,
                         const char *code, size_t code_length);

/* Adds an entity, whose struct must stay at its address until it's removed. The key is a
 * number or a text. Returns its number. */
int32_t sync_state_add(struct sync_state *state, uint32_t table, const void *at,
                       double key, const char *text, size_t length);
void sync_state_remove(struct sync_state *state, uint32_t table, uint32_t entity);

/* Sets a field that is no number: a string, or the binary form of a list or a map. */
int32_t sync_state_put(struct sync_state *state, uint32_t table, uint32_t entity,
                       uint32_t field, const char *value, size_t length);

/* Gives an entity to a member; 0: to nobody. */
int32_t sync_state_own(struct sync_state *state, uint32_t table, uint32_t entity,
                       uint32_t owner);

/* A member that reads a form. Returns its number, which is not 0. */
int32_t sync_state_join(struct sync_state *state, uint32_t form);
void sync_state_leave(struct sync_state *state, uint32_t member);

/* The member's connection; 0: none for now. Its next patch is a snapshot, in which only
 * that is new which has come since the patch before; and so it is after sync_state_renew,
 * where it is new which has come since the member's last patch. */
void sync_state_connect(struct sync_state *state, uint32_t member, uint32_t slot);
void sync_state_renew(struct sync_state *state, uint32_t member);

/* The number of the last input of a member that was taken. */
void sync_state_input(struct sync_state *state, uint32_t member, double input);

/* Where a member is to look, instead of at what it owns. */
void sync_state_look(struct sync_state *state, uint32_t member, int32_t looks, double x,
                     double y);
int32_t sync_state_sight(struct sync_state *state, uint32_t member, uint32_t table,
                         uint32_t entity, uint32_t sight);

/* Makes a patch, and queues it for each member whose last one has left. Returns 0, or
 * enum sync_patched, or an error code. */
enum sync_patched {
    SYNC_PATCH_SATURATED = 1, /* sync_state_saturated has something to say */
    SYNC_PATCH_LONG = 2       /* a member's queue may not hold its patch: it got none */
};
int32_t sync_state_patch(struct sync *sync, struct sync_state *state, double tick);

/* The same in steps, for one that sends by itself: compare, write for each member (NULL:
 * there is nothing to send), end. The bytes stay until the next step. */
int32_t sync_state_compare(struct sync_state *state);
const char *sync_state_write(struct sync_state *state, uint32_t member, double tick,
                             size_t *length);
void sync_state_end_patch(struct sync_state *state);

/* Copies of a state on other nodes, which write the patches of the members there.
 *
 * The home: a member with an id (a whole number above 0) is elsewhere; with 0 it's here
 * again. As long as one is, sync_state_copy writes what copies need to follow this patch
 * (sync_state_patch does that by itself), and after sync_state_want a snapshot as well,
 * which holds this patch, too. sync_state_copied gives the bytes, which stay until the
 * next patch; NULL: there are none. */
void sync_state_epoch(struct sync_state *state, uint32_t epoch);
void sync_state_elsewhere(struct sync_state *state, uint32_t member, double id);
void sync_state_want(struct sync_state *state);
void sync_state_copy(struct sync_state *state, double tick);
const char *sync_state_copied(const struct sync_state *state, int32_t snapshot,
                              size_t *length);

/* A copy: a state that was declared, and has nothing yet, which is told all it has by
 * sync_state_apply. Bytes that are none (-EPROTO) or of another declaration (-EINVAL),
 * and memory that ran out, leave it lost: it takes nothing but a snapshot. When something
 * was applied, a patch of it is to be made. A member is found there by its id (0: it
 * isn't there, or not yet), reads a form from then on, and gets a connection. */
enum sync_applied {
    SYNC_APPLIED,
    SYNC_APPLIED_OLD,   /* dropped: an older patch, of an older epoch, or a snapshot that
                           says nothing new */
    SYNC_APPLIED_MISSED /* one before it is missing: it needs a snapshot */
};
void sync_state_replica(struct sync_state *state);
int32_t sync_state_apply(struct sync_state *state, const char *bytes, size_t length);
double sync_state_tick(const struct sync_state *state);
uint32_t sync_state_find(const struct sync_state *state, double id);
int32_t sync_state_read(struct sync_state *state, uint32_t member, uint32_t form);

/* A field of which a number was out of range, told once: 65,536 times the table, and the
 * field; -1 for none. */
int32_t sync_state_saturated(struct sync_state *state);

/* "EADDRINUSE" and "address already in use" of an error code; static text. */
const char *sync_error_name(int32_t code);
const char *sync_error_text(int32_t code);

/* libuv's version; static text. */
const char *sync_uv_version(void);

#pragma GCC visibility pop
