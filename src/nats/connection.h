/* connection.h: a link's connection to a server, of which libnats does the talking. */
#pragma once

#include <poll.h>

#include "link.h"

/* Connects, and tells. A failure is told as the end of a connection is. */
void connection_start(struct link *link);

/* What to poll NATS' socket for; its descriptor is -1 when there is none. */
struct pollfd connection_watch(struct link *link);

/* Reads and writes, as the socket is ready to. */
void connection_ready(struct link *link, short events);

/* Bytes that are published and have not left. */
int connection_unsent(struct link *link);
