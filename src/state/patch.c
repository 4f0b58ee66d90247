/* patch.c: what has changed for a member, and how that is written: docs/state.md. */
#include "state/state.h"

#include <string.h>

enum { MARK = 0xC1, FLAG_SNAPSHOT = 1 };

/* Settling. */

/* Those entities of a word that were created, or whose public fields have changed, since
 * what the member has. */
static uint64_t created_since(const struct entities *entities, uint32_t word, uint64_t of,
                              const struct member *member, uint32_t patch) {
    if (member->last == patch - 1) {
        return of & entities->fresh[word];
    }
    uint64_t created = 0;
    for (uint64_t left = of; left; left &= left - 1) {
        uint32_t number = word * 64 + (uint32_t)__builtin_ctzll(left);
        if (entities->created[number] > member->last) {
            created |= left & -left;
        }
    }
    return created;
}

static uint64_t changed_since(const struct entities *entities, uint32_t word, uint64_t of,
                              const struct member *member, uint32_t patch) {
    if (member->last == patch - 1) {
        return of & entities->dirty[word];
    }
    uint64_t changed = 0;
    for (uint64_t left = of; left; left &= left - 1) {
        uint32_t number = word * 64 + (uint32_t)__builtin_ctzll(left);
        if (entities->public_changed[number] > member->last) {
            changed |= left & -left;
        }
    }
    return changed;
}

static uint64_t private_since(const struct entities *entities, uint32_t word, uint64_t of,
                              const struct member *member) {
    uint64_t changed = 0;
    for (uint64_t left = of; left; left &= left - 1) {
        uint32_t number = word * 64 + (uint32_t)__builtin_ctzll(left);
        if (entities->private_changed[number] > member->last) {
            changed |= left & -left;
        }
    }
    return changed;
}

/* One word of the sets. Returns the bits that have changed in any way. */
static uint64_t settle_word(struct state_table *table, struct sight *sight,
                            const struct member *member, uint32_t word, uint32_t patch) {
    const struct entities *entities = &table->entities;
    struct diff *diff = &table->diff;
    uint64_t had = member->renew ? 0 : sight->has[word];
    uint64_t visible = sight->sees[word];
    uint64_t stayed = had & entities->live[word];
    uint64_t replaced = created_since(entities, word, stayed, member, patch);
    uint64_t kept = stayed & ~replaced & visible;
    uint64_t own = sight->own ? sight->own[word] : 0;
    uint64_t given = kept & (own ^ sight->mine[word]);
    uint64_t gone = (had & ~entities->live[word]) | replaced;
    uint64_t hidden = stayed & ~replaced & ~visible;
    uint64_t add = visible & ~kept;
    uint64_t change = given | changed_since(entities, word, kept, member, patch) |
                      private_since(entities, word, kept & own, member);
    diff->sets[SECTION_GONE][word] = gone;
    diff->sets[SECTION_HIDDEN][word] = hidden;
    uint64_t fresh = created_since(entities, word, add, member, patch);
    diff->sets[SECTION_NEW][word] = fresh;
    diff->sets[SECTION_SEEN][word] = add & ~fresh;
    diff->sets[SECTION_CHANGE][word] = change;
    sight->has[word] = visible;
    return gone | hidden | add | change;
}

bool patch_settle(struct sync_state *state, struct member *member, uint32_t index) {
    struct state_table *table = &state->tables[index];
    struct sight *sight = &member->sights[index];
    struct diff *diff = &table->diff;
    uint64_t any = 0;
    memset(diff->counts, 0, sizeof(diff->counts));
    for (uint32_t word = 0; word < table->entities.words; word++) {
        uint64_t changed = settle_word(table, sight, member, word, state->patch);
        any |= changed;
        for (int i = 0; changed && i < SECTIONS; i++) {
            if (diff->sets[i][word]) {
                diff->counts[i] += (uint32_t)__builtin_popcountll(diff->sets[i][word]);
            }
        }
    }
    return any != 0;
}

/* Writing. */

enum privacy patch_privacy(const struct entities *entities, const struct member *member,
                           const struct sight *sight, uint32_t number, bool adds) {
    bool own = bit_is(sight->own, number);
    bool mine = !adds && bit_is(sight->mine, number);
    if (own != mine) {
        return own ? PRIVATE_ANEW : PRIVATE_LOST;
    }
    return own && entities->private_changed[number] > member->last ? PRIVATE_CHANGED
                                                                   : PRIVATE_KNOWN;
}

/* Private fields, behind an entry's public ones, whose mask is at `mask`. */
static void write_private(struct entities *entities, const struct member *member,
                          uint32_t number, enum privacy privacy, size_t mask,
                          struct bytes *to) {
    if (privacy == PRIVATE_KNOWN || to->failed) {
        return;
    }
    to->at[mask] |= 1;
    if (privacy == PRIVATE_LOST) {
        uint32_t count = entities->field_count - entities->public_count;
        for (uint32_t i = 0; i <= count / 8; i++) {
            bytes_byte(to, 0);
        }
        return;
    }
    entities_write_private(entities, number, privacy == PRIVATE_ANEW ? 0 : member->last,
                           false, false, to);
}

void patch_public(struct sync_state *state, struct entities *entities,
                  const struct member *member, uint32_t number, bool adds, bool json,
                  struct bytes *to) {
    if (!adds && member->last != state->patch - 1) {
        entities_write(entities, number, member->last, json, to);
        return;
    }
    enum run_kind kind = (enum run_kind)((json ? RUN_JSON_CHANGE : RUN_CHANGE) + adds);
    const struct run *run = entities_run(entities, number, kind, state->patch);
    if (!run) {
        to->failed = true;
    } else if (bytes_room(to, run->length + RUN_SLACK)) {
        to->length =
            (size_t)(entities_copy_run(entities, run, to->at + to->length) - to->at);
    }
}

static void write_entry(struct sync_state *state, struct state_table *table,
                        const struct member *member, const struct sight *sight,
                        uint32_t number, bool adds) {
    struct bytes *to = &state->message;
    struct entities *entities = &table->entities;
    if (adds) {
        entities_write_key(entities, number, false, to);
    }
    size_t mask = to->length;
    patch_public(state, entities, member, number, adds, false, to);
    if (sight->own || !adds) {
        write_private(entities, member, number,
                      patch_privacy(entities, member, sight, number, adds), mask, to);
    }
}

/* The entries of what has changed, for a member that is up to date: most of what is done
 * for a state is done here, so what is private is looked at only where something may be.
 */
static void copy_changes(struct sync_state *state, struct state_table *table,
                         const struct member *member, const struct sight *sight) {
    struct bytes *to = &state->message;
    struct entities *entities = &table->entities;
    uint32_t expected = 0;
    for (uint32_t word = 0; word < entities->words; word++) {
        uint64_t own = sight->mine[word] | (sight->own ? sight->own[word] : 0);
        for (uint64_t left = table->diff.sets[SECTION_CHANGE][word]; left;
             left &= left - 1) {
            uint32_t number = word * 64 + (uint32_t)__builtin_ctzll(left);
            const struct run *run =
                entities_run(entities, number, RUN_CHANGE, state->patch);
            if (!run || !bytes_room(to, VARINT_MOST + run->length + RUN_SLACK)) {
                to->failed = true;
                return;
            }
            char *at = varint_write(to->at + to->length, number - expected);
            size_t mask = (size_t)(at - to->at);
            to->length = (size_t)(entities_copy_run(entities, run, at) - to->at);
            expected = number + 1;
            if (own & left & -left) {
                write_private(entities, member, number,
                              patch_privacy(entities, member, sight, number, false), mask,
                              to);
            }
        }
    }
}

static void write_section(struct sync_state *state, uint32_t index,
                          const struct member *member, enum section section) {
    struct state_table *table = &state->tables[index];
    struct bytes *to = &state->message;
    uint32_t expected = 0; /* the number whose entry would begin with 0 */
    bytes_varint(to, SECTION_KINDS * index + (uint32_t)section);
    bytes_varint(to, table->diff.counts[section]);
    if (section == SECTION_CHANGE && member->last == state->patch - 1) {
        copy_changes(state, table, member, &member->sights[index]);
        return;
    }
    for (uint32_t number = bits_next(table->diff.sets[section], table->entities.words, 0);
         number != BITS_END; number = bits_next(table->diff.sets[section],
                                                table->entities.words, number + 1)) {
        bytes_varint(to, number - expected);
        expected = (uint32_t)number + 1;
        if (section >= SECTION_NEW) {
            write_entry(state, table, member, &member->sights[index], (uint32_t)number,
                        section != SECTION_CHANGE);
        }
    }
}

/* Whether a diff is that of the member before, and nothing in it is private for either.
 */
static bool is_same(const struct sync_state *state, const struct state_table *table) {
    if (table->same_patch != state->patch ||
        memcmp(table->diff.counts, table->same.counts, sizeof(table->same.counts)) != 0) {
        return false;
    }
    for (int i = 0; i < SECTIONS; i++) {
        if (memcmp(table->diff.sets[i], table->same.sets[i],
                   table->entities.words * sizeof(uint64_t)) != 0) {
            return false;
        }
    }
    return true;
}

static void keep_same(const struct sync_state *state, struct state_table *table,
                      size_t begin) {
    memcpy(table->same.counts, table->diff.counts, sizeof(table->same.counts));
    for (int i = 0; i < SECTIONS; i++) {
        memcpy(table->same.sets[i], table->diff.sets[i],
               table->entities.words * sizeof(uint64_t));
    }
    table->same_bytes.length = 0;
    bytes_put(&table->same_bytes, state->message.at + begin,
              state->message.length - begin);
    table->same_patch = table->same_bytes.failed ? 0 : state->patch;
}

/* Whether what all get of a table is also what this member gets. */
static bool is_common(const struct sync_state *state, const struct member *member,
                      uint32_t index) {
    const struct state_table *table = &state->tables[index];
    const struct sight *sight = &member->sights[index];
    if (table->sees != SYNC_SEES_ALL || member->last != state->patch - 1) {
        return false;
    }
    for (uint32_t word = 0; word < table->entities.words; word++) {
        uint64_t own = (sight->own ? sight->own[word] : 0) | sight->mine[word];
        uint64_t adding =
            table->diff.sets[SECTION_NEW][word] | table->diff.sets[SECTION_SEEN][word];
        uint64_t told = adding | table->diff.sets[SECTION_CHANGE][word];
        for (uint64_t left = own & told; left; left &= left - 1) {
            uint32_t number = word * 64 + (uint32_t)__builtin_ctzll(left);
            bool adds = adding & left & -left;
            if (patch_privacy(&table->entities, member, sight, number, adds) !=
                PRIVATE_KNOWN) {
                return false;
            }
        }
    }
    return true;
}

static void write_table(struct sync_state *state, const struct member *member,
                        uint32_t index) {
    struct state_table *table = &state->tables[index];
    if (table->words == 0) {
        return;
    }
    bool common = is_common(state, member, index);
    size_t begin = state->message.length;
    if (common && is_same(state, table)) {
        bytes_put(&state->message, table->same_bytes.at, table->same_bytes.length);
        return;
    }
    for (int i = 0; i < SECTIONS; i++) {
        if (table->diff.counts[i] > 0) {
            write_section(state, index, member, (enum section)i);
        }
    }
    if (common && !state->message.failed) {
        keep_same(state, table, begin);
    }
}

static void write_binary(struct sync_state *state, const struct member *member,
                         double tick) {
    struct bytes *to = &state->message;
    bytes_byte(to, MARK);
    bytes_byte(to, member->renew ? FLAG_SNAPSHOT : 0);
    bytes_varint(to, state->room);
    bytes_varint(to, state->epoch);
    bytes_varint(to, (uint64_t)tick);
    bytes_varint(to, (uint64_t)member->input);
    for (uint32_t i = 0; i < state->table_count; i++) {
        write_table(state, member, i);
    }
}

/* AMF3: the length of a ByteArray is an integer of 29 bits, of which the lowest bit says
 * that it is no reference; in groups of 7, most significant first, the last of 8. */
static void write_integer(struct bytes *to, uint32_t value) {
    if (value >= 1 << 21) {
        bytes_byte(to, value >> 22 | 128);
        bytes_byte(to, (value >> 15 & 127) | 128);
        bytes_byte(to, (value >> 8 & 127) | 128);
        bytes_byte(to, value & 255);
        return;
    }
    if (value >= 1 << 14) {
        bytes_byte(to, value >> 14 | 128);
    }
    if (value >= 1 << 7) {
        bytes_byte(to, (value >> 7 & 127) | 128);
    }
    bytes_byte(to, value & 127);
}

/* Puts the envelope around a binary message. */
static void write_envelope(struct sync_state *state) {
    struct bytes inner = state->message;
    struct bytes to = {0};
    bytes_put(&to, state->envelope, state->envelope_head);
    write_integer(&to, (uint32_t)inner.length << 1 | 1);
    bytes_put(&to, inner.at, inner.length);
    bytes_put(&to, state->envelope + state->envelope_head,
              state->envelope_length - state->envelope_head);
    to.failed = to.failed || inner.failed || inner.length >= 1 << 28;
    bytes_free(&inner);
    state->message = to;
}

void patch_write(struct sync_state *state, const struct member *member, double tick) {
    write_binary(state, member, tick);
    if (member->form == SYNC_FORM_AMF3) {
        write_envelope(state);
    }
}
