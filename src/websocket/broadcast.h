/* broadcast.h: one message to many connections, WebSockets or not: framed and compressed
 * once for each form in which it leaves. */
#pragma once

#include "core/core.h"

/* See sync_send_many. */
uint32_t broadcast(struct core *core, const uint32_t *slots, uint32_t count,
                   uint32_t except, const char *bytes, size_t length);

/* Frees what small messages are gathered in. */
void broadcast_trim(struct core *core);
