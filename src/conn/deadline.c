/* deadline.c: what happens to connections whose clock has run out. */
#include "conn/deadline.h"

#include "conn/clock.h"
#include "conn/conn.h"
#include "conn/hold.h"
#include "conn/reserve.h"

static void ran_out(struct conn *conn, int reason) {
    const struct protocol *protocol = conn->protocol;
    if (reason == CLOCK_RELEASE) {
        hold_release(conn);
    } else if (reason == SYNC_REFUSED && reserve_admits(conn)) {
        return; /* there is room for it now */
    } else if (!protocol->ran_out || !protocol->ran_out(conn, reason)) {
        /* A client that is slow to go gets a reset, so that nothing of it stays. */
        bool reset = conn->state != CONN_LINGERING;
        conn_abort(conn, (enum sync_reason)reason, reset);
    }
}

void deadline_run(uv_timer_t *timer) {
    struct core *core = timer->data;
    struct deadline *deadline;
    uint64_t now = uv_now(&core->loop);
    while ((deadline = wheel_next_due(&core->wheel, now))) {
        struct conn *conn =
            (struct conn *)(void *)((char *)deadline - offsetof(struct conn, deadline));
        struct clock clock = clock_next(conn);
        if (clock.left == 0) {
            ran_out(conn, clock.reason);
            core_wake(core); /* libuv runs timers before it sleeps, too */
        }
        clock_arm(conn);
    }
    int64_t wait = wheel_wait(&core->wheel, now);
    if (wait >= 0) {
        uv_timer_start(timer, deadline_run, (uint64_t)wait, 0);
    }
}
