/* guard.h: networks that are never connected to: against requests whose URL a stranger
 * gives, and which would reach what only this machine may. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "net/network.h"

struct guard {
    struct network *networks; /* NULL: nothing is forbidden */
};

/* Returns 0, or UV_EINVAL for a text that is no network, or UV_ENOMEM. */
int guard_read(struct guard *guard, const char *const *networks, uint32_t count);
void guard_free(struct guard *guard);

/* Whether an address is forbidden: an IPv6 address that stands for an IPv4 one (mapped,
 * compatible, NAT64, 6to4) also when that one is. */
bool guard_forbids(const struct guard *guard, const struct sockaddr *address);

/* The same of an address as text; one that can't be read is forbidden. */
bool guard_forbids_text(const struct guard *guard, const char *text);
