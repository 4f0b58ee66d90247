/* replica.c: a copy of a state on another node, made of what its home says (copy.h). It
 * has no structs of numbers: what is written comes from what was sent, as ever.
 *
 * Bytes are taken as they are read. Where they turn out to be wrong, the copy has half of
 * them, and is lost until it gets a snapshot.
 */
#include <errno.h>
#include <stdlib.h>

#include "state/copy.h"

static const double MOST_KEY = 1ULL << 52;

struct head {
    bool is_snapshot;
    uint64_t epoch;
    uint64_t number;
    uint64_t tick;
};

void sync_state_replica(struct sync_state *state) {
    state->is_replica = true;
    state->is_lost = true;
}

double sync_state_tick(const struct sync_state *state) {
    return state->tick;
}

static bool read_head(struct reader *from, struct head *head) {
    uint64_t mark;
    uint64_t kind;
    bool good = reader_little(from, 1, &mark) && mark == COPY_MARK &&
                reader_little(from, 1, &kind) && kind <= COPY_SNAPSHOT &&
                reader_varint(from, &head->epoch) && head->epoch <= UINT32_MAX &&
                reader_varint(from, &head->number) && head->number >= 2 &&
                head->number < UINT32_MAX && reader_varint(from, &head->tick);
    head->is_snapshot = good && kind == COPY_SNAPSHOT;
    return good;
}

/* How many follow, each of which has a byte or more. */
static bool read_count(struct reader *from, uint64_t *count) {
    return reader_varint(from, count) && *count <= (uint64_t)(from->end - from->at);
}

/* The next of numbers that ascend, below a bound; *number is that of the entry before, or
 * UINT64_MAX. */
static bool read_next(struct reader *from, uint64_t *number, uint64_t bound) {
    uint64_t step;
    if (!reader_varint(from, &step)) {
        return false;
    }
    *number += step + 1;
    return *number < bound;
}

/* Members. */

static bool read_left(struct sync_state *state, struct reader *from) {
    uint64_t count;
    uint64_t number;
    if (!read_count(from, &count)) {
        return false;
    }
    for (; count > 0; count--) {
        if (!reader_varint(from, &number) || number >= MOST_MEMBERS ||
            !state_member(state, (uint32_t)number)) {
            return false;
        }
        sync_state_leave(state, (uint32_t)number);
    }
    return true;
}

static bool read_joined(struct sync_state *state, struct reader *from) {
    uint64_t count;
    uint64_t number;
    uint64_t id;
    if (!read_count(from, &count)) {
        return false;
    }
    for (; count > 0; count--) {
        if (!reader_varint(from, &number) || number == 0 || number >= MOST_MEMBERS ||
            state_member(state, (uint32_t)number) || !reader_varint(from, &id) ||
            id == 0 || sync_state_find(state, (double)id) != 0) {
            return false;
        }
        if ((number >= state->member_capacity &&
             !members_reserve(state, (uint32_t)number)) ||
            !members_begin(state, (uint32_t)number, SYNC_FORM_BINARY)) {
            return false;
        }
        state->members[number].id = (double)id;
    }
    return true;
}

static bool read_inputs(struct sync_state *state, struct reader *from) {
    uint64_t count;
    uint64_t number;
    uint64_t input;
    if (!read_count(from, &count)) {
        return false;
    }
    for (; count > 0; count--) {
        if (!reader_varint(from, &number) || number >= MOST_MEMBERS ||
            !state_member(state, (uint32_t)number) || !reader_varint(from, &input)) {
            return false;
        }
        state->members[number].input = (double)input;
    }
    return true;
}

/* Entities. */

static bool read_value(struct entities *entities, uint32_t number, uint32_t i,
                       uint32_t patch, struct reader *from) {
    const struct field *field = &entities->fields[i];
    const char *value;
    size_t length;
    if (type_is_number(&field->type)) {
        uint64_t *sent = &entities->sent[number * entities->number_count + field->place];
        return type_read_number(&field->type, from, sent);
    }
    return type_read_value(&field->type, from, &value, &length) &&
           entities_put(entities, number, i, value, length, patch) == 0;
}

/* A mask and values. */
static bool read_fields(struct entities *entities, uint32_t number, bool is_private,
                        bool adds, uint32_t patch, struct reader *from) {
    uint32_t first = is_private ? entities->public_count : 0;
    uint32_t end = is_private ? entities->field_count : entities->public_count;
    uint32_t size = (end - first) / 8 + 1;
    const unsigned char *mask = (const unsigned char *)from->at;
    if (from->end - from->at < (ptrdiff_t)size || (mask[0] & 1) != is_private ||
        mask[size - 1] >> ((end - first) % 8 + 1)) {
        return false;
    }
    from->at += size;
    for (uint32_t i = first; i < end; i++) {
        uint32_t bit = i - first + 1;
        if (!(mask[bit / 8] >> bit % 8 & 1)) {
            continue;
        }
        if (!read_value(entities, number, i, patch, from)) {
            return false;
        }
        if (!adds) {
            entities_mark(entities, number, i, patch);
        }
    }
    return true;
}

static bool read_both(struct entities *entities, uint32_t number, bool adds,
                      uint32_t patch, struct reader *from) {
    return read_fields(entities, number, false, adds, patch, from) &&
           read_fields(entities, number, true, adds, patch, from);
}

static bool read_key(const struct entities *entities, struct reader *from, double *key,
                     const char **text, size_t *length) {
    uint64_t number = 0;
    bool good = entities->keys == KEYS_STRING    ? reader_text(from, text, length)
                : entities->keys == KEYS_INTEGER ? reader_varint(from, &number)
                                                 : true;
    *key = (double)unzigzag(number);
    return good && *key <= MOST_KEY && *key >= -MOST_KEY;
}

static bool read_add(struct sync_state *state, uint32_t index, uint32_t number,
                     bool is_snapshot, struct reader *from) {
    struct entities *entities = &state->tables[index].entities;
    uint64_t age = 0;
    double key;
    const char *text = "";
    size_t length = 0;
    if (entities_has(entities, number) || (is_snapshot && !reader_varint(from, &age)) ||
        age > state->patch || !read_key(entities, from, &key, &text, &length)) {
        return false;
    }
    uint32_t created = state->patch - (uint32_t)age;
    if (entities_add_as(entities, number, "", key, text, length, created) < 0) {
        return false;
    }
    if (entities->words > state->tables[index].words && !state_grow_sets(state, index)) {
        entities_remove(entities, number);
        return false;
    }
    if (age > 0) {
        bit_clear(entities->fresh, number);
    }
    for (uint32_t i = 0; i < entities->number_count; i++) {
        entities->sent[number * entities->number_count + i] = 0;
    }
    return read_both(entities, number, true, created, from);
}

static bool read_owner(struct sync_state *state, uint32_t index, uint32_t number,
                       struct reader *from) {
    uint64_t owner;
    return reader_varint(from, &owner) && owner < MOST_MEMBERS &&
           sync_state_own(state, index, number, (uint32_t)owner) == 0;
}

/* Sights. */

static bool read_sight(struct sync_state *state, uint32_t index, uint32_t number,
                       struct reader *from) {
    struct state_table *table = &state->tables[index];
    struct member *member = state_member(state, number);
    uint64_t entity = UINT64_MAX;
    uint64_t count;
    if (!member || !read_count(from, &count) || table->words == 0) {
        return false;
    }
    struct sight *sight = &member->sights[index];
    uint64_t **set = sight_choice(table, sight);
    if (!*set && !members_grow_set(set, 0, sight->words)) {
        return false;
    }
    for (; count > 0; count--) {
        if (!read_next(from, &entity, table->entities.capacity) ||
            !bit_is(table->entities.live, (uint32_t)entity)) {
            return false;
        }
        (*set)[entity / 64] ^= 1ULL << (entity % 64);
    }
    return true;
}

static bool read_entry(struct sync_state *state, uint32_t index, enum copy_kind kind,
                       uint32_t number, bool is_snapshot, struct reader *from) {
    struct entities *entities = &state->tables[index].entities;
    if (kind == COPY_ADD) {
        return read_add(state, index, number, is_snapshot, from);
    }
    if (kind == COPY_SIGHTS) {
        return read_sight(state, index, number, from);
    }
    if (!entities_has(entities, number)) {
        return false;
    }
    if (kind == COPY_GONE) {
        sync_state_remove(state, index, number);
        return true;
    }
    return kind == COPY_OWNED ? read_owner(state, index, number, from)
                              : read_both(entities, number, false, state->patch, from);
}

static bool read_section(struct sync_state *state, bool is_snapshot, uint64_t *before,
                         struct reader *from) {
    uint64_t head;
    uint64_t count;
    if (!reader_varint(from, &head) || (*before != UINT64_MAX && head <= *before) ||
        head / COPY_KINDS >= state->table_count || head % COPY_KINDS > COPY_SIGHTS ||
        !read_count(from, &count)) {
        return false;
    }
    *before = head;
    uint32_t index = (uint32_t)(head / COPY_KINDS);
    enum copy_kind kind = (enum copy_kind)(head % COPY_KINDS);
    uint64_t bound =
        kind == COPY_SIGHTS ? MOST_MEMBERS : state->tables[index].entities.most;
    uint64_t number = UINT64_MAX;
    for (; count > 0; count--) {
        if (!read_next(from, &number, bound) ||
            !read_entry(state, index, kind, (uint32_t)number, is_snapshot, from)) {
            return false;
        }
    }
    return true;
}

/* All but the head. */
static bool read_all(struct sync_state *state, bool is_snapshot, struct reader *from) {
    uint64_t before = UINT64_MAX;
    bool good =
        read_left(state, from) && read_joined(state, from) && read_inputs(state, from);
    while (good && from->at < from->end) {
        good = read_section(state, is_snapshot, &before, from);
    }
    return good;
}

/* Applying. */

static int32_t lose(struct sync_state *state, int32_t code) {
    state->is_lost = true;
    return code;
}

static void empty(struct sync_state *state) {
    for (uint32_t i = 1; i < state->member_capacity; i++) {
        sync_state_leave(state, i);
    }
    for (uint32_t t = 0; t < state->table_count; t++) {
        struct entities *entities = &state->tables[t].entities;
        for (uint32_t i = 0; i < entities->capacity; i++) {
            sync_state_remove(state, t, i);
        }
        state->tables[t].same_patch = 0;
    }
}

static int32_t apply_snapshot(struct sync_state *state, const struct head *head,
                              struct reader *from) {
    uint64_t fingerprint;
    if (!reader_little(from, 4, &fingerprint)) {
        return lose(state, -EPROTO);
    }
    if (fingerprint != copy_fingerprint(state)) {
        return lose(state, -EINVAL);
    }
    empty(state);
    state->epoch = (uint32_t)head->epoch;
    state->patch = (uint32_t)head->number;
    state->is_lost = !read_all(state, true, from);
    return state->is_lost ? -EPROTO : SYNC_APPLIED;
}

int32_t sync_state_apply(struct sync_state *state, const char *bytes, size_t length) {
    struct reader from = {bytes, bytes + length};
    struct head head;
    if (!state->is_replica) {
        return -EINVAL;
    }
    if (!read_head(&from, &head)) {
        return lose(state, -EPROTO);
    }
    bool same = head.epoch == state->epoch;
    if (head.epoch < state->epoch || (same && head.number < state->patch)) {
        return SYNC_APPLIED_OLD;
    }
    if (!head.is_snapshot && (state->is_lost || !same || head.number > state->patch)) {
        return lose(state, SYNC_APPLIED_MISSED);
    }
    state->tick = (double)head.tick;
    if (head.is_snapshot) {
        return apply_snapshot(state, &head, &from);
    }
    return read_all(state, false, &from) ? SYNC_APPLIED : lose(state, -EPROTO);
}
