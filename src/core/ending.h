/* ending.h: ends what Lua runs by an error, which is raised on a line of the script,
 * never in this library's own code (own.h), and again until it is caught by that. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lua_State;

/* Says which state that is, or NULL: none. Whether what is to be ended is still under way
 * is asked of `stands`, on the loop's thread. Returns 0, or -1 and what lacks. */
int ending_use(struct lua_State *lua, bool (*stands)(void), char *problem, size_t size);

/* What is raised, behind the line. Set before ending_raise. */
void ending_explain(const char *text);

/* Begins to raise it. Within a signal's handler, on the loop's thread. */
void ending_raise(void);

/* The error was caught where it should be, so it is raised no more. Any thread. */
void ending_end(void);

/* How often it was. */
uint32_t ending_caught(void);
