/* state.c: the state of one room: its tables, its members, and the steps of a patch. The
 * functions of sync.h that need no connection are here, too. */
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

static void free_sight(struct sight *sight) {
    free(sight->has);
    free(sight->mine);
    free(sight->own);
    free(sight->shown);
    free(sight->hidden);
    free(sight->asked);
    *sight = (struct sight){0};
}

static void free_sights(struct sync_state *state, struct member *member) {
    for (uint32_t i = 0; member->sights && i < state->table_count; i++) {
        free_sight(&member->sights[i]);
    }
    free(member->sights);
    member->sights = NULL;
}

static void free_table(struct state_table *table) {
    entities_free(&table->entities);
    grid_free(&table->grid);
    free(table->visible);
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
    for (uint32_t i = 1; state->members && i < state->member_capacity; i++) {
        free_sights(state, &state->members[i]);
    }
    for (uint32_t i = 0; i < state->table_count; i++) {
        free_table(&state->tables[i]);
    }
    bytes_free(&state->message);
    free(state->members);
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

static bool grow_set(uint64_t **set, uint32_t before, uint32_t after) {
    uint64_t *grown = realloc(*set, after * sizeof(**set));
    if (!grown) {
        return false;
    }
    memset(grown + before, 0, (after - before) * sizeof(*grown));
    *set = grown;
    return true;
}

static bool grow_sight(struct sight *sight, uint32_t words) {
    uint64_t **sets[] = {&sight->has,   &sight->mine,   &sight->own,
                         &sight->shown, &sight->hidden, &sight->asked};
    for (size_t i = 0; i < sizeof(sets) / sizeof(*sets); i++) {
        bool always = i < 2;
        if ((always || *sets[i]) && !grow_set(sets[i], sight->words, words)) {
            return false;
        }
    }
    sight->words = words;
    return true;
}

static bool grow_table(struct state_table *table) {
    uint32_t words = table->entities.words;
    bool good = grow_set(&table->visible, table->words, words);
    for (int i = 0; good && i < SECTIONS; i++) {
        good = grow_set(&table->diff.sets[i], table->words, words) &&
               grow_set(&table->same.sets[i], table->words, words);
    }
    if (good) {
        table->words = words;
        table->same_patch = 0;
    }
    return good;
}

/* Makes the sets of a table, and those of its members, as large as the table. */
static bool grow_sets(struct sync_state *state, uint32_t index) {
    struct state_table *table = &state->tables[index];
    uint32_t words = table->entities.words;
    if (words > table->words && !grow_table(table)) {
        return false;
    }
    for (uint32_t i = 1; i < state->member_capacity; i++) {
        struct member *member = &state->members[i];
        if (member->used && member->sights[index].words < words &&
            !grow_sight(&member->sights[index], words)) {
            return false;
        }
    }
    return true;
}

/* Entities. */

static struct entities *entities_of(struct sync_state *state, uint32_t table,
                                    uint32_t number) {
    if (table >= state->table_count ||
        !entities_has(&state->tables[table].entities, number)) {
        return NULL;
    }
    return &state->tables[table].entities;
}

int32_t sync_state_add(struct sync_state *state, uint32_t table, const void *at,
                       double key, const char *text, size_t length) {
    if (table >= state->table_count) {
        return -EINVAL;
    }
    struct entities *entities = &state->tables[table].entities;
    uint32_t words = entities->words;
    int32_t number = entities_add(entities, at, key, text, length, state->patch);
    if (number >= 0 && entities->words > words && !grow_sets(state, table)) {
        entities_remove(entities, (uint32_t)number);
        return -ENOMEM;
    }
    return number;
}

void sync_state_remove(struct sync_state *state, uint32_t table, uint32_t entity) {
    struct entities *entities = entities_of(state, table, entity);
    if (!entities) {
        return;
    }
    entities_remove(entities, entity);
    for (uint32_t i = 1; i < state->member_capacity; i++) {
        struct member *member = &state->members[i];
        if (member->used) {
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

/* Members. */

static struct member *member_of(struct sync_state *state, uint32_t number) {
    struct member *member =
        number > 0 && number < state->member_capacity ? &state->members[number] : NULL;
    return member && member->used ? member : NULL;
}

static uint32_t free_member(struct sync_state *state) {
    for (uint32_t i = 1; i < state->member_capacity; i++) {
        if (!state->members[i].used) {
            return i;
        }
    }
    uint32_t before = state->member_capacity;
    struct member *grown = before < MOST_MEMBERS
                               ? realloc(state->members, 2 * before * sizeof(*grown))
                               : NULL;
    if (!grown) {
        return 0;
    }
    memset(grown + before, 0, before * sizeof(*grown));
    state->members = grown;
    state->member_capacity = 2 * before;
    return before;
}

int32_t sync_state_join(struct sync_state *state, uint32_t form) {
    if (form > SYNC_FORM_AMF3 || (form == SYNC_FORM_AMF3 && !state->envelope)) {
        return -EINVAL;
    }
    uint32_t number = free_member(state);
    if (number == 0) {
        return -ENOMEM;
    }
    struct member *member = &state->members[number];
    *member = (struct member){.used = true, .renew = true, .form = (uint8_t)form};
    member->sights = calloc(MOST_TABLES, sizeof(*member->sights));
    bool good = member->sights != NULL;
    for (uint32_t i = 0; good && i < state->table_count; i++) {
        uint32_t words = state->tables[i].entities.words;
        good = words == 0 || grow_sight(&member->sights[i], words);
    }
    if (!good) {
        sync_state_leave(state, number);
        return -ENOMEM;
    }
    return (int32_t)number;
}

void sync_state_leave(struct sync_state *state, uint32_t member) {
    struct member *found = member_of(state, member);
    if (!found) {
        return;
    }
    for (uint32_t i = 0; i < state->table_count; i++) {
        struct entities *entities = &state->tables[i].entities;
        const uint64_t *own = found->sights ? found->sights[i].own : NULL;
        for (uint32_t entity = bits_next(own, own ? found->sights[i].words : 0, 0);
             entity != BITS_END;
             entity = bits_next(own, own ? found->sights[i].words : 0, entity + 1)) {
            entities->owner[entity] = 0;
        }
    }
    free_sights(state, found);
    *found = (struct member){0};
}

void sync_state_connect(struct sync_state *state, uint32_t member, uint32_t slot) {
    struct member *found = member_of(state, member);
    if (found) {
        found->slot = slot;
        found->bounded = false;
        found->renew = true;
    }
}

void sync_state_renew(struct sync_state *state, uint32_t member) {
    struct member *found = member_of(state, member);
    if (found) {
        found->renew = true;
    }
}

void sync_state_input(struct sync_state *state, uint32_t member, double input) {
    struct member *found = member_of(state, member);
    if (found && input > found->input) {
        found->input = input;
    }
}

void sync_state_look(struct sync_state *state, uint32_t member, int32_t looks, double x,
                     double y) {
    struct member *found = member_of(state, member);
    if (found) {
        found->looks = looks != 0;
        found->x = x;
        found->y = y;
    }
}

/* Puts an entity into a found's set, or takes it out. Returns false when memory ran out.
 */
static bool set_bit(struct sight *sight, uint64_t **set, uint32_t number, bool on) {
    if (on && !*set && !grow_set(set, 0, sight->words)) {
        return false;
    }
    if (on) {
        bit_set(*set, number);
    } else {
        bit_clear(*set, number);
    }
    return true;
}

int32_t sync_state_own(struct sync_state *state, uint32_t table, uint32_t entity,
                       uint32_t owner) {
    struct entities *entities = entities_of(state, table, entity);
    struct member *now = member_of(state, owner);
    if (!entities || (owner != 0 && !now)) {
        return -EINVAL;
    }
    struct member *before = member_of(state, entities->owner[entity]);
    if (now && !set_bit(&now->sights[table], &now->sights[table].own, entity, true)) {
        return -ENOMEM;
    }
    if (before && before != now) {
        bit_clear(before->sights[table].own, entity);
    }
    entities->owner[entity] = owner;
    return 0;
}

int32_t sync_state_sight(struct sync_state *state, uint32_t member, uint32_t table,
                         uint32_t entity, uint32_t sight) {
    struct member *found = member_of(state, member);
    if (!found || !entities_of(state, table, entity)) {
        return -EINVAL;
    }
    struct sight *of = &found->sights[table];
    bool good = true;
    if (sight == SYNC_SIGHT_ASKED_YES || sight == SYNC_SIGHT_ASKED_NO) {
        good = set_bit(of, &of->asked, entity, sight == SYNC_SIGHT_ASKED_YES);
    } else {
        good = set_bit(of, &of->shown, entity, sight == SYNC_SIGHT_SHOWN) &&
               set_bit(of, &of->hidden, entity, sight == SYNC_SIGHT_HIDDEN);
    }
    return good ? 0 : -ENOMEM;
}

/* A patch. */

int32_t sync_state_compare(struct sync_state *state) {
    bool saturated = false;
    bool good = true;
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
    for (uint32_t i = 0; i < state->table_count; i++) {
        see_table(state, member, i);
        any |= patch_settle(state, member, i);
    }
    if (any) {
        patch_write(state, member, tick);
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
    for (uint32_t i = 0; i < state->table_count; i++) {
        entities_end_patch(&state->tables[i].entities);
    }
    state->patch++;
}

const char *sync_state_write(struct sync_state *state, uint32_t member, double tick,
                             size_t *length) {
    struct member *found = member_of(state, member);
    const struct bytes *bytes = found ? state_write(state, found, tick) : NULL;
    *length = bytes ? bytes->length : 0;
    return bytes ? bytes->at : NULL;
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
