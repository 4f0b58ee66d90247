/* state.h: a Lua state of a thread: calls of its function that can be ended from outside,
 * whatever they do. Knows no loop. */
#pragma once

#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct block;
struct lua_State;

struct state {
    struct lua_State *lua; /* NULL: not made yet, or given up */
    struct block *blocks;  /* its memory */
    size_t used;
    size_t most;
    timer_t timer;                   /* of its thread: ends what takes too long */
    atomic_bool has_timer;           /* the thread makes it, and others may set it */
    volatile sig_atomic_t armed;     /* Lua runs, and may be ended */
    volatile sig_atomic_t in_memory; /* but not now: the blocks are being changed */
    volatile sig_atomic_t stopped;   /* time was over */
    volatile sig_atomic_t asked;     /* how often it was asked to end */
    volatile sig_atomic_t compiled;  /* it was left in compiled code */
    sigjmp_buf out;
};

/* A call: what it is given, and what comes of it. */
struct call {
    double name;
    const char *code;
    size_t code_length;
    const char *arguments;
    size_t length;
    size_t most;       /* bytes of the result */
    atomic_bool *stop; /* whether it is to end: set before state_stop is called */
    char *result;      /* a block of batch_block_new */
    size_t result_length;
};

struct prelude {
    const char *code;
    size_t length;
};

/* Takes the signal that ends calls. Once, on the loop's thread. Returns 0 or -1. */
int state_take_signal(void);

/* Makes the call, on this state's thread, for at most so many milliseconds. Returns enum
 * sync_work_value. */
int32_t state_call(struct state *state, struct prelude *prelude, struct call *call,
                   uint32_t limit);

/* Ends the call soon; from any thread, while state_call runs. */
void state_stop(struct state *state);

/* Frees it; no thread uses it any more. */
void state_free(struct state *state);
