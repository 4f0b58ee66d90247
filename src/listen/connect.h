/* connect.h: connections that this side makes. */
#pragma once

#include "core/core.h"

struct listener;

/* See sync_connect. */
int connect_start(struct listener *listener, const char *address, uint32_t port);

/* See sync_adopt. */
int connect_adopt(struct listener *listener, int fd);

/* See sync_connect_cancel. */
void connect_cancel(struct core *core, uint32_t id);
void connect_cancel_all(struct core *core);
