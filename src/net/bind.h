/* bind.h: sockets bound to a name, an address or a file. Knows no listener. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

enum { BIND_MOST = 8 /* addresses that one host name may have: others are left out */ };

/* Takes a bound socket over, closing it if it returns an error code. */
typedef int (*bind_taker)(void *context, int fd, int transport);

/* Binds each address of a host ("*": every address) to the same port. An address the
 * machine lacks is left out while there is another. Returns 0 or an error code. */
int bind_host(uv_loop_t *loop, const char *host, uint32_t port, uint32_t keepalive,
              bind_taker take, void *context);

/* Binds a Unix socket; a file that a dead server left behind is replaced. */
int bind_unix(const char *path, bind_taker take, void *context);

/* The port a socket is bound to, or 0. */
uint32_t bind_port(int fd);

/* Writes the IP address a socket is bound to; returns the text's length. */
size_t bind_address(int fd, char *text, size_t size);
