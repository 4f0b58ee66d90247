/* state.h: the state of one room, and what its members see of it.
 *
 * A patch is made in steps: sync_state_compare finds what has changed in Lua's structs,
 * state_write puts together the patch of one member, for as many as can take one,
 * sync_state_copy that of copies on other nodes, and sync_state_end_patch goes on to the
 * next. A member that could take none is given what has changed since its last one: each
 * field knows the patch of its last change. What a member sees is decided in each patch,
 * whether it takes one or not: so whoever writes its patches, here or where a copy is,
 * writes the same.
 *
 * Knows no connection: patches.c sends what is written.
 */
#pragma once

#include "state/entities.h"
#include "state/grid.h"
#include "sync.h"

enum { MOST_TABLES = 64, MOST_MEMBERS = 1 << 20 };

/* The kinds of sections, in their order. An entity that a member has not comes as new, or
 * as seen, when it was there in the member's last patch, but out of its sight. */
enum section {
    SECTION_GONE,
    SECTION_HIDDEN,
    SECTION_NEW,
    SECTION_SEEN,
    SECTION_CHANGE,
    SECTIONS
};
enum { SECTION_KINDS = 8 /* a table's sections begin with this, times its number */ };

/* What a member sees of a table: sets of entities, NULL for empty ones. */
struct sight {
    uint32_t words;
    uint64_t *sees;   /* those that it sees since the last patch */
    uint64_t *has;    /* those that it was sent */
    uint64_t *mine;   /* of which it was told that they are its own */
    uint64_t *own;    /* those that are */
    uint64_t *shown;  /* whatever the rule says */
    uint64_t *hidden; /* the same, and before all others */
    uint64_t *asked;  /* those for which the function has said yes */
    uint64_t *copied; /* of a member elsewhere: what copies have of `sight_choice` */
};

struct member {
    bool used;
    bool renew;   /* its next patch is a snapshot */
    bool looks;   /* at a place of its own */
    bool bounded; /* the sender's own: it has seen to the connection */
    uint8_t form;
    uint32_t slot;    /* of its connection, 0: none */
    uint32_t last;    /* the patch whose state it has */
    uint32_t seen;    /* the patch in which was decided what it sees */
    double id;        /* by which other nodes know one that is elsewhere; 0: it's here */
    double copied_id; /* by which copies know this number, also when it's another's now */
    double copied_input;
    double x;
    double y;
    double input;      /* the last that was taken */
    double input_sent; /* and that it was told */
    struct sight *sights;
};

/* What has changed for a member in a table, by kinds of sections. */
struct diff {
    uint64_t *sets[SECTIONS];
    uint32_t counts[SECTIONS];
};

struct state_table {
    struct entities entities;
    uint8_t sees; /* enum sync_sees */
    double near;
    double far;
    uint32_t x_offset;
    uint32_t y_offset;
    struct grid grid;
    uint32_t words; /* that the sets below have room for */
    uint64_t *near_set;
    uint64_t *copied;       /* the entities that copies have */
    uint32_t *copied_owner; /* by number: an owner that is elsewhere, or 0 */
    struct diff diff;
    /* The last sections that were written in this patch and that have nothing private, so
     * that others who get the same get a copy. */
    struct diff same;
    uint32_t same_patch;
    struct bytes same_bytes;
};

struct sync_state {
    uint32_t room;
    uint32_t epoch;
    uint32_t
        patch; /* that is made next, or being made; from 2 on, so that 1 is before all */
    uint32_t table_count;
    struct state_table *tables;
    uint32_t member_capacity;
    struct member *members; /* by number; 0 is nobody */
    struct bytes message;
    bool is_replica; /* a copy: what it has comes from sync_state_apply */
    bool is_lost;    /* a copy that needs a snapshot */
    bool copies;     /* the next patch for copies may go on from the last */
    bool wanted;     /* a snapshot for copies */
    double tick;     /* of the last patch that a copy was given */
    struct bytes copy;
    struct bytes snapshot;
    char *envelope; /* of AMF3: what is around a ByteArray */
    uint32_t envelope_head;
    uint32_t envelope_length;
};

/* Writes the patch of a member, and counts it as sent. Returns NULL when there is nothing
 * to be sent, or memory ran out; then the next is a snapshot. */
const struct bytes *state_write(struct sync_state *state, struct member *member,
                                double tick);

/* A member's number, or NULL. */
static inline struct member *state_member(const struct sync_state *state,
                                          uint32_t number) {
    struct member *member =
        number > 0 && number < state->member_capacity ? &state->members[number] : NULL;
    return member && member->used ? member : NULL;
}

/* The entities of a table, or NULL when that has none of the number. */
static inline struct entities *state_entities(struct sync_state *state, uint32_t table,
                                              uint32_t number) {
    bool has = table < state->table_count &&
               entities_has(&state->tables[table].entities, number);
    return has ? &state->tables[table].entities : NULL;
}

/* What copies must be told of a member's sight: what it sees, or where that is all, what
 * is hidden from it. NULL: nothing. */
static inline uint64_t **sight_choice(const struct state_table *table,
                                      struct sight *sight) {
    return table->sees == SYNC_SEES_ALL ? &sight->hidden : &sight->sees;
}

/* see.c: decides what a member sees in this patch, once. */
void state_see(const struct sync_state *state, struct member *member);

/* state.c: makes the sets of a table, and those of its members, as large as the table.
 * Returns false when memory ran out. */
bool state_grow_sets(struct sync_state *state, uint32_t index);

/* members.c: makes the array of members so long that it has a number. */
bool members_reserve(struct sync_state *state, uint32_t number);
/* Makes a place that is free a member. Returns false when memory ran out. */
bool members_begin(struct sync_state *state, uint32_t number, uint8_t form);
bool members_grow_set(uint64_t **set, uint32_t before, uint32_t after);
bool members_grow_sight(struct sight *sight, uint32_t words);
void members_free(struct sync_state *state);

/* patch.c: what has changed for a member in a table since its last patch, into the
 * table's `diff`; it counts as sent. Returns whether something has. */
bool patch_settle(struct sync_state *state, struct member *member, uint32_t index);

/* Whether what a member was told of an entity's private fields is what they are. */
enum privacy { PRIVATE_KNOWN, PRIVATE_CHANGED, PRIVATE_ANEW, PRIVATE_LOST };
enum privacy patch_privacy(const struct entities *entities, const struct member *member,
                           const struct sight *sight, uint32_t number, bool adds);

/* Public fields: those that all who are up to date get, or those that this one lacks. */
void patch_public(struct sync_state *state, struct entities *entities,
                  const struct member *member, uint32_t number, bool adds, bool json,
                  struct bytes *to);

/* Write the diffs of all tables, into the state's message; json.c: as JSON. */
void json_write(struct sync_state *state, const struct member *member, double tick);
void patch_write(struct sync_state *state, const struct member *member, double tick);
