/* luajit.h: the functions of LuaJIT that C needs to end what Lua runs, and to tell where
 * a thread is. They are found in this program, whichever it is: sync-lua has LuaJIT in
 * it, another has its library loaded. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lua_State;

enum {
    LUAJIT_OK = 0,
    LUAJIT_COLLECT = 2,
    LUAJIT_COUNTS = 8, /* a hook that is called after a number of instructions */
};

typedef void *luajit_alloc(void *context, void *block, size_t old_size, size_t size);
typedef int luajit_function(struct lua_State *L);

/* lua_Debug of Lua 5.1. */
struct luajit_debug {
    int event;
    const char *name, *namewhat, *what, *source;
    int currentline, nups, linedefined, lastlinedefined;
    char short_src[60];
    int private;
};

typedef void luajit_hook(struct lua_State *L, struct luajit_debug *place);

/* name, result, arguments */
#define LUAJIT_FUNCTIONS(F)                                                              \
    F(lua_newstate, struct lua_State *, (luajit_alloc *, void *))                        \
    F(lua_close, void, (struct lua_State *))                                             \
    F(lua_cpcall, int, (struct lua_State *, luajit_function *, void *))                  \
    F(lua_call, void, (struct lua_State *, int, int))                                    \
    F(lua_error, int, (struct lua_State *))                                              \
    F(lua_getinfo, int, (struct lua_State *, const char *, struct luajit_debug *))       \
    F(lua_gc, int, (struct lua_State *, int, int))                                       \
    F(lua_sethook, int, (struct lua_State *, luajit_hook *, int, int))                   \
    F(lua_pushcclosure, void, (struct lua_State *, luajit_function *, int))              \
    F(lua_pushlstring, void, (struct lua_State *, const char *, size_t))                 \
    F(lua_pushnumber, void, (struct lua_State *, double))                                \
    F(lua_pushvalue, void, (struct lua_State *, int))                                    \
    F(lua_getfield, void, (struct lua_State *, int, const char *))                       \
    F(lua_setfield, void, (struct lua_State *, int, const char *))                       \
    F(lua_settop, void, (struct lua_State *, int))                                       \
    F(lua_tolstring, const char *, (struct lua_State *, int, size_t *))                  \
    F(lua_touserdata, void *, (struct lua_State *, int))                                 \
    F(luaL_loadbuffer, int, (struct lua_State *, const char *, size_t, const char *))    \
    F(luaopen_base, int, (struct lua_State *))                                           \
    F(luaopen_table, int, (struct lua_State *))                                          \
    F(luaopen_string, int, (struct lua_State *))                                         \
    F(luaopen_math, int, (struct lua_State *))                                           \
    F(luaopen_bit, int, (struct lua_State *))                                            \
    F(luaopen_debug, int, (struct lua_State *))                                          \
    F(luaopen_jit, int, (struct lua_State *))                                            \
    F(luaopen_ffi, int, (struct lua_State *))                                            \
    F(luaopen_string_buffer, int, (struct lua_State *))

/* NOLINTNEXTLINE(bugprone-macro-parentheses): they are parts of a declaration */
#define LUAJIT_MEMBER(name, result, arguments) result(*name) arguments;
extern struct luajit_functions { LUAJIT_FUNCTIONS(LUAJIT_MEMBER) } luajit;
#undef LUAJIT_MEMBER

/* Finds them, once, on the loop's thread. Returns 0, or -1 and what lacks. */
int luajit_load(char *message, size_t size);

/* Notes where the code of the program and of its libraries lies. */
void luajit_note_code(void);

/* Whether an address is in that; what isn't was made by LuaJIT. */
bool luajit_is_native(uintptr_t address);

/* Where a thread is: for who wants to end what it runs. */
enum luajit_place {
    LUAJIT_COMPILED, /* in machine code that LuaJIT has made */
    LUAJIT_ITSELF,   /* in LuaJIT's own code */
    LUAJIT_ELSEWHERE /* in a library, which may hold a lock */
};
enum luajit_place luajit_place_of(uintptr_t address);
