/* shares.h: how many clients each worker has, in memory that all of them share: by it
 * they take turns in accepting (listen/listener.c). */
#pragma once

#include "core/core.h"

/* The same in the parent's next program, which has the descriptor; it's the core's then.
 */
int shares_go_on(struct core *core, int fd, uint32_t count);

/* Maps the memory of `count` workers; `own` is this one's place, or `count` for the
 * parent. Returns 0 or an error code. */
int shares_map(struct core *core, int fd, uint32_t count, uint32_t own);

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
