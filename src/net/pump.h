/* pump.h: a thread that enters an io_uring for its owner, so that sending and receiving
 * cost another core.
 *
 * The owner publishes entries and takes completions, both in memory that is shared with
 * the kernel; only the pump makes the calls that hand entries over. What the kernel does
 * for them, then or later, is done on its thread. It sleeps when there are none.
 */
#pragma once

#ifdef SYNC_URING
#include <liburing.h>
#include <stdbool.h>
#include <uv.h>

struct pump {
    struct io_uring *uring;
    uv_thread_t thread;
    int bell; /* an eventfd that it sleeps at */
    bool asleep;
    bool stops;
};

/* Starts the thread. Returns 0 or an error code. */
int pump_open(struct pump *pump, struct io_uring *uring);

/* Ends the thread, and with it all that was asked for by it. */
void pump_close(struct pump *pump);

/* Hands all entries that the owner has filled to the pump. */
void pump_submit(struct pump *pump);
#endif
