/* network.h: blocks of addresses, such as those of proxies. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { NETWORK_BYTES = 16 };

struct network {
    struct network *next;
    uint8_t bytes[NETWORK_BYTES]; /* an IPv4 block as IPv6 has it mapped */
    uint8_t bits;
    bool is_unix; /* Unix sockets, which have no address */
};

/* Reads "10.0.0.0/8", "2001:db8::/32", an address, or "unix". Returns 0 or UV_EINVAL. */
int network_read(struct network *network, const char *text);

/* Clears what is behind the first bits. */
void network_mask(uint8_t *bytes, uint32_t bits);

/* Writes a network as it is read, in one form whatever it was written as; size is at
 * least 64. */
void network_name(const struct network *network, char *text, size_t size);

/* Whether an address is of one of these blocks. */
bool network_has(const struct network *list, const struct sockaddr *address);

/* The 16 bytes of an address, an IPv4 one as IPv6 has it mapped. Returns false of one
 * that is none of IP. */
bool network_bytes(const struct sockaddr *address, uint8_t *bytes);

/* Reads an address without a port. Returns 0 or UV_EINVAL. */
int network_address(const char *text, struct sockaddr_storage *address);
