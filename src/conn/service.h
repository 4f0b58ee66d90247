/* service.h: what the connections of a listener have in common. */
#pragma once

#include "core/core.h"

struct service {
    struct core *core;
    struct sync_options options;
    struct tls_store *tls;   /* its certificates, or what it trusts; or NULL */
    char *name;              /* of what it serves, or NULL: see sync_listener_name */
    char *trusted_host;      /* of whom sync_connect demands one in TLS, or NULL */
    struct shared *policy;   /* Flash's, its NUL included, or NULL */
    struct shared *ping;     /* of byte streams, in their framing, or NULL */
    struct network *proxies; /* whose word about their clients is believed */
    struct root *root;       /* the first of its web folders, the core's, or NULL */
    void (*left)(struct conn *conn); /* a connection is freed; the service may be, too */
    uint32_t id;                     /* by which the program knows it */
    uint32_t clients;
    uint32_t reserved; /* of which in the core's reserve */
};

/* Whether it may have one more connection. */
static inline bool service_has_room(const struct service *service) {
    const struct core *core = service->core;
    return !core->accept_held && !core->draining &&
           service->clients - service->reserved < service->options.max_clients &&
           core_descriptors(core) < core->public.client_limit;
}
