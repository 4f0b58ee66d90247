/* events.h: keeps a listener to LuaJIT's compiler from ending the process. */
#pragma once

#include <lua.h>

/* Guards a state's listeners, on the thread of its caller; L is its first thread. */
void events_guard(lua_State *L);
