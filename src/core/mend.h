/* mend.h: mends machine code that LuaJIT has made wrongly.
 *
 * LuaJIT before April 2022, as Debian 12 has it, may exchange both results of a call by
 * an instruction of 32 bits (https://github.com/LuaJIT/LuaJIT/issues/829). In compiled
 * code of pairs() and next() a pointer loses its upper half so, and the process dies.
 * Which registers code uses is luck: few of many thousand traces are so. */
#pragma once

#include <stddef.h>

/* Looks through the code of a trace that was made and hasn't run, and mends it. Returns
 * in how many places, or an error code: it must not run. */
int mend_code(char *code, size_t length);
