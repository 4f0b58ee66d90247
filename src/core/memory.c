/* memory.c: how much memory the process uses, by what its C library has given out: the
 * core's and, in sync-lua, Lua's; and by Lua's slabs. That falls as soon as something is
 * freed, where what the system counts falls later, or not at all.
 */
#include <malloc.h>

#include "core/batch.h"
#include "core/core.h"
#include "core/heap.h"
#include "core/memory.h"

enum { LOOK_MS = 10 }; /* between looks, each of which may cost 50 microseconds */

double sync_memory_used(void) {
    struct mallinfo2 info = mallinfo2();
    return (double)info.uordblks + (double)info.hblkhd + (double)heap_used();
}

int32_t sync_watch_memory(struct sync *sync, double bytes) {
    struct core *core = core_of(sync);
    if (core->memory_high == 0 && batch_reserve(&core->batch, 1) < 0) {
        return UV_ENOMEM;
    }
    core->memory_high = bytes;
    return 0;
}

void memory_look(struct core *core) {
    uint32_t now = core_now(core);
    if (core->memory_high == 0 || now - core->memory_looked < LOOK_MS) {
        return;
    }
    core->memory_looked = now;
    if (sync_memory_used() > core->memory_high) {
        batch_push(&core->batch, SYNC_NOTICE, 0, SYNC_MEMORY_HIGH, NULL, 0);
    }
}
