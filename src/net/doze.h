/* doze.h: the ring sleeps for libuv, too: it polls libuv's own descriptor, and libuv runs
 * when that is ready or a timer is due.
 *
 * Open streams keep libuv's loop alive, as handles of its own do: else uv_run would look
 * at nothing, so that what came for a handle that is unref'ed, such as the signal of a
 * child, would stay in its descriptor, and the ring never sleep again. */
#pragma once

#ifdef SYNC_URING
#include "net/lines.h"

/* Makes the handle that keeps libuv's loop alive. Returns 0 or an error code. */
int doze_open(struct uring *uring);
void doze_close(struct uring *uring);

/* Submits what was asked for, and sleeps until there is a completion, if it may. */
void doze(struct uring *uring, bool block);

/* libuv's descriptor is ready. */
void doze_ended(struct uring *uring);

/* Runs libuv's loop, if it has something to do. */
void doze_run_loop(struct uring *uring);
#endif
