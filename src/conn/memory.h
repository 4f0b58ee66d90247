/* memory.h: a connection without a socket, for tests: the program feeds what is received,
 * and takes what is sent. */
#pragma once

#include <stdint.h>

#include "conn/transport.h"

extern const struct transport memory_transport;

/* See sync_memory_feed, sync_memory_end and sync_memory_take. */
uint32_t memory_feed(struct conn *conn, const char *bytes, uint32_t length);
void memory_end(struct conn *conn);
uint32_t memory_take(struct conn *conn, char *bytes, uint32_t size);
