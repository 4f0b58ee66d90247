/* traces.h: where in the script code begins that LuaJIT has compiled. Compiled code calls
 * nobody who could say so, and a thread that is in it must not be asked: so each trace is
 * noted when it is made, and its address is enough later. */
#pragma once

#include <stdint.h>

enum { TRACES_MOST = 8192 /* as lua/sync/jit.lua has made at most */, TRACES_PLACE = 80 };

/* Notes a trace by LuaJIT's number, which is used again only after traces_forget, and the
 * place where it begins, as "file:line". Of a number beyond the bound nothing is known;
 * of a place that is longer its end is kept. On the loop's thread. */
void traces_note(uint32_t number, uintptr_t begin, uint32_t size, const char *place);

/* LuaJIT has thrown all of them away. */
void traces_forget(void);

/* The place of the trace that an address is in, or NULL. On the loop's thread, also
 * within a signal's handler. */
const char *traces_place(uintptr_t address);
