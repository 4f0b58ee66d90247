/* clock.h: how long a connection may go on as it does. */
#pragma once

#include "conn/conn.h"

/* What a clock that ran out asks for, apart from closing for an enum sync_reason. */
enum clock_wish {
    CLOCK_RELEASE = 1000, /* to be read again */
    CLOCK_SETTLE,         /* the protocol's: see protocol.h */
    CLOCK_PING
};

/* Of several clocks the one that runs out first. */
struct clock {
    uint32_t now;  /* ms, wrapping */
    uint32_t left; /* ms until it runs out; UINT32_MAX: none runs */
    int reason;    /* enum sync_reason or clock_wish */
};

/* Considers one that runs out `timeout` ms after `since`; never with 0. */
void clock_consider(struct clock *clock, uint32_t since, uint32_t timeout, int reason);

/* Which of a connection's runs out first. */
struct clock clock_next(const struct conn *conn);

/* Sets a connection's deadline anew, when its state has changed or what its protocol
 * considers. */
void clock_arm(struct conn *conn);

/* It has none any more. */
void clock_disarm(struct conn *conn);
