/* signals.h: signals as events. */
#pragma once

#include "core/core.h"

/* See sync_signal_start. */
int signals_start(struct core *core, int number, int seconds);
void signals_stop(struct core *core, int number);
void signals_stop_all(struct core *core);

/* A tick begins, or the loop may wait from now on. */
void signals_tick(bool begins);
