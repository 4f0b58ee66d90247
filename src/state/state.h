/* state.h: the state of one room, and what its members see of it.
 *
 * A patch is made in three steps: sync_state_compare finds what has changed in Lua's
 * structs, state_write puts together the patch of one member, for as many as can take
 * one, and sync_state_end_patch goes on to the next. A member that could take none is
 * given what has changed since its last one: each field knows the patch of its last
 * change.
 *
 * Knows no connection: sync.c sends what is written.
 */
#pragma once

#include "state/entities.h"
#include "state/grid.h"
#include "sync.h"

enum { MOST_TABLES = 64, MOST_MEMBERS = 1 << 20 };

/* The kinds of sections, in their order. */
enum section { SECTION_GONE, SECTION_HIDDEN, SECTION_ADD, SECTION_CHANGE, SECTIONS };

/* What a member sees of a table: sets of entities, NULL for empty ones. */
struct sight {
    uint32_t words;
    uint64_t *has;    /* those that it was sent */
    uint64_t *mine;   /* of which it was told that they are its own */
    uint64_t *own;    /* those that are */
    uint64_t *shown;  /* whatever the rule says */
    uint64_t *hidden; /* the same, and before all others */
    uint64_t *asked;  /* those for which the function has said yes */
};

struct member {
    bool used;
    bool renew;   /* its next patch is a snapshot */
    bool looks;   /* at a place of its own */
    bool bounded; /* the sender's own: it has seen to the connection */
    uint8_t form;
    uint32_t slot; /* of its connection, 0: none */
    uint32_t last; /* the patch whose state it has */
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
    uint64_t *visible;
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
    char *envelope; /* of AMF3: what is around a ByteArray */
    uint32_t envelope_head;
    uint32_t envelope_length;
};

/* Writes the patch of a member, and counts it as sent. Returns NULL when there is nothing
 * to be sent, or memory ran out; then the next is a snapshot. */
const struct bytes *state_write(struct sync_state *state, struct member *member,
                                double tick);

/* see.c: what a member sees of a table now, into the table's `visible`. */
void see_table(const struct sync_state *state, const struct member *member,
               uint32_t index);

/* patch.c: what has changed for a member in a table since its last patch, into the
 * table's `diff`; it counts as sent. Returns whether something has. */
bool patch_settle(struct sync_state *state, struct member *member, uint32_t index);

/* Writes the diffs of all tables, into the state's message. */
void patch_write(struct sync_state *state, struct member *member, double tick);
