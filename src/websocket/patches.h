/* patches.h: what has changed in a room's state, to its members' connections. */
#pragma once

#include "core/core.h"

/* See sync_state_patch. */
int32_t patches_send(struct core *core, struct sync_state *state, double tick);
