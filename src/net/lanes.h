/* lanes.h: the rings that lines are shared out over. */
#pragma once

#ifdef SYNC_URING
#include "net/lines.h"

/* Makes so many lanes with threads, or with 0 one without. Returns 0 or an error code. */
int lanes_open(struct uring *uring, uint32_t threads);

/* No line may be in use. */
void lanes_close(struct uring *uring);

/* The number of the lane with the fewest lines. */
uint32_t lanes_least(const struct uring *uring);
#endif
