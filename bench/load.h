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
    int depth;      /* messages in flight of a connection or sender */
    int size;       /* bytes of a message, its framing not counted */
    int framing;    /* index into wire_framings */
    double seconds; /* measured */
    double warm_up; /* before that */
    double rate;    /* messages a second, of all connections together */
    int pid;        /* of the server, or 0 */
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
extern const char *const wire_framings[];
enum { WIRE_HEADER = 12 /* bytes of a message that say whose and which it is */ };
void wire_init(int size, int framing);
size_t wire_length(void); /* framed */
/* Writes a framed message. */
void wire_write(char *to, unsigned sender, unsigned number);
/* The framed message that is expected; valid until the next call. */
const char *wire_expected(unsigned sender, unsigned number);

/* histogram.c: latencies in nanoseconds. */
void histogram_clear(void);
void histogram_add(int64_t nanoseconds);
double histogram_percentile(double percent); /* nanoseconds */
uint64_t histogram_count(void);

/* link.c: connections. */
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
};

int64_t now_ns(void);
_Noreturn void fail(const char *format, ...);
void target_parse(const char *target);
/* Opens one; it is connected when epoll says it is writable. */
void link_open(struct link *link, int index);
struct link *links_open(int count); /* all connected */
void link_send(struct link *link, const char *bytes, size_t length);
void link_write(struct link *link);
/* Reads what is there into a shared buffer. Returns its length; 0 when nothing is. */
size_t link_read(struct link *link, char **bytes);
void link_watch(struct link *link, bool write);
extern int epoll_fd;

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
