/* table.c: small integers for objects. */
#include "core/table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

enum { FIRST_CAPACITY = 64 };

static bool resize(struct table *table, uint32_t capacity) {
    void **items = realloc(table->items, capacity * sizeof(*items));
    if (!items) {
        return false;
    }
    table->items = items;
    uint32_t *free_ids = realloc(table->free_ids, capacity * sizeof(*free_ids));
    if (!free_ids) {
        return false;
    }
    table->free_ids = free_ids;
    table->capacity = capacity;
    return true;
}

uint32_t table_add(struct table *table, void *item) {
    uint32_t id;
    if (table->free_count > 0) {
        id = table->free_ids[--table->free_count];
    } else {
        uint32_t wanted = table->capacity ? 2 * table->capacity : FIRST_CAPACITY;
        if (table->used >= table->capacity && !resize(table, wanted)) {
            return 0;
        }
        if (table->used == 0) {
            table->items[table->used++] = NULL;
        }
        id = table->used++;
    }
    table->items[id] = item;
    return id;
}

void table_remove(struct table *table, uint32_t id) {
    table->items[id] = NULL;
    table->free_ids[table->free_count++] = id;
}

void table_trim(struct table *table) {
    if (table->used == 0) {
        return;
    }
    while (table->used > 1 && !table->items[table->used - 1]) {
        table->used--;
    }
    table->free_count = 0;
    for (uint32_t id = table->used - 1; id > 0; id--) {
        if (!table->items[id]) {
            table->free_ids[table->free_count++] = id;
        }
    }
    uint32_t capacity = FIRST_CAPACITY;
    while (capacity < table->used) {
        capacity *= 2;
    }
    if (capacity < table->capacity) {
        resize(table, capacity);
    }
}

void table_clear(struct table *table) {
    free(table->items);
    free(table->free_ids);
    *table = (struct table){0};
}
