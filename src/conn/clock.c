/* clock.c: how long a connection may go on as it does. What happens then is
 * deadline.c's. */
#include "conn/clock.h"

#include "conn/rate.h"
#include "conn/reserve.h"

void clock_consider(struct clock *clock, uint32_t since, uint32_t timeout, int reason) {
    if (timeout > 0) {
        uint32_t passed = clock->now - since;
        uint32_t left = passed < timeout ? timeout - passed : 0;
        if (left < clock->left) {
            clock->left = left;
            clock->reason = reason;
        }
    }
}

struct clock clock_next(const struct conn *conn) {
    const struct sync_options *options = conn_options(conn);
    struct clock clock = {core_now(conn->core), UINT32_MAX, SYNC_RESET};
    if (!conn_is_open(conn) || conn->write_broken) {
        clock_consider(&clock, conn->since, options->close_timeout, SYNC_RESET);
        return clock;
    }
    if (conn->waits) {
        return clock; /* hold_pause comes back here */
    }
    if (conn_is_paused(conn)) {
        clock.left = rate_due(conn);
        clock.reason = CLOCK_RELEASE;
        return clock;
    }
    if (conn->reserved && !conn->held && conn->out.bytes == 0) {
        clock_consider(&clock, reserve_since(conn), RESERVE_STAY, SYNC_REFUSED);
    }
    if (conn->protocol->clock) {
        conn->protocol->clock(conn, &clock);
    }
    if (conn->unfinished) {
        uint32_t timeout =
            conn->had_message ? options->message_timeout : options->first_timeout;
        clock_consider(&clock, conn->since, timeout, SYNC_UNFINISHED);
    }
    return clock;
}

void clock_arm(struct conn *conn) {
    struct core *core = conn->core;
    struct clock clock = clock_next(conn);
    if (clock.left == UINT32_MAX || conn->state == CONN_CLOSING) {
        return;
    }
    uint64_t due = uv_now(&core->loop) + clock.left;
    if (conn->deadline.link && conn->deadline.due <= due) {
        return; /* it's looked at early enough, and then set anew */
    }
    wheel_set(&core->wheel, &conn->deadline, due);
    uint64_t wait = clock.left + WHEEL_STEP;
    if (!uv_is_active((uv_handle_t *)&core->wheel_timer) ||
        uv_timer_get_due_in(&core->wheel_timer) > wait) {
        uv_timer_start(&core->wheel_timer, core->on_deadline, wait, 0);
    }
}

void clock_disarm(struct conn *conn) {
    struct core *core = conn->core;
    wheel_remove(&core->wheel, &conn->deadline);
    if (core->wheel.count == 0) {
        uv_timer_stop(&core->wheel_timer); /* else sync_poll would wait for it */
    }
}
