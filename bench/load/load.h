/* load.h: what the parts of the load generator share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* What was asked for on the command line. */
struct plan {
    const char *mode;
    const char *target;
    int connections;
    int senders;
    int depth;       /* messages in flight of a connection or sender */
    int size;        /* bytes of a message, its framing not counted */
    int framing;     /* enum framing */
    double seconds;  /* measured */
    double warm_up;  /* before that */
    double rate;     /* messages a second, of all connections together */
    double patience; /* seconds after which what did not come is called missing */
    int pid;         /* of the server, or 0 */
    bool json;
};

extern struct plan plan;

/* What a run found. */
struct result {
    double seconds;
    double messages;
    double user_ns, system_ns; /* CPU of the server per message */
    double rss_kib;
    double bytes_per_connection, slab_bytes_per_connection; /* idle */
};

/* wire.c: messages as they go over the wire. */
enum framing {
    FRAMING_RAW,
    FRAMING_NULL,
    FRAMING_LINE,
    FRAMING_LENGTH16,
    FRAMING_LENGTH32,
    FRAMING_WS_TEXT,
    FRAMING_WS_BINARY
};
extern const char *const wire_framings[]; /* by enum framing, then NULL */
enum { WIRE_ID = 12 /* bytes of a message that say whose and which it is */ };
void wire_init(int size, int framing);
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
/* The length in front of a message of length16 and length32. */
size_t wire_prefix_length(void);
size_t wire_prefix(const char *bytes);
uint32_t wire_mask(void);

/* histogram.c: latencies in nanoseconds. */
void histogram_clear(void);
void histogram_add(int64_t nanoseconds);
double histogram_percentile(double percent); /* nanoseconds */
uint64_t histogram_count(void);

/* link.c: connections. */
struct session;
struct link {
    int fd;
    int index;
    unsigned sent;     /* messages handed to the kernel or to `unsent` */
    unsigned received; /* messages that came back whole and right */
    size_t partial;    /* bytes of the message that is coming in */
    char *message;     /* where it is put together, when the order isn't known */
    char *unsent;      /* bytes the kernel had no room for */
    size_t unsent_start, unsent_length, unsent_capacity;
    int64_t *times; /* when the last `depth` messages were sent */
    bool connected;
    struct session *session; /* of a WebSocket */
};

/* A piece of a message that came. */
struct part {
    char *bytes;
    size_t length;
    bool ends;   /* the message */
    size_t more; /* of a byte stream: bytes read that follow it */
};

int64_t now_ns(void);
_Noreturn void fail(const char *format, ...);
void target_parse(const char *target);
/* Opens one; links_open says when it is ready, or link_establish. */
void link_open(struct link *link, int index);
/* Goes on with a connection that epoll reported. True once it can carry messages: it is
 * connected, and a WebSocket's handshake answered. */
bool link_establish(struct link *link);
struct link *links_open(int count); /* all established */
void link_send(struct link *link, const char *bytes, size_t length);
void link_send_message(struct link *link, unsigned sender, unsigned number);
void link_write(struct link *link);
/* Reads what is there into a shared buffer. Returns its length; 0 when nothing is. */
size_t link_read(struct link *link, char **bytes);
void link_watch(struct link *link, bool write);
/* Closes it with a reset, so that no port stays in TIME-WAIT. */
void link_reset(struct link *link);
extern int epoll_fd;

/* session.c: what a WebSocket has besides. */
void session_begin(struct link *link);
bool session_answered(struct link *link);
/* As link_part. Answers pings; a Close frame or a broken rule ends the run. */
bool session_part(struct link *link, char **bytes, size_t *count, struct part *part);

/* Cuts the next part of a message off what was read; false when there is none. */
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

/* Whether the run was interrupted. */
extern volatile bool interrupted;

void run_echo(struct result *result);
void run_rate(struct result *result);
void run_broadcast(struct result *result);
void run_storm(struct result *result);
void run_idle(struct result *result);
