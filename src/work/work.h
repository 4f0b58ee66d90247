/* work.h: functions of Lua on threads, each with a Lua state of its own; they end in
 * SYNC_JOB. See lua/sync/work.
 *
 * This same text is an ffi.cdef, as sync.h is, and follows it.
 */
#pragma once
#pragma GCC visibility push(default)

struct sync;
struct sync_work;

/* The value of SYNC_JOB; its data is what the state's function has returned, a string,
 * or with SYNC_WORK_FAILED an error's text. */
enum sync_work_value {
    SYNC_WORK_DONE,
    SYNC_WORK_FAILED,
    SYNC_WORK_LATE,     /* it took too long, and was ended */
    SYNC_WORK_LARGE,    /* the result has more bytes than the bound */
    SYNC_WORK_NO_MEMORY /* no state could be made, or too many were left in the middle */
};

/* Finds LuaJIT's functions in this program, once. Returns 0, or -1 and what lacks. */
int32_t sync_work_load(char *message, size_t size);

/* The threads, which give way to the loop: each starts, and makes its state, when it is
 * needed. `code` is a chunk that each state begins with: it is called with the
 * string.buffer library and with debug.traceback, and returns a function of three strings
 * that returns one. `memory` bounds a state, in bytes. NULL when memory ran out. */
struct sync_work *sync_work_open(struct sync *sync, uint32_t threads, uint32_t queue,
                                 size_t memory, const char *code, size_t length);

/* Closes them, for tests: what is under way is ended, and no event of it comes. */
void sync_work_close(struct sync_work *work);

/* Has that function called with a name (its bytes), some code and arguments; all is
 * copied. It must end within `limit` milliseconds, those in the queue included. Returns
 * the job's id or an error code (UV_EAGAIN: too many wait). */
int32_t sync_work_do(struct sync_work *work, double name, const char *code,
                     size_t code_length, const char *arguments, size_t length,
                     uint32_t limit, uint32_t most_bytes);

#pragma GCC visibility pop
