/* heap.h: the memory of Lua's objects.
 *
 * Strings of messages' sizes, tables and numbers that are boxed come and go all the time:
 * each size has slabs of its own, in which a block is taken and given back by a few
 * instructions, where malloc would put it together with its neighbours and take it apart
 * again. What is large is malloc's. One thread may use it. Knows nothing of Lua.
 */
#pragma once

#include <stddef.h>

/* As a lua_Alloc, whose context is unused: gives, changes or takes back a block. */
void *heap_allocate(void *context, void *block, size_t old_size, size_t size);

/* Bytes of blocks that are in use, but for malloc's. */
size_t heap_used(void);

/* Gives what isn't needed back to the system. */
void heap_trim(void);
