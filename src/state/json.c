/* json.c: a patch in JSON: docs/state.md. */
#include "state/state.h"

static void json_member(struct bytes *to, const char *name, double value) {
    bytes_text(to, name);
    bytes_number(to, value, 17, 17, false);
}

static void json_entry(struct sync_state *state, struct state_table *table,
                       const struct member *member, const struct sight *sight,
                       uint32_t number, bool adds) {
    struct bytes *to = &state->message;
    struct entities *entities = &table->entities;
    enum privacy privacy = patch_privacy(entities, member, sight, number, adds);
    if (adds) {
        bytes_byte(to, ',');
        entities_write_key(entities, number, true, to);
    }
    bytes_text(to, ",{");
    size_t before = to->length;
    patch_public(state, entities, member, number, adds, true, to);
    if (privacy == PRIVATE_CHANGED || privacy == PRIVATE_ANEW) {
        entities_write_private(entities, number,
                               privacy == PRIVATE_ANEW ? 0 : member->last, true,
                               to->length > before, to);
    }
    bytes_text(to, privacy == PRIVATE_KNOWN  ? "}"
                   : privacy == PRIVATE_LOST ? "},false"
                                             : "},true");
}

static void json_table(struct sync_state *state, const struct member *member,
                       uint32_t index, enum section section) {
    struct state_table *table = &state->tables[index];
    struct bytes *to = &state->message;
    bool first = true;
    bytes_put(to, table->entities.name, table->entities.name_length);
    for (uint32_t number = bits_next(table->diff.sets[section], table->entities.words, 0);
         number != BITS_END; number = bits_next(table->diff.sets[section],
                                                table->entities.words, number + 1)) {
        bytes_text(to, first ? "[" : ",");
        first = false;
        bytes_text(to, section >= SECTION_NEW ? "[" : "");
        bytes_number(to, (double)number, 17, 17, false);
        if (section >= SECTION_NEW) {
            json_entry(state, table, member, &member->sights[index], (uint32_t)number,
                       section != SECTION_CHANGE);
            bytes_byte(to, ']');
        }
    }
    bytes_byte(to, ']');
}

static void json_section(struct sync_state *state, const struct member *member,
                         enum section section) {
    static const char *const names[] = {
        ",\"gone\":", ",\"hidden\":", ",\"new\":", ",\"seen\":", ",\"change\":"};
    struct bytes *to = &state->message;
    bool first = true;
    for (uint32_t i = 0; i < state->table_count; i++) {
        if (state->tables[i].diff.counts[section] > 0) {
            bytes_text(to, first ? names[section] : "");
            bytes_byte(to, first ? '{' : ',');
            first = false;
            json_table(state, member, i, section);
        }
    }
    bytes_text(to, first ? "" : "}");
}

void json_write(struct sync_state *state, const struct member *member, double tick) {
    struct bytes *to = &state->message;
    bytes_text(to, "{\"jsonrpc\":\"2.0\",\"method\":\"sync.patch\",\"params\":[{");
    json_member(to, "\"room\":", state->room);
    json_member(to, ",\"epoch\":", state->epoch);
    json_member(to, ",\"tick\":", tick);
    json_member(to, ",\"input\":", member->input);
    bytes_text(to, member->renew ? ",\"snapshot\":true" : "");
    for (int i = 0; i < SECTIONS; i++) {
        json_section(state, member, (enum section)i);
    }
    bytes_text(to, "}]}");
}
