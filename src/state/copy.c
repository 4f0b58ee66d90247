/* copy.c: what the home of a state tells its copies: copy.h says in which form. */
#include "state/copy.h"

/* FNV-1a. */
static uint32_t hash(uint32_t sum, const void *at, size_t length) {
    const unsigned char *bytes = at;
    for (size_t i = 0; i < length; i++) {
        sum = (sum ^ bytes[i]) * 16777619U;
    }
    return sum;
}

uint32_t copy_fingerprint(const struct sync_state *state) {
    uint32_t sum = 2166136261U;
    for (uint32_t t = 0; t < state->table_count; t++) {
        const struct entities *entities = &state->tables[t].entities;
        sum = hash(sum, entities->name, entities->name_length);
        sum = hash(sum, &entities->keys, 1);
        sum = hash(sum, &state->tables[t].sees, 1);
        sum = hash(sum, &entities->public_count, sizeof(entities->public_count));
        for (uint32_t i = 0; i < entities->field_count; i++) {
            const struct field *field = &entities->fields[i];
            sum = hash(sum, field->name, field->name_length);
            sum = hash(sum, field->code, field->type.length);
        }
    }
    return sum;
}

/* Members. */

static double id_of(const struct member *member) {
    return member->used ? member->id : 0;
}

/* Copies have forgotten a member, and what was its own. */
static void forget(struct sync_state *state, uint32_t number) {
    for (uint32_t t = 0; t < state->table_count; t++) {
        struct state_table *table = &state->tables[t];
        for (uint32_t i = 0; i < table->entities.capacity; i++) {
            if (table->copied_owner[i] == number) {
                table->copied_owner[i] = 0;
            }
        }
        struct sight *sights = state->members[number].sights;
        if (sights && sights[t].copied) {
            memset(sights[t].copied, 0, sights[t].words * sizeof(*sights[t].copied));
        }
    }
}

static bool has_left(const struct member *member) {
    return member->copied_id != 0 && member->copied_id != id_of(member);
}

static bool has_joined(const struct member *member) {
    return id_of(member) != 0 && member->copied_id != member->id;
}

static bool has_input(const struct member *member) {
    double copied = member->copied_id == member->id ? member->copied_input : 0;
    return id_of(member) != 0 && copied != member->input;
}

static double input_of(const struct member *member) {
    return member->input;
}

/* A list of those members of which something holds: their numbers, and a value if there
 * is one to be said. */
static void write_members(const struct sync_state *state, struct bytes *to,
                          bool (*holds)(const struct member *),
                          double (*value)(const struct member *)) {
    uint32_t count = 0;
    for (uint32_t i = 1; i < state->member_capacity; i++) {
        count += holds(&state->members[i]);
    }
    bytes_varint(to, count);
    for (uint32_t i = 1; count > 0 && i < state->member_capacity; i++) {
        if (holds(&state->members[i])) {
            bytes_varint(to, i);
            if (value) {
                bytes_varint(to, (uint64_t)value(&state->members[i]));
            }
        }
    }
}

/* Entities. */

static uint32_t owner_elsewhere(const struct sync_state *state,
                                const struct entities *entities, uint32_t number) {
    uint32_t owner = entities->owner[number];
    return owner != 0 && state->members[owner].id != 0 ? owner : 0;
}

/* Puts those of which a section is to speak into a set, and returns how many they are. */
static uint32_t choose(const struct sync_state *state, const struct state_table *table,
                       enum copy_kind kind, uint64_t *set) {
    const struct entities *entities = &table->entities;
    uint32_t count = 0;
    for (uint32_t word = 0; word < entities->words; word++) {
        uint64_t live = entities->live[word];
        uint64_t fresh = entities->fresh[word];
        uint64_t copied = table->copied[word];
        uint64_t chosen = kind == COPY_GONE  ? copied & (~live | fresh)
                          : kind == COPY_ADD ? live & (~copied | fresh)
                                             : 0;
        uint64_t asked = kind == COPY_CHANGE  ? live & copied & ~fresh
                         : kind == COPY_OWNED ? live
                                              : 0;
        for (; asked; asked &= asked - 1) {
            uint32_t number = word * 64 + (uint32_t)__builtin_ctzll(asked);
            bool is_due = kind == COPY_OWNED
                              ? table->copied_owner[number] !=
                                    owner_elsewhere(state, entities, number)
                              : entities->public_changed[number] == state->patch ||
                                    entities->private_changed[number] == state->patch;
            chosen |= is_due ? asked & -asked : 0;
        }
        set[word] = chosen;
        count += (uint32_t)__builtin_popcountll(chosen);
    }
    return count;
}

static void write_entity(struct sync_state *state, struct entities *entities,
                         uint32_t number, bool adds, bool ages, struct bytes *to) {
    const struct run *run =
        entities_run(entities, number, adds ? RUN_ADD : RUN_CHANGE, state->patch);
    if (!run) {
        to->failed = true;
        return;
    }
    if (ages) {
        bytes_varint(to, state->patch - entities->created[number]);
    }
    if (adds) {
        entities_write_key(entities, number, false, to);
    }
    bytes_put(to, entities->written.at + run->offset, run->length);
    entities_write_private(entities, number, adds ? 0 : state->patch - 1, false, false,
                           to);
}

static void write_section(struct sync_state *state, uint32_t index, enum copy_kind kind,
                          bool ages, struct bytes *to) {
    struct state_table *table = &state->tables[index];
    struct entities *entities = &table->entities;
    uint64_t *set = table->near_set;
    uint32_t count = choose(state, table, kind, set);
    uint32_t expected = 0;
    if (count == 0) {
        return;
    }
    bytes_varint(to, COPY_KINDS * index + (uint32_t)kind);
    bytes_varint(to, count);
    for (uint32_t number = bits_next(set, entities->words, 0); number != BITS_END;
         number = bits_next(set, entities->words, number + 1)) {
        bytes_varint(to, number - expected);
        expected = number + 1;
        if (kind == COPY_OWNED) {
            bytes_varint(to, owner_elsewhere(state, entities, number));
        } else if (kind != COPY_GONE) {
            write_entity(state, entities, number, kind == COPY_ADD, ages, to);
        }
    }
}

/* Sights. */

/* Puts those entities into a set of which copies do not know whether a member sees them,
 * and returns how many they are. */
static uint32_t choose_sights(struct state_table *table, struct sight *sight,
                              uint64_t *set) {
    const uint64_t *now = *sight_choice(table, sight);
    const uint64_t *before = sight->copied;
    uint32_t count = 0;
    for (uint32_t word = 0; word < table->entities.words; word++) {
        set[word] = (now ? now[word] : 0) ^ (before ? before[word] : 0);
        count += (uint32_t)__builtin_popcountll(set[word]);
    }
    return count;
}

static void write_sights(struct sync_state *state, uint32_t index, struct bytes *to) {
    struct state_table *table = &state->tables[index];
    uint64_t *set = table->near_set;
    uint32_t members = 0;
    uint32_t expected = 0;
    for (uint32_t i = 1; i < state->member_capacity; i++) {
        struct member *member = &state->members[i];
        members +=
            id_of(member) != 0 && choose_sights(table, &member->sights[index], set) > 0;
    }
    if (members == 0) {
        return;
    }
    bytes_varint(to, COPY_KINDS * index + COPY_SIGHTS);
    bytes_varint(to, members);
    for (uint32_t i = 1; i < state->member_capacity; i++) {
        struct member *member = &state->members[i];
        uint32_t count =
            id_of(member) != 0 ? choose_sights(table, &member->sights[index], set) : 0;
        if (count == 0) {
            continue;
        }
        bytes_varint(to, i - expected);
        expected = i + 1;
        bytes_varint(to, count);
        uint32_t next = 0;
        for (uint32_t number = bits_next(set, table->entities.words, 0);
             number != BITS_END;
             number = bits_next(set, table->entities.words, number + 1)) {
            bytes_varint(to, number - next);
            next = number + 1;
        }
    }
}

/* A whole patch. */

static void write_all(struct sync_state *state, double tick, int kind, struct bytes *to) {
    to->length = 0;
    to->failed = false;
    bytes_byte(to, COPY_MARK);
    bytes_byte(to, (unsigned)kind);
    bytes_varint(to, state->epoch);
    bytes_varint(to, state->patch);
    bytes_varint(to, (uint64_t)tick);
    if (kind == COPY_SNAPSHOT) {
        bytes_little(to, copy_fingerprint(state), 4);
    }
    write_members(state, to, has_left, NULL);
    write_members(state, to, has_joined, id_of);
    write_members(state, to, has_input, input_of);
    for (uint32_t i = 1; i < state->member_capacity; i++) {
        if (has_left(&state->members[i])) {
            forget(state, i);
        }
    }
    for (uint32_t i = 0; i < state->table_count; i++) {
        if (state->tables[i].words > 0) {
            for (int section = COPY_GONE; section <= COPY_OWNED; section++) {
                write_section(state, i, (enum copy_kind)section, kind == COPY_SNAPSHOT,
                              to);
            }
            write_sights(state, i, to);
        }
    }
}

/* Copies have all that is here. Returns false when memory ran out. */
static bool settle(struct sync_state *state) {
    for (uint32_t i = 1; i < state->member_capacity; i++) {
        struct member *member = &state->members[i];
        member->copied_id = id_of(member);
        member->copied_input = member->input;
    }
    for (uint32_t t = 0; t < state->table_count; t++) {
        struct state_table *table = &state->tables[t];
        size_t size = table->words * sizeof(uint64_t);
        if (size == 0) {
            continue;
        }
        memcpy(table->copied, table->entities.live, size);
        for (uint32_t i = 0; i < table->entities.capacity; i++) {
            table->copied_owner[i] = owner_elsewhere(state, &table->entities, i);
        }
        for (uint32_t i = 1; i < state->member_capacity; i++) {
            struct member *member = &state->members[i];
            struct sight *sight = id_of(member) != 0 ? &member->sights[t] : NULL;
            const uint64_t *now = sight ? *sight_choice(table, sight) : NULL;
            if (now && !sight->copied &&
                !members_grow_set(&sight->copied, 0, sight->words)) {
                return false;
            }
            if (now) {
                memcpy(sight->copied, now, size);
            }
        }
    }
    return true;
}

/* Copies have nothing. */
static void begin_anew(struct sync_state *state) {
    for (uint32_t t = 0; t < state->table_count; t++) {
        struct state_table *table = &state->tables[t];
        if (table->words > 0) {
            memset(table->copied, 0, table->words * sizeof(*table->copied));
            memset(table->copied_owner, 0,
                   64 * table->words * sizeof(*table->copied_owner));
        }
    }
    for (uint32_t i = 1; i < state->member_capacity; i++) {
        struct member *member = &state->members[i];
        member->copied_id = 0;
        for (uint32_t t = 0; member->used && t < state->table_count; t++) {
            struct sight *sight = &member->sights[t];
            if (sight->copied) {
                memset(sight->copied, 0, sight->words * sizeof(*sight->copied));
            }
        }
    }
}

/* Decides what those see that are elsewhere. Returns whether there are such. */
static bool see_elsewhere(struct sync_state *state) {
    bool any = false;
    for (uint32_t i = 1; i < state->member_capacity; i++) {
        if (id_of(&state->members[i]) != 0) {
            any = true;
            state_see(state, &state->members[i]);
        }
    }
    return any;
}

void sync_state_copy(struct sync_state *state, double tick) {
    state->copy.length = 0;
    state->snapshot.length = 0;
    if (!see_elsewhere(state)) {
        state->copies = false;
        return;
    }
    bool good = true;
    bool goes_on = state->copies;
    if (goes_on) {
        write_all(state, tick, COPY_DELTA, &state->copy);
        good = settle(state) && !state->copy.failed;
    }
    if (good && (!goes_on || state->wanted)) {
        begin_anew(state);
        write_all(state, tick, COPY_SNAPSHOT, &state->snapshot);
        good = settle(state) && !state->snapshot.failed;
    }
    state->wanted = false;
    state->copies = good; /* if not, the next is a snapshot */
}

void sync_state_want(struct sync_state *state) {
    state->wanted = true;
}

const char *sync_state_copied(const struct sync_state *state, int32_t snapshot,
                              size_t *length) {
    const struct bytes *bytes = snapshot ? &state->snapshot : &state->copy;
    *length = bytes->failed ? 0 : bytes->length;
    return *length > 0 ? bytes->at : NULL;
}
