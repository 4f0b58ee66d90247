/* engine.h: libcurl's transfers on the loop: their sockets and clocks are libuv's. Knows
 * no request. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/core.h"

struct engine;

struct engine_calls {
    /* A transfer has come to its end, by itself; `code` is libcurl's. */
    void (*ended)(void *easy, int code);
    /* Called ten times a second while engine_watch_time is on; and in the next turn of
     * the loop after engine_kick. */
    void (*look)(void *data);
    void *data;
};

/* Returns NULL when memory ran out. libcurl is open. */
struct engine *engine_open(struct core *core, const struct engine_calls *calls);

/* Frees it. With `leave` libcurl's part stays as it is: there are transfers in it which
 * would have to be waited for. */
void engine_close(struct engine *engine, bool leave);

/* Returns whether it was done. */
bool engine_add(struct engine *engine, void *easy);
/* Not within a call of libcurl's. */
void engine_remove(struct engine *engine, void *easy);

/* Has `look` called, and so keeps the loop from ending. Sockets don't. */
void engine_watch_time(struct engine *engine, bool on);

/* Has `look` called soon. */
void engine_kick(struct engine *engine);
