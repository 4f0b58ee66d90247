/* compiled.h: notes where the script's compiled code lies. */
#pragma once

#include <lua.h>

/* What was compiled by now comes from where a thread is. */
void compiled_note(lua_State *L);
