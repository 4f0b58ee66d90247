/* deadline.h: what happens to connections whose clock has run out. */
#pragma once

#include <uv.h>

/* A uv_timer_cb, of the core's wheel. */
void deadline_run(uv_timer_t *timer);
