/* inherit.h: listening sockets that this process has from the one before, until a
 * listener gets them. */
#pragma once

#include "core/core.h"
#include "net/bind.h"

/* The host of those that are for whatever host has their port. */
#define INHERITED_ANY_HOST ""

/* Those of one listener, under the host and port that enabled it. */
struct inherited {
    struct inherited *next;
    uint32_t port;
    uint32_t count;
    int fds[BIND_MOST];
    uint8_t transports[BIND_MOST];
    char host[];
};

/* Adds some, at most BIND_MOST. Returns 0, or UV_ENOMEM; then they're the caller's. */
int inherit_add(struct core *core, const char *host, uint32_t port, const int *fds,
                uint32_t count);

/* Takes the first of this name out, or NULL. Free it. */
struct inherited *inherit_take(struct core *core, const char *host, uint32_t port);

/* Closes those that no listener has got; returns of how many. */
uint32_t inherit_close(struct core *core);
