/* spawn.h: workers: processes that this one starts. */
#pragma once

#include "core/core.h"

/* See sync_spawn. With `takes` it's a process that takes over, or tries (see
 * sync_spawn_next), by this one's name: the program is found anew, as a shell would. */
int spawn_worker(struct core *core, const char *const *arguments, uint32_t number,
                 uint32_t count, const char *takes, const int32_t *fds);

/* Pushes the event of a child that has ended, for which a place was reserved: with an
 * exit status, or by a signal, 0 for none. */
void spawn_ended(struct core *core, int32_t process, int status, int signal);

/* See sync_worker_begin. */
int spawn_begin(struct core *core);

/* Starts the process that takes over, by this one's name: the program is found anew, as a
 * shell would. The socket is its descriptor SPAWN_SOCKET. Returns its id, or an error
 * code; SYNC_EXITED tells when it has ended. */
#define SPAWN_NEXT "SYNC_TAKES_OVER"
enum { SPAWN_SOCKET = 3 };
int spawn_next(struct core *core, const char *const *arguments, int32_t fd);

/* Whether this process is one; once. */
bool spawn_is_next(void);

/* Forgets workers; they go on. */
void spawn_forget_all(struct core *core);
