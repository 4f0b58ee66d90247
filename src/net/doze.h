/* doze.h: the ring sleeps for libuv, too: it polls libuv's own descriptor, and libuv runs
 * when that is ready or a timer is due. */
#pragma once

#ifdef SYNC_URING
#include "net/lines.h"

/* Makes what the loop is kept alive by. Returns 0 or an error code. */
int doze_open(struct uring *uring);
void doze_close(struct uring *uring);

/* Submits what was asked for, and sleeps until there is a completion, if it may. */
void doze(struct uring *uring, bool block);

/* libuv's descriptor is ready. */
void doze_ended(struct uring *uring);

/* Runs libuv's loop, if it has something to do. */
void doze_run_loop(struct uring *uring);
#endif
