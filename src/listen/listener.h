/* listener.h: sockets that listen, and when they stop accepting for a while. */
#pragma once

#include "conn/service.h"
#include "net/bind.h"

struct listener {
    struct service service; /* first, so that the two pointers are one */
    struct listener *next;
    struct listening *sockets[BIND_MOST];
    struct port_request
        *request;      /* to the worker's parent, who has the sockets, too; or NULL */
    char *unlink_path; /* the file of a Unix socket, or NULL */
    uint32_t socket_count;
    struct root *spare_roots; /* folders that it had before it was renewed */
    struct peer *full;        /* to be told of when the poll ends, or NULL */
    uint8_t notice;           /* enum sync_notice to be pushed when the poll ends, or 0 */
    bool closed;
    bool paused;
    bool told_paused; /* the last notice said so */
    bool failing;     /* accept failed, and hasn't succeeded since */
    uint64_t yielded; /* ms: when clients were left to workers that have fewer */
    uint32_t spare;   /* how many it may accept nevertheless, just after that */
};

/* See sync_listen. */
int listener_open(struct core *core, const char *host, uint32_t port,
                  const struct sync_options *options);
/* See sync_listener_renew. */
void listener_renew(struct listener *listener, const struct sync_options *options);
/* Writes its sockets, at most BIND_MOST; returns how many. */
int listener_fds(const struct listener *listener, int *fds);
/* The file of a Unix socket is this process's from now on; or another's, and stays when
 * the listener closes. */
void listener_own(struct listener *listener, const char *path);
void listener_keep_file(struct listener *listener);
struct listener *listener_find(struct core *core, uint32_t id);
void listener_close(struct listener *listener);
/* The same for good: a worker's parent needn't keep its sockets for it. */
void listener_end(struct listener *listener);
int listener_set_tls(struct listener *listener, const char *const *files, uint32_t count,
                     int minimum, char *message, size_t size);
int listener_trust(struct listener *listener, const char *host, const char *const *files,
                   char *message, size_t size);
int listener_add_root(struct listener *listener, const char *path);
int listener_set_ping(struct listener *listener, const char *bytes, size_t length);
/* Believes what comes from a network: see sync_listener_proxy. */
int listener_add_proxy(struct listener *listener, const char *text);

/* See sync_forwarded. */
int listener_forwarded(struct conn *conn, const char *address);
int listener_set_policy(struct listener *listener, const char *text, size_t length);
uint32_t listener_port(const struct listener *listener);
uint32_t listener_addresses(const struct listener *listener, char *text, size_t size);

/* One of its clients has gone that was no connection yet; the listener may be freed. */
void listener_client_left(struct listener *listener);

/* Lets listeners that paused accept again where there's room. */
void listener_resume_all(struct core *core);
void listener_on_retry(uv_timer_t *timer);

/* Pushes the notices that listeners owe. */
void listener_push_notices(struct core *core);
