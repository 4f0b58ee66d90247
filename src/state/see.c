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

/* Those that a member sees by a table's rule. */
static const uint64_t *by_rule(const struct sync_state *state,
                               const struct member *member, uint32_t index) {
    const struct state_table *table = &state->tables[index];
    const struct sight *sight = &member->sights[index];
    double x;
    double y;
    if (table->sees == SYNC_SEES_ALL) {
        return table->entities.live;
    }
    if (table->sees == SYNC_SEES_ASKED) {
        return sight->asked;
    }
    if (table->sees == SYNC_SEES_NEAR && stands(state, member, index, &x, &y)) {
        memset(table->near_set, 0, table->words * sizeof(*table->near_set));
        grid_see(&table->grid, x, y, table->near, table->far, sight->sees,
                 table->near_set);
        return table->near_set;
    }
    return NULL;
}

static void see_table(const struct sync_state *state, const struct member *member,
                      uint32_t index) {
    const struct state_table *table = &state->tables[index];
    const struct sight *sight = &member->sights[index];
    bool is_said = state->is_replica && table->sees != SYNC_SEES_ALL; /* by the home */
    if (is_said || table->words == 0) {
        return;
    }
    const uint64_t *rule = by_rule(state, member, index);
    for (uint32_t i = 0; i < table->entities.words; i++) {
        sight->sees[i] =
            (word_of(rule, i) | word_of(sight->own, i) | word_of(sight->shown, i)) &
            table->entities.live[i] & ~word_of(sight->hidden, i);
    }
}

void state_see(const struct sync_state *state, struct member *member) {
    if (member->seen != state->patch) {
        member->seen = state->patch;
        for (uint32_t i = 0; i < state->table_count; i++) {
            see_table(state, member, i);
        }
    }
}
