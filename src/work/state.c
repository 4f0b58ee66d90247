/* state.c: a Lua state of a thread, whose calls can be ended.
 *
 * Nothing in Lua ends a loop that is compiled, or a pattern that takes years. So the
 * thread gets a signal, and again every 10 ms until the call has ended:
 *
 * - In compiled code the handler jumps out of it. Compiled code holds no lock, and leaves
 *   no object half made; the state is closed, and another is made for the next call.
 * - In LuaJIT's own code it sets a hook, which raises an error at the next instruction.
 *   If there is none within half a second (a pattern), it jumps as well. What the
 *   state has may be half made then, so its memory is freed without asking it.
 * - In another library, which may hold a lock, it waits for the next signal.
 */
#include "work/state.h"

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "core/batch.h"
#include "core/luajit.h"
#include "sync.h"
/* It follows sync.h, as the text of the FFI does. */
#include "work/work.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum {
    AGAIN = 10 * 1000 * 1000, /* ns between signals */
    MOST_LOST = 256,
    PATIENCE = 50 /* signals, until it's ended whatever it does */
};

#define SIGNAL (SIGRTMIN + 7)
static const char RUN[] = "sync.work";

/* Memory: blocks in a list, so that all of it can be freed without the state. */

struct block {
    struct block *next;
    struct block *previous;
    size_t size;
    size_t unused; /* what follows is aligned to 16 */
};

static void unlink_block(struct state *state, struct block *block) {
    if (block->previous) {
        block->previous->next = block->next;
    } else {
        state->blocks = block->next;
    }
    if (block->next) {
        block->next->previous = block->previous;
    }
    state->used -= block->size;
}

static void link_block(struct state *state, struct block *block, size_t size) {
    block->size = size;
    block->previous = NULL;
    block->next = state->blocks;
    if (block->next) {
        block->next->previous = block;
    }
    state->blocks = block;
    state->used += size;
}

static void *make_block(struct state *state, size_t size) {
    struct block *block = malloc(sizeof(*block) + size);
    if (!block) {
        return NULL;
    }
    link_block(state, block, size);
    return block + 1;
}

static void *resize_block(struct state *state, struct block *block, size_t size) {
    size_t old = block->size;
    unlink_block(state, block);
    struct block *made = realloc(block, sizeof(*block) + size);
    link_block(state, made ? made : block, made ? size : old);
    return made ? made + 1 : NULL;
}

static void *change(struct state *state, struct block *block, size_t size) {
    size_t old = block ? block->size : 0;
    if (size > old && state->used + size - old > state->most) {
        return NULL;
    }
    if (!block) {
        return make_block(state, size);
    }
    if (size > 0) {
        return resize_block(state, block, size);
    }
    unlink_block(state, block);
    free(block);
    return NULL;
}

static void *allocate(void *context, void *bytes, size_t old_size, size_t size) {
    struct state *state = context;
    (void)old_size;
    if (!bytes && size == 0) {
        return NULL;
    }
    state->in_memory = 1;
    void *made = change(state, bytes ? (struct block *)bytes - 1 : NULL, size);
    state->in_memory = 0;
    return made;
}

static void free_blocks(struct state *state) {
    while (state->blocks) {
        struct block *block = state->blocks;
        state->blocks = block->next;
        free(block);
    }
    state->used = 0;
}

/* The signal. */

static _Thread_local struct state *current;

static void raise_late(struct lua_State *L, struct luajit_debug *place) {
    (void)place;
    luajit.lua_pushlstring(L, "late", 4);
    luajit.lua_error(L);
}

static uintptr_t place_in(const void *context) {
#if defined(__x86_64__)
    return (uintptr_t)((const ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (uintptr_t)((const ucontext_t *)context)->uc_mcontext.pc;
#else
    (void)context;
    return (uintptr_t)realloc; /* elsewhere: it is never left by a jump */
#endif
}

static void on_signal(int number, siginfo_t *info, void *context) {
    struct state *state = current;
    (void)number;
    (void)info;
    if (!state || !state->armed || state->in_memory) {
        return;
    }
    state->stopped = 1;
    enum luajit_place place = luajit_place_of(place_in(context));
    if (place == LUAJIT_COMPILED ||
        (place == LUAJIT_ITSELF && state->asked >= PATIENCE)) {
        state->armed = 0;
        state->compiled = place == LUAJIT_COMPILED;
        siglongjmp(state->out, 1);
    }
    if (place == LUAJIT_ITSELF && state->asked == 0) {
        luajit.lua_sethook(state->lua, raise_late, LUAJIT_COUNTS, 1);
    }
    state->asked++;
}

int state_take_signal(void) {
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigaction before;
    sigaction(SIGNAL, NULL, &before);
    if (!(before.sa_flags & SA_SIGINFO) && before.sa_handler != SIG_DFL &&
        before.sa_handler != SIG_IGN) {
        return -1; /* it is somebody else's */
    }
    action.sa_sigaction = on_signal;
    sigemptyset(&action.sa_mask);
    return sigaction(SIGNAL, &action, NULL);
}

static void set_timer(struct state *state, uint32_t milliseconds, long nanoseconds) {
    struct itimerspec times = {
        .it_value = {milliseconds / 1000, milliseconds % 1000 * 1000000L + nanoseconds},
        .it_interval = {0, milliseconds || nanoseconds ? AGAIN : 0}};
    timer_settime(state->timer, 0, &times, NULL);
}

/* The thread's own; threads of a crew have all signals blocked. */
static bool make_timer(struct state *state) {
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGNAL};
    event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    current = state;
    bool made = timer_create(CLOCK_MONOTONIC, &event, &state->timer) == 0;
    state->has_timer = made;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return made;
}

/* Calls. */

static void open_library(struct lua_State *L, luajit_function *open, const char *name) {
    luajit.lua_pushcclosure(L, open, 0);
    luajit.lua_pushlstring(L, name, strlen(name));
    luajit.lua_call(L, 1, 1);
}

static void set_library(struct lua_State *L, luajit_function *open, const char *name) {
    open_library(L, open, name);
    luajit.lua_settop(L, 1); /* they have set their globals themselves */
}

enum { REGISTRY = -10000 };

static int begin(struct lua_State *L) {
    const struct prelude *prelude = luajit.lua_touserdata(L, 1);
    set_library(L, luajit.luaopen_base, "");
    set_library(L, luajit.luaopen_table, "table");
    set_library(L, luajit.luaopen_string, "string");
    set_library(L, luajit.luaopen_math, "math");
    set_library(L, luajit.luaopen_bit, "bit");
    set_library(L, luajit.luaopen_jit, "jit"); /* the compiler */
    set_library(L, luajit.luaopen_ffi, "ffi"); /* 64-bit integers; it has no global */
    if (luajit.luaL_loadbuffer(L, prelude->code, prelude->length, "=sync.work") !=
        LUAJIT_OK) {
        return luajit.lua_error(L);
    }
    open_library(L, luajit.luaopen_string_buffer, "string.buffer");
    open_library(L, luajit.luaopen_debug, "debug");
    luajit.lua_getfield(L, 4, "traceback");
    /* 2 to 5: the chunk, string.buffer, debug, debug.traceback */
    luajit.lua_pushvalue(L, 2);
    luajit.lua_pushvalue(L, 3);
    luajit.lua_pushvalue(L, 5);
    luajit.lua_call(L, 2, 1);
    luajit.lua_setfield(L, REGISTRY, RUN);
    return 0;
}

static int32_t keep(struct call *call, const char *bytes, size_t length) {
    if (length > call->most) {
        return SYNC_WORK_LARGE;
    }
    call->result = batch_block_new(length);
    if (!call->result) {
        return SYNC_WORK_NO_MEMORY;
    }
    memcpy(call->result, bytes, length);
    call->result_length = length;
    return SYNC_WORK_DONE;
}

struct running {
    struct state *state;
    struct call *call;
    int32_t value;
};

static int call_protected(struct lua_State *L) {
    struct running *running = luajit.lua_touserdata(L, 1);
    struct call *call = running->call;
    size_t length = 0;
    running->state->armed = 1;
    luajit.lua_getfield(L, REGISTRY, RUN);
    luajit.lua_pushnumber(L, call->name);
    luajit.lua_pushlstring(L, call->code, call->code_length);
    luajit.lua_pushlstring(L, call->arguments, call->length);
    luajit.lua_call(L, 3, 1);
    running->state->armed = 0;
    const char *bytes = luajit.lua_tolstring(L, -1, &length);
    running->value = bytes ? keep(call, bytes, length) : SYNC_WORK_FAILED;
    return 0;
}

/* States whose machine code is lost: nobody but they knows where it is. */
static atomic_uint lost;

static bool make(struct state *state, struct prelude *prelude) {
    if (atomic_load(&lost) >= MOST_LOST) {
        return false;
    }
    state->lua = luajit.lua_newstate(allocate, state);
    if (state->lua && luajit.lua_cpcall(state->lua, begin, prelude) != LUAJIT_OK) {
        luajit.lua_close(state->lua);
        state->lua = NULL;
    }
    return state->lua;
}

/* An error outside of what the state's function catches: of memory, or of time. */
static int32_t failed(struct state *state, struct call *call) {
    size_t length = 0;
    const char *text = luajit.lua_tolstring(state->lua, -1, &length);
    keep(call, text ? text : "", text ? length : 0);
    luajit.lua_settop(state->lua, 0);
    return SYNC_WORK_FAILED;
}

/* The call was left in the middle. */
static void give_up(struct state *state) {
    if (state->compiled) {
        luajit.lua_close(state->lua);
    } else {
        atomic_fetch_add(&lost, 1);
    }
    free_blocks(state);
    state->lua = NULL;
}

static int32_t call_stoppable(struct state *state, struct call *call) {
    struct running running = {state, call, SYNC_WORK_FAILED};
    if (sigsetjmp(state->out, 1)) {
        give_up(state);
        return SYNC_WORK_LATE;
    }
    int error = luajit.lua_cpcall(state->lua, call_protected, &running);
    state->armed = 0;
    if (state->stopped) {
        luajit.lua_sethook(state->lua, NULL, 0, 0);
        luajit.lua_settop(state->lua, 0);
        batch_block_free(call->result);
        call->result = NULL;
        call->result_length = 0;
        return SYNC_WORK_LATE;
    }
    return error == LUAJIT_OK ? running.value : failed(state, call);
}

/* What one call has left is not to be in the way of the next. */
static void tidy(struct state *state) {
    if (state->lua && state->used > state->most / 2) {
        luajit.lua_gc(state->lua, LUAJIT_COLLECT, 0);
        if (state->used > state->most / 2) {
            luajit.lua_close(state->lua);
            state->lua = NULL;
        }
    }
}

int32_t state_call(struct state *state, struct prelude *prelude, struct call *call,
                   uint32_t limit) {
    if ((!state->has_timer && !make_timer(state)) ||
        (!state->lua && !make(state, prelude))) {
        return SYNC_WORK_NO_MEMORY;
    }
    state->stopped = state->asked = state->compiled = 0;
    set_timer(state, limit, 0);
    if (atomic_load(call->stop)) { /* it came before the timer was there to be set */
        state_stop(state);
    }
    int32_t value = call_stoppable(state, call);
    set_timer(state, 0, 0);
    tidy(state);
    return value;
}

void state_stop(struct state *state) {
    if (state->has_timer) {
        set_timer(state, 0, 1);
    }
}

void state_free(struct state *state) {
    if (state->has_timer) {
        timer_delete(state->timer);
    }
    if (state->lua) {
        luajit.lua_close(state->lua);
    }
    free_blocks(state);
    *state = (struct state){0};
}
