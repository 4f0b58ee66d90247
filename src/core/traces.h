/* traces.h: where in the script compiled code comes from. It calls nobody who could say
 * so, and a thread that is in it must not be asked: so each piece is noted when it is
 * made, and its address is enough later. The program does so (src/host/compiled.c); in
 * another nothing is known. All of it on the loop's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { TRACES_MOST = 8192 /* as lua/sync/jit.lua has made at most */, TRACES_PLACE = 80 };

/* Notes a piece that comes from a line of a source, as lua_getinfo gives it; of a long
 * name the end is kept. Beyond the bound nothing is noted. Returns false when the source
 * is SYNC's own. */
bool traces_note(uintptr_t begin, uintptr_t end, const char *source, int line);

/* What lies there is thrown away. */
void traces_forget(uintptr_t begin, uintptr_t end);

/* The place of an address, as "file:line", or NULL. Also within a signal's handler. */
const char *traces_place(uintptr_t address);
