/* compiled.h: notes where the script's compiled code lies. */
#pragma once

#include <lua.h>
#include <stdbool.h>

/* What was compiled by now comes from where a thread is. */
void compiled_note(lua_State *L);

/* Whether something was compiled that is not noted. */
bool compiled_is_made(void);
