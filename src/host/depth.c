/* depth.c: keeps a recursion through C from ending the process.
 *
 * LuaJIT bounds the stack of Lua, but not what C takes of its own when it calls Lua, as
 * string.gsub and table.sort do: some thousand such calls within each other take all of
 * it. So the linker puts this in the place of the function by which C calls Lua (--wrap
 * in the Makefile). Coroutines that resume each other go another way, and have no bound.
 */
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include <lauxlib.h>
#include <lua.h>

enum {
    RESERVE = 512 * 1024, /* bytes, for what is called there and calls no Lua */
    LAST = 256 * 1024,    /* the rest of it, when an error is told of */
};

typedef void call(lua_State *L, void *base, int results);

/* The linker has chosen these names. NOLINTBEGIN(bugprone-reserved-identifier) */
call __real_lj_vm_call, __wrap_lj_vm_call;
/* NOLINTEND(bugprone-reserved-identifier) */

/* Where a thread's stack ends; it goes down. */
static uintptr_t find_end(void) {
    pthread_attr_t attributes;
    void *end = NULL;
    size_t size;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        pthread_attr_getstack(&attributes, &end, &size);
        pthread_attr_destroy(&attributes);
    }
    return (uintptr_t)end;
}

void __wrap_lj_vm_call(lua_State *L, void *base, int results) {
    static _Thread_local uintptr_t end;
    end = end ? end : find_end();
    uintptr_t left = (uintptr_t)__builtin_frame_address(0) - end;
    /* A handler of errors has what an error needs. */
    if (left < RESERVE && (left < LAST || lua_status(L) != LUA_ERRERR)) {
        luaL_error(L, "stack overflow: C and Lua call each other too deep");
    }
    __real_lj_vm_call(L, base, results);
}
