/* table.h: small integers for objects, used again as soon as they are given back.
 *
 * The ids that cross to Lua are dense, so that an array there can be indexed by them.
 * 0 is never an id. Knows nothing of the objects.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct table {
    void **items;
    uint32_t *free_ids; /* a stack */
    uint32_t capacity;
    uint32_t used; /* ids ever handed out, and 0 */
    uint32_t free_count;
};

/* Returns an id for the item, or 0 when memory ran out. */
uint32_t table_add(struct table *table, void *item);
void table_remove(struct table *table, uint32_t id);

static inline void *table_get(const struct table *table, uint32_t id) {
    return id < table->used ? table->items[id] : NULL;
}

/* Gives memory back that was needed for many items. */
void table_trim(struct table *table);
void table_clear(struct table *table);
