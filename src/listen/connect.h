/* connect.h: connections that this side makes. */
#pragma once

#include "core/core.h"

/* See sync_connect. */
int connect_start(struct listener *listener, const char *address, uint32_t port);

/* See sync_adopt. */
int connect_adopt(struct listener *listener, int fd);

/* The TLS handshake of a connection that an attempt has made is done; or never will be,
 * as the connection is closed. */
void connect_secured(struct conn *conn);
void connect_broke(struct conn *conn);

/* See sync_connect_cancel. */
void connect_cancel(struct core *core, uint32_t id);
void connect_cancel_all(struct core *core);
