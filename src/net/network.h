/* network.h: blocks of addresses, such as those of proxies. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct network {
    struct network *next;
    uint8_t bytes[16]; /* an IPv4 block as IPv6 has it mapped */
    uint8_t bits;
    bool is_unix; /* Unix sockets, which have no address */
};

/* Reads "10.0.0.0/8", "2001:db8::/32", an address, or "unix". Returns 0 or UV_EINVAL. */
int network_read(struct network *network, const char *text);

/* Whether an address is of one of these blocks. */
bool network_has(const struct network *list, const struct sockaddr *address);

/* Reads an address without a port. Returns 0 or UV_EINVAL. */
int network_address(const char *text, struct sockaddr_storage *address);
