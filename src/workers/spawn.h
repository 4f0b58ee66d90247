/* spawn.h: workers: processes that this one starts. */
#pragma once

#include "core/core.h"

/* See sync_spawn. */
int spawn_worker(struct core *core, const char *const *arguments, uint32_t number,
                 uint32_t count, const int32_t *fds);

/* See sync_worker_begin. */
int spawn_begin(struct core *core);

/* Forgets workers; they go on. */
void spawn_forget_all(struct core *core);
