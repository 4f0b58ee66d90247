/* own.h: which Lua code is SYNC's own, by what its sources begin with. */
#pragma once

#include <stdbool.h>

/* Says what that is; before, no code is SYNC's own. On the loop's thread. */
void own_set(const char *prefix);

/* Whether a source, as lua_getinfo gives it, is. Also within a signal's handler. */
bool own_has(const char *source);
