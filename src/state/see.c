/* see.c: what a member sees. */
#include "state/state.h"

/* The place of what a member owns, in this table, or else in the first in which it owns
 * something that has a place. */
static bool place_in(const struct state_table *table, const struct sight *sight,
                     double *x, double *y) {
    if (table->sees != SYNC_SEES_NEAR || !sight->own) {
        return false;
    }
    for (uint32_t number = bits_next(sight->own, sight->words, 0); number != BITS_END;
         number = bits_next(sight->own, sight->words, number + 1)) {
        const char *at = table->entities.at[number];
        memcpy(x, at + table->x_offset, sizeof(*x));
        memcpy(y, at + table->y_offset, sizeof(*y));
        return true;
    }
    return false;
}

static bool stands(const struct sync_state *state, const struct member *member,
                   uint32_t first, double *x, double *y) {
    if (member->looks) {
        *x = member->x;
        *y = member->y;
        return true;
    }
    if (place_in(&state->tables[first], &member->sights[first], x, y)) {
        return true;
    }
    for (uint32_t i = 0; i < state->table_count; i++) {
        if (place_in(&state->tables[i], &member->sights[i], x, y)) {
            return true;
        }
    }
    return false;
}

static uint64_t word_of(const uint64_t *set, uint32_t word) {
    return set ? set[word] : 0;
}

void see_table(const struct sync_state *state, const struct member *member,
               uint32_t index) {
    const struct state_table *table = &state->tables[index];
    const struct entities *entities = &table->entities;
    const struct sight *sight = &member->sights[index];
    uint64_t *visible = table->visible;
    size_t size = entities->words * sizeof(*visible);
    double x;
    double y;
    if (size == 0) {
        return;
    }
    if (table->sees == SYNC_SEES_ALL) {
        memcpy(visible, entities->live, size);
    } else if (table->sees == SYNC_SEES_ASKED && sight->asked) {
        memcpy(visible, sight->asked, size);
    } else {
        memset(visible, 0, size);
    }
    if (table->sees == SYNC_SEES_NEAR && stands(state, member, index, &x, &y)) {
        grid_see(&table->grid, entities, x, y, table->near, table->far,
                 member->renew ? NULL : sight->has, member->last, visible);
    }
    for (uint32_t i = 0; i < entities->words; i++) {
        visible[i] |= word_of(sight->own, i) | word_of(sight->shown, i);
        visible[i] &= entities->live[i] & ~word_of(sight->hidden, i);
    }
}
