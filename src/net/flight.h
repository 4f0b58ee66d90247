/* flight.h: sends that are gathered in a tick, and submitted with the next sleep.
 *
 * A submitted one is over: what a socket doesn't take is left, and waited for as in
 * epoll.
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

/* What was submitted is sent, or has said why not: tells of it. */
void flight_land(struct uring *uring);
#endif
