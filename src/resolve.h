/* resolve.h: host names looked up in the background. */
#pragma once

#include "core.h"

/* See sync_resolve. */
int resolve_start(struct core *core, const char *host);
