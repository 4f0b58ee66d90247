/* broker.h: listening sockets that a parent binds, and that all its workers have.
 *
 * So clients that wait to be accepted don't go with a worker that dies, and workers that
 * ask for any free port get the same one.
 */
#pragma once

#include "core/core.h"
#include "net/bind.h"

/* Serves the requests that come by a socket (SOCK_SEQPACKET), which is the core's then.
 * Returns 0 or an error code; then it is closed. */
int broker_serve(struct core *core, int fd);

/* Asks the parent for the sockets of a host and port, and waits for them: `take` gets
 * each. Returns 0 or an error code. */
int broker_ask(struct core *core, const char *host, uint32_t port, uint32_t keepalive,
               bind_taker take, void *context);

/* Closes the sockets, and stops serving. */
void broker_close(struct core *core);
