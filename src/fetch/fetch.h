/* fetch.h: requests of HTTP to others, by libcurl's multi interface on the loop. See
 * lua/sync/fetch.
 *
 * This same text is an ffi.cdef, as sync.h is, and follows it. A transfer is one request
 * and its answer; redirects are transfers of their own. SYNC_WATCH of its id says that
 * there is something new in its struct, at most once a tick.
 */
#pragma once
#pragma GCC visibility push(default)

struct sync;

enum sync_fetch_state {
    SYNC_FETCH_ASKS,  /* no answer yet */
    SYNC_FETCH_BODY,  /* the answer's head is there, its body comes */
    SYNC_FETCH_ENDED, /* whole, or with a problem */
    SYNC_FETCH_LOST   /* was given up, and its name was looked up until now: end it */
};

enum sync_fetch_problem {
    SYNC_FETCH_NONE,
    SYNC_FETCH_URL,       /* libcurl can't read it */
    SYNC_FETCH_NAME,      /* the host's name has no address */
    SYNC_FETCH_AWAY,      /* nobody could be connected to */
    SYNC_FETCH_FORBIDDEN, /* the address is one of those that are forbidden */
    SYNC_FETCH_TLS,       /* the handshake or the certificate */
    SYNC_FETCH_CONNECTS,  /* not connected in time */
    SYNC_FETCH_IDLE,      /* nothing came or went in time */
    SYNC_FETCH_SLOW,      /* not whole in time */
    SYNC_FETCH_CUT,       /* the connection ended before the answer did */
    SYNC_FETCH_HEAD,      /* a head longer than it may be */
    SYNC_FETCH_LARGE,     /* a body larger than it may be */
    SYNC_FETCH_BROKEN,    /* what came is no answer of HTTP, or can't be decompressed */
    SYNC_FETCH_FILE,      /* a file of certificates can't be read */
    SYNC_FETCH_PROXY,     /* the proxy's name, or its refusal */
    SYNC_FETCH_MEMORY,
    SYNC_FETCH_OTHER
};

/* Fields are read-only. */
struct sync_fetch {
    uint32_t id;
    uint32_t state;   /* enum sync_fetch_state */
    uint32_t problem; /* enum sync_fetch_problem, of one that has ended */
    uint32_t status;
    uint32_t version; /* of HTTP: 10, 11, 20, 30 */
    const char *head; /* the answer's header lines, each with its CR LF; the first is its
                         status line */
    size_t head_length;
    const char *body; /* what has come of it and wasn't taken */
    size_t body_length;
    const char *text; /* libcurl's words for the problem, or "" */
};

enum sync_fetch_flags {
    SYNC_FETCH_STREAMS = 1, /* the body is taken by pieces: beyond 64 KiB that wait to be
                               taken the peer is read no further */
    SYNC_FETCH_ONCE = 2     /* never sent a second time, not even when a connection that
                               was kept turns out to be dead */
};

/* Texts end at their NUL; all is copied. */
struct sync_fetch_options {
    const char *url;
    const char *method;
    const char *const *headers; /* "Name: value", or "Name:" to leave one out */
    uint32_t header_count;
    uint32_t flags;
    const char *body; /* NULL: none */
    size_t body_length;
    const char *user; /* for the server; NULL: what the URL says */
    const char *password;
    const char *proxy; /* NULL: what the environment says; "": none */
    const char *ca;    /* a file of authorities' certificates; NULL: the system's */
    const char *certificate;
    const char *key;
    const char *const *forbidden; /* networks that are never connected to */
    uint32_t forbidden_count;
    uint32_t most_head;     /* bytes */
    uint32_t most_body;     /* bytes, decompressed */
    uint32_t connect_limit; /* ms, looked at ten times a second */
    uint32_t idle_limit;
    uint32_t total_limit;
};

/* Opens libcurl, once. Returns 0, or -1 and what lacks. */
int32_t sync_fetch_load(char *message, size_t size);

/* Begins a transfer. Returns NULL when memory ran out, or a network isn't one. */
struct sync_fetch *sync_fetch_start(struct sync *sync,
                                    const struct sync_fetch_options *options);

/* What there was of the body was taken: more may come. */
void sync_fetch_take(struct sync_fetch *fetch);

/* Ends a transfer, whatever it is about, and frees it. Returns 1 when libcurl still looks
 * up its host's name, which can't be stopped: the struct stays until SYNC_WATCH says
 * SYNC_FETCH_LOST, when it must be ended again; else 0. */
int32_t sync_fetch_end(struct sync_fetch *fetch);

/* Writes a URL in full, as libcurl reads it: `text` seen from `base`, which is NULL for
 * one that stands by itself. Returns its length, or -1 when it is none or has no room. */
int32_t sync_fetch_url(const char *base, const char *text, char *out, size_t size);

/* Whether an address is one of these networks, also as a part of an IPv6 address that
 * stands for an IPv4 one. Returns 0, 1, or UV_EINVAL. */
int32_t sync_fetch_forbids(const char *const *networks, uint32_t count,
                           const char *address);

#pragma GCC visibility pop
