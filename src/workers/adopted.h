/* adopted.h: workers that the program which was this process before has started: they are
 * this process's children, but libuv knows nothing of them. */
#pragma once

#include "core/core.h"

/* See sync_adopt_worker. */
int adopted_add(struct core *core, int32_t process);

/* Forgets them; they go on. */
void adopted_forget_all(struct core *core);
