/* timer.h: the program's timers. */
#pragma once

#include "core/core.h"

/* See sync_timer_start. */
int timer_start(struct core *core, double delay, double interval);
void timer_stop(struct core *core, uint32_t id);

/* Ends timers whose last firing was handed out. */
void timer_close_fired(struct core *core);
