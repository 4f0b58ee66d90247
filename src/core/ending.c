/* ending.c: see ending.h.
 *
 * A hook is called at each instruction that LuaJIT interprets. LuaJIT's own program sets
 * one within a signal's handler, too, when it is interrupted. Compiled code calls no
 * hook, so something else must have it left; see watchdog.c.
 */
#include "core/ending.h"

#include <stdatomic.h>
#include <stdio.h>

#include "core/luajit.h"
#include "core/own.h"

enum { TEXT = 128 };

static struct ending {
    struct lua_State *lua;
    bool (*stands)(void);
    char text[TEXT];
    atomic_bool lasts;
    atomic_uint caught;
} ending;

static void on_instruction(struct lua_State *L, struct luajit_debug *place) {
    char message[TEXT + sizeof(place->short_src) + 16];
    if (!atomic_load(&ending.lasts) || !ending.stands()) {
        luajit.lua_sethook(L, NULL, 0, 0);
        return;
    }
    if (!luajit.lua_getinfo(L, "Sl", place) || own_has(place->source)) {
        return;
    }
    int length = snprintf(message, sizeof(message), "%s:%d: %s", place->short_src,
                          place->currentline, ending.text);
    luajit.lua_pushlstring(L, message, (size_t)length);
    luajit.lua_error(L);
}

int ending_use(struct lua_State *lua, bool (*stands)(void), char *problem, size_t size) {
    ending.lua = NULL;
    if (lua && luajit_load(problem, size) < 0) {
        return -1;
    }
    ending.stands = stands;
    ending.lua = lua;
    atomic_store(&ending.lasts, false);
    return 0;
}

void ending_explain(const char *text) {
    snprintf(ending.text, sizeof(ending.text), "%s", text);
}

void ending_raise(void) {
    if (ending.lua) {
        atomic_store(&ending.lasts, true);
        luajit.lua_sethook(ending.lua, on_instruction, LUAJIT_COUNTS, 1);
    }
}

void ending_end(void) {
    if (atomic_exchange(&ending.lasts, false)) {
        atomic_fetch_add(&ending.caught, 1);
    }
}

uint32_t ending_caught(void) {
    return atomic_load(&ending.caught);
}
