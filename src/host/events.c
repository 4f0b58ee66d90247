/* events.c: see events.h.
 *
 * LuaJIT calls listeners (jit.attach: --jit-report, the panel, -jv) on the stack of who
 * runs. When a recursion has left no room there, Debian 12's raises an error in the
 * middle of compiling: it tries to tell of that, has no room again, and so on for ever;
 * or it leaves what it was compiling, and takes that up much later, when it is gone. So
 * the linker puts these in the place of two functions that LuaJIT calls (--wrap in the
 * Makefile): then nobody listens any more, and what was compiled is given up at once. */
#include "host/events.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "host/compiled.h"

typedef int protected_call(lua_State *L, void *base, int results, ptrdiff_t handler);
typedef int protected_function(lua_State *L, lua_CFunction function, void *data,
                               void *inner);

/* The linker has chosen these names. NOLINTBEGIN(bugprone-reserved-identifier) */
protected_call __real_lj_vm_pcall, __wrap_lj_vm_pcall;
protected_function __real_lj_vm_cpcall, __wrap_lj_vm_cpcall;
/* NOLINTEND(bugprone-reserved-identifier) */

enum {
    BESIDE = 1 << 16 /* bytes; the compiler's data are some 4 KiB behind the state */
};

static _Thread_local lua_State *spare; /* nobody runs on it: its stack has room */
static _Thread_local uintptr_t state;
static _Thread_local bool is_compiling, has_failed, has_ended;

void events_guard(lua_State *L) {
    state = (uintptr_t)L;
    spare = lua_newthread(L);
    lua_setfield(L, LUA_REGISTRYINDEX, "sync.events");
}

/* LuaJIT looks there before it calls one. */
static void forget_listeners(void) {
    lua_settop(spare, 0);
    lua_getfield(spare, LUA_REGISTRYINDEX, "_VMEVENTS");
    for (lua_pushnil(spare); lua_next(spare, 1);) {
        lua_pop(spare, 1);
        lua_pushvalue(spare, -1);
        lua_pushnil(spare);
        lua_rawset(spare, 1);
    }
}

/* LuaJIT calls much so: what reads code, ffi's declarations, string.dump, a trace that is
 * left. Their data are on C's stack, the compiler's are a part of the state. While it
 * compiles, it calls parts of itself so. */
static bool compiles(lua_CFunction function, const void *data) {
    return spare && !function && !is_compiling && (uintptr_t)data - state < BESIDE;
}

/* What a listener is called with says first whether compiling ends. */
static bool says(lua_State *L, int place, const char *what) {
    return lua_type(L, place) == LUA_TSTRING && strcmp(lua_tostring(L, place), what) == 0;
}

/* A listener's error ends here; and compiling is not told of it. */
int __wrap_lj_vm_pcall(lua_State *L, void *base, int results, ptrdiff_t handler) {
    has_ended |= is_compiling &&
                 (says(L, -3, "stop") || says(L, -6, "abort") || says(L, -1, "flush"));
    int error = __real_lj_vm_pcall(L, base, results, handler);
    has_failed |= is_compiling && error != 0;
    return error;
}

int __wrap_lj_vm_cpcall(lua_State *L, lua_CFunction function, void *data, void *inner) {
    if (!compiles(function, data)) {
        return __real_lj_vm_cpcall(L, function, data, inner);
    }
    is_compiling = true;
    has_failed = has_ended = false;
    int error = __real_lj_vm_cpcall(L, function, data, inner);
    /* Reasons of the compiler are numbers. */
    if (has_failed || (error != 0 && lua_type(L, -1) != LUA_TNUMBER)) {
        forget_listeners();
    }
    /* What has ended must not be given up again: a loop that is given up twice as one
     * that never compiles is another instruction then. */
    if (has_failed && error == 0 && !has_ended && !compiled_is_made()) {
        error = __real_lj_vm_cpcall(L, function, data, inner);
    }
    is_compiling = false;
    compiled_note(L);
    return error;
}
