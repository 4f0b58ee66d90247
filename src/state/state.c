/* state.c: the state of one room: its tables, their entities, and the steps of a patch.
 */
#include "state/state.h"

#include <errno.h>
#include <stdlib.h>

enum { FIRST_PATCH = 2, FIRST_MEMBERS = 16 };

struct sync_state *sync_state_new(uint32_t room) {
    struct sync_state *state = calloc(1, sizeof(*state));
    if (!state) {
        return NULL;
    }
    state->room = room;
    state->patch = FIRST_PATCH;
    state->tables = calloc(MOST_TABLES, sizeof(*state->tables));
    state->members = calloc(FIRST_MEMBERS, sizeof(*state->members));
    state->member_capacity = FIRST_MEMBERS;
    if (!state->tables || !state->members) {
        sync_state_free(state);
        return NULL;
    }
    return state;
}

int32_t sync_state_envelope(struct sync_state *state, const char *envelope, size_t head,
                            size_t length) {
    char *copy = realloc(state->envelope, length);
    if (!copy) {
        return -ENOMEM;
    }
    memcpy(copy, envelope, length);
    state->envelope = copy;
    state->envelope_head = (uint32_t)head;
    state->envelope_length = (uint32_t)length;
    return 0;
}

static void free_table(struct state_table *table) {
    entities_free(&table->entities);
    grid_free(&table->grid);
    free(table->near_set);
    free(table->copied);
    free(table->copied_owner);
    for (int i = 0; i < SECTIONS; i++) {
        free(table->diff.sets[i]);
        free(table->same.sets[i]);
    }
    bytes_free(&table->same_bytes);
}

void sync_state_free(struct sync_state *state) {
    if (!state) {
        return;
    }
    members_free(state);
    for (uint32_t i = 0; i < state->table_count; i++) {
        free_table(&state->tables[i]);
    }
    bytes_free(&state->message);
    bytes_free(&state->copy);
    bytes_free(&state->snapshot);
    free(state->tables);
    free(state->envelope);
    free(state);
}

/* Declaring. */

int32_t sync_state_table(struct sync_state *state, const char *name, size_t length,
                         const struct sync_table *options) {
    if (state->table_count == MOST_TABLES || options->keys > KEYS_STRING ||
        options->most > MOST_ENTITIES ||
        (options->sees == SYNC_SEES_NEAR && !(options->near > 0))) {
        return -EINVAL;
    }
    struct state_table *table = &state->tables[state->table_count];
    struct entities *entities = &table->entities;
    struct bytes quoted = {0};
    bytes_json(&quoted, name, length);
    bytes_byte(&quoted, ':');
    entities->fields = calloc(MOST_FIELDS, sizeof(*entities->fields));
    if (quoted.failed || !entities->fields) {
        bytes_free(&quoted);
        free(entities->fields);
        return -ENOMEM;
    }
    entities->name = quoted.at;
    entities->name_length = (uint32_t)quoted.length;
    entities->keys = (uint8_t)options->keys;
    entities->most = options->most;
    entities->most_bytes = options->most_bytes;
    table->sees = (uint8_t)options->sees;
    table->near = options->near;
    table->far = options->far;
    table->x_offset = options->x_offset;
    table->y_offset = options->y_offset;
    return (int32_t)state->table_count++;
}

int32_t sync_state_field(struct sync_state *state, uint32_t table, const char *name,
                         size_t length, int32_t is_private, uint32_t offset,
                         const char *code, size_t code_length) {
    return table < state->table_count
               ? entities_declare(&state->tables[table].entities, name, length,
                                  is_private != 0, offset, code, code_length)
               : -EINVAL;
}

/* Sets that grow with a table. */

static bool grow_table(struct state_table *table) {
    uint32_t words = table->entities.words;
    bool good = members_grow_set(&table->near_set, table->words, words) &&
                members_grow_set(&table->copied, table->words, words);
    uint32_t *owners =
        good ? realloc(table->copied_owner, 64 * words * sizeof(*owners)) : NULL;
    if (!owners) {
        return false;
    }
    memset(owners + 64 * table->words, 0, 64 * (words - table->words) * sizeof(*owners));
    table->copied_owner = owners;
    for (int i = 0; good && i < SECTIONS; i++) {
        good = members_grow_set(&table->diff.sets[i], table->words, words) &&
               members_grow_set(&table->same.sets[i], table->words, words);
    }
    if (good) {
        table->words = words;
        table->same_patch = 0;
    }
    return good;
}

bool state_grow_sets(struct sync_state *state, uint32_t index) {
    struct state_table *table = &state->tables[index];
    uint32_t words = table->entities.words;
    for (uint32_t i = 1; i < state->member_capacity; i++) {
        struct member *member = &state->members[i];
        if (member->used && member->sights[index].words < words &&
            !members_grow_sight(&member->sights[index], words)) {
            return false;
        }
    }
    return words == table->words ||
           grow_table(table); /* last: it says that all is done */
}

/* Entities. */

int32_t sync_state_add(struct sync_state *state, uint32_t table, const void *at,
                       double key, const char *text, size_t length) {
    if (table >= state->table_count) {
        return -EINVAL;
    }
    struct entities *entities = &state->tables[table].entities;
    int32_t number = entities_add(entities, at, key, text, length, state->patch);
    if (number >= 0 && entities->words > state->tables[table].words &&
        !state_grow_sets(state, table)) {
        entities_remove(entities, (uint32_t)number);
        return -ENOMEM;
    }
    return number;
}

void sync_state_remove(struct sync_state *state, uint32_t table, uint32_t entity) {
    struct entities *entities = state_entities(state, table, entity);
    if (!entities) {
        return;
    }
    entities_remove(entities, entity);
    state->tables[table].copied_owner[entity] = 0;
    for (uint32_t i = 1; i < state->member_capacity; i++) {
        struct member *member = &state->members[i];
        if (member->used) {
            bit_clear(member->sights[table].sees, entity);
            bit_clear(member->sights[table].copied, entity);
            bit_clear(member->sights[table].own, entity);
            bit_clear(member->sights[table].shown, entity);
            bit_clear(member->sights[table].hidden, entity);
            bit_clear(member->sights[table].asked, entity);
        }
    }
}

int32_t sync_state_put(struct sync_state *state, uint32_t table, uint32_t entity,
                       uint32_t field, const char *value, size_t length) {
    return table < state->table_count
               ? entities_put(&state->tables[table].entities, entity, field, value,
                              length, state->patch)
               : -EINVAL;
}

/* A patch. */

int32_t sync_state_compare(struct sync_state *state) {
    bool saturated = false;
    bool good = true;
    if (state->is_replica) {
        return 0;
    }
    for (uint32_t i = 0; i < state->table_count; i++) {
        struct state_table *table = &state->tables[i];
        saturated |= entities_compare(&table->entities, state->patch);
        if (table->sees == SYNC_SEES_NEAR) {
            good &= grid_build(&table->grid, &table->entities, table->x_offset,
                               table->y_offset, table->far / 3);
        }
    }
    return !good ? -ENOMEM : saturated;
}

const struct bytes *state_write(struct sync_state *state, struct member *member,
                                double tick) {
    bool any = member->renew || member->input != member->input_sent;
    state_see(state, member);
    for (uint32_t i = 0; i < state->table_count; i++) {
        any |= patch_settle(state, member, i);
    }
    if (any) {
        state->message.length = 0;
        state->message.failed = false;
        (member->form == SYNC_FORM_JSON ? json_write : patch_write)(state, member, tick);
    }
    for (uint32_t i = 0; i < state->table_count; i++) {
        struct sight *sight = &member->sights[i];
        for (uint32_t word = 0; word < sight->words; word++) {
            sight->mine[word] = sight->has[word] & (sight->own ? sight->own[word] : 0);
        }
    }
    member->last = state->patch;
    member->input_sent = member->input;
    member->renew = any && state->message.failed;
    return any && !state->message.failed ? &state->message : NULL;
}

void sync_state_end_patch(struct sync_state *state) {
    for (uint32_t i = 1; i < state->member_capacity && !state->is_replica; i++) {
        if (state->members[i].used) {
            state_see(state, &state->members[i]);
        }
    }
    for (uint32_t i = 0; i < state->table_count; i++) {
        entities_end_patch(&state->tables[i].entities);
    }
    state->patch++;
}

const char *sync_state_write(struct sync_state *state, uint32_t member, double tick,
                             size_t *length) {
    struct member *found = state_member(state, member);
    const struct bytes *bytes = found ? state_write(state, found, tick) : NULL;
    *length = bytes ? bytes->length : 0;
    return bytes ? bytes->at : NULL;
}

void sync_state_epoch(struct sync_state *state, uint32_t epoch) {
    state->epoch = epoch;
}

int32_t sync_state_saturated(struct sync_state *state) {
    for (uint32_t t = 0; t < state->table_count; t++) {
        struct entities *entities = &state->tables[t].entities;
        for (uint32_t i = 0; i < entities->field_count; i++) {
            if (entities->fields[i].saturated && !entities->fields[i].told) {
                entities->fields[i].told = true;
                return (int32_t)(t << 16 | i);
            }
        }
    }
    return -1;
}
