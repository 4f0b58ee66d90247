/* watched.h: whose handler takes its time, for the watchdog and the panel. */
#pragma once

#include "core/watchdog.h"

/* A connection's client: a watchdog_describe. */
void watched_describe(struct core *core, uint32_t slot, struct watched_client *client);

/* The program has had this batch for so many seconds: keeps the longest, and its handler.
 * Before the batch is reset. */
void watched_tick(struct core *core, double seconds);
