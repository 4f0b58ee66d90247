/* load.h: what the parts of the load client share.
 *
 * The client opens connections to a server, sends, checks each byte that comes back, and
 * measures. What it sends, and what has to come back, is a mode's: a file in modes/ with
 * a table of functions (struct mode). All else is done once, here: connecting, TLS,
 * WebSocket, the loop, the measured time, latencies, and the report.
 *
 *     main.c, sync-bench.c      a command line each; program.c, url.c
 *     modes/                    what is done
 *     loop.c, report.c          one epoll, and the time that is measured
 *     session.c, inflate.c, tls.c, cut.c   what is spoken on a connection
 *     link.c, target.c          connections
 *     wire.c, check.c           messages that are known from all others
 *     ws.c, histogram.c, server.c
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* Times are in nanoseconds, those of the command line in seconds. */
#define SECOND 1000000000LL

/* What was asked for on the command line. */
struct plan {
    const struct mode *mode;
    int connections;
    int senders;
    int depth;       /* messages in flight of a connection or sender */
    int size;        /* bytes of a message, its framing not counted */
    int framing;     /* enum framing */
    int burst;       /* messages that are due at once */
    double seconds;  /* measured */
    double warm_up;  /* before that */
    double rate;     /* messages a second, of all connections together */
    double patience; /* seconds after which what did not come is called missing */
    int pid;         /* of the server, or 0 */
    bool tls;
    bool deflate; /* of WebSockets */
    bool json;
};

extern struct plan plan;

/* What a run found. */
struct result {
    double seconds;
    double messages;
    double user_ns, system_ns;     /* CPU of the server per message */
    double server_busy, load_busy; /* of a core */
    double rss_kib;
    double bytes_per_connection, slab_bytes_per_connection; /* idle */
};

/* program.c */
/* Ends the program: what went wrong, behind the program's name. */
_Noreturn void fail(const char *format, ...);
extern const char *program;                /* its name */
extern int failure;                        /* and its exit code */
void *need(void *memory);                  /* as it is; fails when it is NULL */
unsigned long long raise_file_limit(void); /* to what is allowed; returns that */
extern volatile bool interrupted;
void catch_interrupts(void);
int64_t now_ns(void);

/* target.c: where connections go. */
struct target {
    struct sockaddr_storage address;
    socklen_t address_size;
    char text[300]; /* as errors name it */
    char host[300]; /* as HTTP's Host names it */
    const char *path;
};
/* Adds HOST:PORT, [IPV6]:PORT, HOST:PORT/PATH or unix:PATH. Connections take turns. */
void target_add(const char *text);
/* Looks a name up. `reach`: takes the first of its addresses that lets a client connect,
 * else the first. Returns NULL, or what is wrong. */
const char *target_resolve(struct target *target, const char *name, const char *port,
                           bool reach);
struct target *target_new(void);
const struct target *target_of(int index); /* of a connection */
/* Chooses a source address for a connection, so that ports suffice. Returns 0, or -1. */
int target_bind(int fd, int index);
enum { TARGET_PORTS = 20000 /* connections from one source address */ };
bool target_is_loopback4(const struct target *target);

/* wire.c: messages as they go over the wire. */
enum framing {
    FRAMING_RAW,
    FRAMING_NULL,
    FRAMING_LINE,
    FRAMING_LENGTH16,
    FRAMING_LENGTH32,
    FRAMING_LENGTH24LE,
    FRAMING_WS_TEXT,
    FRAMING_WS_BINARY,
    FRAMING_COUNT
};
struct wire_framing {
    const char *name;
    uint8_t prefix; /* bytes of the length that stands in front of a message */
    bool little;    /* the least significant of them comes first */
};
extern const struct wire_framing wire_framings[FRAMING_COUNT];
/* By how many bits byte `i` of a length is shifted, in a framing. */
unsigned wire_shift(int of, unsigned i);
/* Fails when the framing can't say that a message has so many bytes. */
void wire_check_length(int of, size_t length);
enum {
    WIRE_ID = 12,        /* bytes of a message that say whose and which it is */
    WIRE_FRAME_MOST = 15 /* bytes that framing adds */
};
void wire_init(int size, int wanted);
void wire_init_framing(int wanted); /* for those who have messages of their own */
void wire_repeat(void);             /* all messages are the same */
bool wire_is_websocket(void);
/* Bytes of a message as it is sent; and as it is compared when it comes: on a byte stream
 * with its framing, of a WebSocket the payload alone. */
size_t wire_length(void);
size_t wire_answer_length(void);
/* Writes a message, framed; a WebSocket's with a new mask. */
void wire_write(char *to, unsigned sender, unsigned number);
/* Writes it as it must come back. */
void wire_answer(char *to, unsigned sender, unsigned number);
/* Whether these bytes are what comes back of it, from byte `from` on. */
bool wire_same(const char *bytes, size_t from, size_t length, unsigned sender,
               unsigned number);
/* Whose and which a whole message says it is; false when it says nothing. */
bool wire_id(const char *message, unsigned *sender, unsigned *number);
/* Where null and line end the first message of these bytes, or 0. */
size_t wire_cut(const char *bytes, size_t length);
/* The length in front of a message. */
size_t wire_prefix_length(void);
size_t wire_prefix(const char *bytes);
uint32_t wire_mask(void);
/* Writes any bytes as a message, framed. Returns its length. */
size_t wire_frame(char *to, const char *bytes, size_t length);

/* histogram.c: latencies in nanoseconds. */
void histogram_clear(void);
void histogram_add(int64_t nanoseconds);
double histogram_percentile(double percent); /* nanoseconds */
uint64_t histogram_count(void);

/* link.c: connections. */
struct session;
struct ssl_st;
struct link {
    int fd; /* -1: closed */
    int index;
    unsigned sent;     /* messages handed to the kernel or to `unsent` */
    unsigned received; /* messages that came back whole and right */
    size_t partial;    /* bytes of the message that is coming in */
    char *message;     /* where it is put together, see link_gather */
    char *unsent;      /* bytes the kernel had no room for */
    size_t unsent_start, unsent_length, unsent_capacity;
    int64_t begun;         /* connecting */
    int64_t *times;        /* when the last `depth` messages were sent */
    uint8_t prefix_length; /* bytes of the length in front of a message, see cut.c */
    size_t left;           /* and the length, less what has come of the message */
    bool connected;        /* TCP */
    bool ready;            /* and all handshakes are over: messages can go */
    struct ssl_st *tls;
    struct session *session; /* of a WebSocket */
    void *state;             /* the mode's */
};

/* A piece of a message that came. */
struct part {
    char *bytes;
    size_t length;
    bool ends;   /* the message */
    size_t more; /* of a byte stream: bytes read that follow it */
};

void link_open(struct link *link, int index);
/* Goes on with a connection that epoll reported; sets `ready` once messages can go. */
void link_establish(struct link *link);
void link_send(struct link *link, const char *bytes, size_t length);
void link_send_message(struct link *link, unsigned sender, unsigned number);
void link_write(struct link *link); /* what waits */
/* Reads what is there into a shared buffer. Returns its length; 0 when nothing is. */
size_t link_read(struct link *link, char **bytes);
ssize_t link_receive(struct link *link, char *bytes, size_t room); /* as recv */
bool link_pending(const struct link *link); /* more is there, which epoll won't tell */
void link_watch(struct link *link, bool write);
/* Closes it with a reset, so that no port stays in TIME-WAIT. */
void link_reset(struct link *link);
/* The server broke it, or a rule: mode->broke decides what that means; without one the
 * program ends. A link that was broken is closed. */
void link_broke(struct link *link, const char *format, ...);

/* session.c: what a WebSocket has besides. */
void session_begin(struct link *link);
bool session_answered(struct link *link);
/* As link_part. Answers pings; a Close frame or a broken rule breaks the link. */
bool session_part(struct link *link, char **bytes, size_t *count, struct part *part);
void session_free(struct session *session);

/* inflate.c: compressed messages. Puts one together, and inflates it when it ends.
 * Returns its length, -1 before its end, or -2: it can't be inflated. The bytes live
 * until the next call. */
struct packed {
    char *bytes;
    size_t length, capacity;
};
ssize_t inflate_part(struct packed *gathered, const char *bytes, size_t length, bool ends,
                     char **message);

/* tls.c: TLS by OpenSSL, of any certificate. tls_send and tls_read are as send and recv.
 */
void tls_begin(struct link *link);
bool tls_shaken(struct link *link);
ssize_t tls_send(struct link *link, const char *bytes, size_t length);
ssize_t tls_read(struct link *link, char *bytes, size_t room);
bool tls_pending(const struct link *link);
void tls_free(struct link *link);

/* Cuts the next part of a message off what was read; false when there is none. Messages
 * are those of wire.c, whose length is known. */
static inline bool link_part(struct link *link, char **bytes, size_t *count,
                             struct part *part) {
    if (*count == 0) {
        return false;
    }
    if (link->session) {
        return session_part(link, bytes, count, part);
    }
    size_t left = wire_answer_length() - link->partial;
    part->bytes = *bytes;
    part->length = left < *count ? left : *count;
    part->ends = left <= *count;
    *bytes += part->length;
    *count -= part->length;
    part->more = *count;
    return true;
}

/* cut.c: messages of any length. */
/* As link_part, by the framing alone, which is taken off. Without framing each read is a
 * message. */
bool link_cut(struct link *link, char **bytes, size_t *count, struct part *part);
/* Puts a message together that comes in parts, of `most` bytes. True when it is whole,
 * and then the part is all of it. */
bool link_gather(struct link *link, struct part *part, size_t most);

/* check.c: what came beside what had to come. */
/* Ends the run when the part isn't of that message; else link->partial goes on. */
void link_check(struct link *link, const struct part *part, unsigned sender,
                unsigned number);
/* Says what is wrong with a message that isn't what had to come. `ends`: its framing says
 * that it is whole. `bytes` may go on behind it. */
_Noreturn void check_blame(struct link *link, const char *bytes, size_t length, bool ends,
                           unsigned sender, unsigned number);

/* server.c: the server as /proc shows it. */
struct usage {
    double user_ns, system_ns;
};
struct usage server_usage(int pid);
double server_rss_kib(int pid);
double system_slab_kib(void);

/* loop.c: one epoll. */
extern int epoll_fd;
/* Opens so many and waits until all are ready. */
struct link *links_open(int count);
/* Waits at most so long, and handles what came. Returns how many links had something. */
int loop_turn(int64_t wait);
/* The whole run, as most modes have it: begins, warms up, measures, finishes. */
void loop_run(struct result *result);
/* Where all links are that links_open opened last. */
extern struct link *links;
extern int links_ready; /* in all */

/* What is counted in the measured time. */
extern struct tally {
    bool on;
    uint64_t count;
} tally;

static inline void tally_message(int64_t latency) {
    if (tally.on) {
        tally.count++;
        histogram_add(latency);
    }
}

/* A mode: what the client does. A function that is NULL has nothing to do; `run` and
 * `received` must be there. */
struct mode {
    const char *name;
    const char *help;      /* of --help; each line but the first is indented by 13 */
    const char *unit;      /* what its rate counts: "messages" */
    int connecting;        /* connections that are made at a time; 0: 256 */
    bool any_kind;         /* a WebSocket's answers may be text or binary */
    bool greeted;          /* messages may come before one was sent */
    void (*prepare)(void); /* looks at the plan, before anything else */
    void (*run)(struct result *); /* loop_run, or a run of another shape */
    /* loop_run: opens links and sends what comes first; and after the measured time waits
     * for what must still come. */
    void (*begin)(void);
    void (*finish)(void);
    /* Before each wait: sends what is due. Returns how long may be waited; -1, as without
     * it: until the patience ends, and then `stalled` says what is missing. */
    int64_t (*due)(int64_t now);
    void (*stalled)(void);
    void (*ready)(struct link *link); /* it can carry messages now */
    void (*received)(struct link *link, char *bytes, size_t count, int64_t now);
    void (*broke)(struct link *link, const char *why);
    void (*report)(const struct result *result); /* as text, instead of a rate */
};

extern const struct mode mode_echo, mode_rate, mode_broadcast, mode_storm, mode_idle,
    mode_calls, mode_room, mode_socketio, mode_walk, mode_chat, mode_game, mode_rpc,
    mode_ramp;

/* report.c */
void report(const struct result *result);
