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

#include "host/compiled.h"

typedef int protected_call(lua_State *L, void *base, int results, ptrdiff_t handler);
typedef int protected_function(lua_State *L, lua_CFunction function, void *data,
                               void *inner);

/* The linker has chosen these names. NOLINTBEGIN(bugprone-reserved-identifier) */
protected_call __real_lj_vm_pcall, __wrap_lj_vm_pcall;
protected_function __real_lj_vm_cpcall, __wrap_lj_vm_cpcall;
/* NOLINTEND(bugprone-reserved-identifier) */

static _Thread_local lua_State *spare; /* nobody runs on it: its stack has room */
static _Thread_local bool is_compiling, has_failed;

void events_guard(lua_State *L) {
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

/* Of the functions that LuaJIT calls so with data of its own, one reads code and one
 * compiles. The first time nothing is there to be compiled. */
static bool compiles(lua_CFunction function, const void *data, void *inner) {
    static void *reads;
    if (function || !data) {
        return false;
    }
    reads = reads ? reads : inner;
    return inner != reads;
}

/* A listener's error ends here; and compiling is not told of it. */
int __wrap_lj_vm_pcall(lua_State *L, void *base, int results, ptrdiff_t handler) {
    int error = __real_lj_vm_pcall(L, base, results, handler);
    has_failed |= is_compiling && error != 0;
    return error;
}

int __wrap_lj_vm_cpcall(lua_State *L, lua_CFunction function, void *data, void *inner) {
    if (!spare || !compiles(function, data, inner)) {
        return __real_lj_vm_cpcall(L, function, data, inner);
    }
    is_compiling = true;
    has_failed = false;
    int error = __real_lj_vm_cpcall(L, function, data, inner);
    /* Reasons of the compiler are numbers. */
    if (has_failed || (error != 0 && lua_type(L, -1) != LUA_TNUMBER)) {
        forget_listeners();
    }
    if (has_failed && error == 0) {
        error = __real_lj_vm_cpcall(L, function, data, inner);
    }
    is_compiling = false;
    compiled_note(L);
    return error;
}
