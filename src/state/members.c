/* members.c: those whom a state is sent: who they are, what is theirs, and what they are
 * shown. */
#include <errno.h>
#include <stdlib.h>

#include "state/state.h"

/* Sets that grow with a table. */

bool members_grow_set(uint64_t **set, uint32_t before, uint32_t after) {
    uint64_t *grown = realloc(*set, after * sizeof(**set));
    if (!grown) {
        return false;
    }
    memset(grown + before, 0, (after - before) * sizeof(*grown));
    *set = grown;
    return true;
}

bool members_grow_sight(struct sight *sight, uint32_t words) {
    uint64_t **sets[] = {&sight->sees,  &sight->has,    &sight->mine,  &sight->own,
                         &sight->shown, &sight->hidden, &sight->asked, &sight->copied};
    for (size_t i = 0; i < sizeof(sets) / sizeof(*sets); i++) {
        bool always = i < 3;
        if ((always || *sets[i]) && !members_grow_set(sets[i], sight->words, words)) {
            return false;
        }
    }
    sight->words = words;
    return true;
}

static void free_sight(struct sight *sight) {
    free(sight->sees);
    free(sight->has);
    free(sight->mine);
    free(sight->own);
    free(sight->shown);
    free(sight->hidden);
    free(sight->asked);
    free(sight->copied);
    *sight = (struct sight){0};
}

static void free_sights(struct sync_state *state, struct member *member) {
    for (uint32_t i = 0; member->sights && i < state->table_count; i++) {
        free_sight(&member->sights[i]);
    }
    free(member->sights);
    member->sights = NULL;
}

void members_free(struct sync_state *state) {
    for (uint32_t i = 1; state->members && i < state->member_capacity; i++) {
        free_sights(state, &state->members[i]);
    }
    free(state->members);
    state->members = NULL;
}

/* Coming and going. */

bool members_reserve(struct sync_state *state, uint32_t number) {
    uint32_t before = state->member_capacity;
    uint32_t after = before;
    while (after <= number && after < MOST_MEMBERS) {
        after *= 2;
    }
    struct member *grown =
        number < after ? realloc(state->members, after * sizeof(*grown)) : NULL;
    if (!grown) {
        return false;
    }
    memset(grown + before, 0, (after - before) * sizeof(*grown));
    state->members = grown;
    state->member_capacity = after;
    return true;
}

bool members_begin(struct sync_state *state, uint32_t number, uint8_t form) {
    struct member *member = &state->members[number];
    /* What was there before it has joined is not new to it. */
    *member = (struct member){.used = true,
                              .renew = true,
                              .form = form,
                              .last = state->patch - 1,
                              .copied_id = member->copied_id};
    member->sights = calloc(state->table_count + 1, sizeof(*member->sights));
    bool good = member->sights != NULL;
    for (uint32_t i = 0; good && i < state->table_count; i++) {
        uint32_t words = state->tables[i].entities.words;
        good = words == 0 || members_grow_sight(&member->sights[i], words);
    }
    if (!good) {
        sync_state_leave(state, number);
    }
    return good;
}

static bool has_form(const struct sync_state *state, uint32_t form) {
    return form <= SYNC_FORM_AMF3 && (form != SYNC_FORM_AMF3 || state->envelope);
}

int32_t sync_state_join(struct sync_state *state, uint32_t form) {
    uint32_t number = 1;
    if (!has_form(state, form) || state->is_replica) {
        return -EINVAL;
    }
    while (number < state->member_capacity && state->members[number].used) {
        number++;
    }
    bool good = number < state->member_capacity || members_reserve(state, number);
    return good && members_begin(state, number, (uint8_t)form) ? (int32_t)number
                                                               : -ENOMEM;
}

int32_t sync_state_read(struct sync_state *state, uint32_t member, uint32_t form) {
    struct member *found = state_member(state, member);
    if (!found || !has_form(state, form)) {
        return -EINVAL;
    }
    found->form = (uint8_t)form;
    found->renew = true;
    return 0;
}

uint32_t sync_state_find(const struct sync_state *state, double id) {
    for (uint32_t i = 1; i < state->member_capacity; i++) {
        if (state->members[i].used && state->members[i].id == id) {
            return i;
        }
    }
    return 0;
}

void sync_state_elsewhere(struct sync_state *state, uint32_t member, double id) {
    struct member *found = state_member(state, member);
    if (found) {
        found->id = id;
    }
}

void sync_state_leave(struct sync_state *state, uint32_t member) {
    struct member *found = state_member(state, member);
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
    *found = (struct member){.copied_id = found->copied_id};
}

void sync_state_connect(struct sync_state *state, uint32_t member, uint32_t slot) {
    struct member *found = state_member(state, member);
    if (found) {
        found->slot = slot;
        found->bounded = false;
        found->renew = true;
        /* Nobody knows what has arrived: nothing of what is there counts as new. */
        found->last = state->patch - 1;
    }
}

void sync_state_renew(struct sync_state *state, uint32_t member) {
    struct member *found = state_member(state, member);
    if (found) {
        found->renew = true;
    }
}

void sync_state_input(struct sync_state *state, uint32_t member, double input) {
    struct member *found = state_member(state, member);
    if (found && input > found->input) {
        found->input = input;
    }
}

void sync_state_look(struct sync_state *state, uint32_t member, int32_t looks, double x,
                     double y) {
    struct member *found = state_member(state, member);
    if (found) {
        found->looks = looks != 0;
        found->x = x;
        found->y = y;
    }
}

/* Puts an entity into a found's set, or takes it out. Returns false when memory ran out.
 */
static bool set_bit(struct sight *sight, uint64_t **set, uint32_t number, bool on) {
    if (on && !*set && !members_grow_set(set, 0, sight->words)) {
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
    struct entities *entities = state_entities(state, table, entity);
    struct member *now = state_member(state, owner);
    if (!entities || (owner != 0 && !now)) {
        return -EINVAL;
    }
    struct member *before = state_member(state, entities->owner[entity]);
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
    struct member *found = state_member(state, member);
    if (!found || !state_entities(state, table, entity)) {
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
