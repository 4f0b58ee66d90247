/* ready.h: sockets that are ready. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct stream;

/* Reads and writes a connection's socket, which is the first in it, when it is ready or
 * broken. A poller_ready. */
void conn_ready(struct stream *stream, uint32_t events);

/* Goes on when the stream's gathered send is over. A poller_sent. */
void conn_sent(struct stream *stream, ssize_t sent);
