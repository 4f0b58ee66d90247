/* flight.h: sends that are gathered in a tick, and submitted with the next sleep.
 *
 * A submitted one is over: what a socket doesn't take is left, and waited for as in
 * epoll. With a thread that is so when a mark behind it has been passed; at most one is
 * on its way in a lane.
 */
#pragma once

#ifdef SYNC_URING
#include "net/lines.h"

/* As stream_send. */
bool flight_send(struct uring *uring, struct line *line, const struct iovec *pieces,
                 int count);

/* A send wasn't done whole: so many bytes were, or an error code. */
static inline void flight_failed(struct line *line, int32_t result) {
    line->landed = result;
}

/* Hands all entries to the lanes' threads, sends with a mark behind them. */
void flight_start(struct uring *uring);

/* A lane's thread has passed the mark. */
static inline void flight_passed(struct lane *lane) {
    lane->passed = true;
}

/* What is over is sent, or has said why not: tells of it. */
void flight_land(struct uring *uring);
#endif
