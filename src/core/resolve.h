/* resolve.h: host names looked up in the background. */
#pragma once

#include "core/core.h"

/* See sync_resolve. */
int resolve_start(struct core *core, const char *host);

/* Gives up look-ups that have not begun; they are told as failed. */
void resolve_cancel_all(struct core *core);
