/* spawn.h: workers: processes that this one starts, and the memory that they share. */
#pragma once

#include "core/core.h"

/* See sync_spawn. */
int spawn_worker(struct core *core, const char *const *arguments, uint32_t number,
                 uint32_t count, const int32_t *fds);

/* See sync_worker_begin. */
int spawn_begin(struct core *core);

/* Forgets workers; they go on. */
void spawn_forget_all(struct core *core);

/* See sync_shares_new and sync_shares_leave. */
int shares_new(struct core *core, uint32_t count);
void shares_leave(struct core *core, uint32_t number);
void shares_free(struct core *core);

/* Tells the others how many clients this worker has. */
void shares_tell(struct core *core);

/* The clients of the worker that has the fewest. */
uint32_t shares_least(const struct core *core);

/* Whether another worker has fewer clients, by more than an eighth of its own. */
bool shares_is_busier(const struct core *core);
