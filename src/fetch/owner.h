/* owner.h: what the core's end does with the requests to others; the rest of the door is
 * in fetch.h. */
#pragma once

#include "core/core.h"

/* Ends all of them; for sync_close. */
void fetch_close(struct core *core);
