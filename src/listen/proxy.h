/* proxy.h: connections of proxies: whose they are, by the PROXY protocol 1 and 2, or by
 * what the program has read in an HTTP request. */
#pragma once

#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

struct conn;

enum { PROXY_MORE = -2, PROXY_BAD = -1 };

/* Reads the header that a proxy puts before all. Returns its bytes, 0 when there's none,
 * PROXY_MORE or PROXY_BAD. The address's family is AF_UNSPEC where the header names none.
 * Pure. */
ssize_t proxy_read(const char *bytes, size_t length, struct sockaddr_storage *address);

/* The connection has this address from now on. Returns 0; UV_EMFILE when that has more
 * than max_per_address, UV_EACCES when it is shut out, UV_EAGAIN when it connects too
 * often. */
int proxy_forward(struct conn *conn, const struct sockaddr *address);
