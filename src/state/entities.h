/* entities.h: one table of a state: its entities, what is known of them to have been
 * sent, and how they are written.
 *
 * An entity's numbers are in a struct of Lua's, of which this has the address until the
 * entity is removed. `entities_compare` reads them once a patch; from then on all that is
 * written comes from `sent` and `blobs`: as sent they are kept, so what changes by less
 * than the wire can tell has not changed. Each field has the number of the patch that it
 * has last changed in, so what has changed since any patch can be written without a
 * history.
 */
#pragma once

#include "state/bits.h"
#include "state/type.h"

enum { MOST_ENTITIES = 1 << 20, MOST_FIELDS = 250 };

/* How an entity may be written, once for all members. */
enum run_kind { RUN_CHANGE, RUN_ADD, RUN_JSON_CHANGE, RUN_JSON_ADD, RUN_KINDS };

struct field {
    struct type type;
    char *code;
    char *name; /* as JSON, with a colon behind it */
    uint32_t name_length;
    uint32_t offset; /* in the struct, of a number */
    uint32_t place;  /* among numbers, or among blobs */
    bool saturated;  /* a value was out of range */
    bool told;       /* and that was told */
};

/* What is no number. */
struct blob {
    char *at;
    uint32_t length;
};

struct key {
    int64_t number;
    char *text;
    uint32_t length;
};

struct run {
    uint32_t patch; /* in which it was written */
    uint32_t offset;
    uint32_t length;
};

struct entities {
    char *name; /* as JSON, with a colon behind it */
    uint32_t name_length;
    uint8_t keys;
    uint32_t most;     /* entities */
    size_t most_bytes; /* of blobs and keys */
    size_t bytes;

    struct field *fields; /* the private ones are last */
    uint32_t field_count;
    uint32_t public_count;
    uint32_t number_count;
    uint32_t blob_count;

    uint32_t capacity; /* a multiple of 64 */
    uint32_t words;
    uint32_t count;
    uint32_t first_free; /* no lower number is free */

    /* By an entity's number. */
    const char **at;
    struct key *entity_keys;
    uint64_t *sent;     /* number_count each */
    struct blob *blobs; /* blob_count each */
    uint32_t *changed;  /* field_count each: the patch */
    uint32_t *created;  /* in this patch */
    uint32_t *public_changed;
    uint32_t *private_changed;
    uint32_t *owner; /* a member's number, or 0 */
    struct run *runs[RUN_KINDS];

    /* Sets. */
    uint64_t *live;
    uint64_t *fresh; /* created in this patch */
    uint64_t *dirty; /* with a public field that has changed in this patch */

    struct bytes written; /* the runs of this patch */
};

void entities_free(struct entities *entities);

/* Declares a field; public ones first. Returns its place, or a negative error code. */
int32_t entities_declare(struct entities *entities, const char *name, size_t name_length,
                         bool is_private, uint32_t offset, const char *code,
                         size_t code_length);

/* Adds an entity whose struct is at an address, with a key. Returns its number, or
 * -ENOMEM, or -ENOSPC where there are as many as may be. The memory of sets that others
 * have must grow with `capacity`. */
int32_t entities_add(struct entities *entities, const void *at, double key,
                     const char *text, size_t length, uint32_t patch);
void entities_remove(struct entities *entities, uint32_t number);

/* The same with a number that is free, for a copy of a table. Returns 0 or those. */
int32_t entities_add_as(struct entities *entities, uint32_t number, const void *at,
                        double key, const char *text, size_t length, uint32_t patch);

/* A field has changed in a patch. */
void entities_mark(struct entities *entities, uint32_t number, uint32_t field,
                   uint32_t patch);

/* Sets a field that is no number. Returns 0, -EINVAL for what is no such field, entity or
 * value, -ENOSPC beyond the bound of bytes, or -ENOMEM. */
int32_t entities_put(struct entities *entities, uint32_t number, uint32_t field,
                     const char *value, size_t length, uint32_t patch);

/* Looks for what has changed in numbers. Returns whether one was saturated in a field of
 * which that wasn't told. */
bool entities_compare(struct entities *entities, uint32_t patch);

/* Forgets what is of this patch alone. */
void entities_end_patch(struct entities *entities);

static inline bool entities_has(const struct entities *entities, uint32_t number) {
    return number < entities->capacity && bit_is(entities->live, number);
}

/* The public fields of an entity, as they are written for all who have what was sent
 * until the patch before. NULL when memory ran out. */
const struct run *entities_make_run(struct entities *entities, uint32_t number,
                                    enum run_kind kind, uint32_t patch);

static inline const struct run *entities_run(struct entities *entities, uint32_t number,
                                             enum run_kind kind, uint32_t patch) {
    const struct run *run = &entities->runs[kind][number];
    return run->patch == patch ? run : entities_make_run(entities, number, kind, patch);
}

/* Copies a run to where there is room for it and RUN_SLACK bytes: a short one, which most
 * are, at once. Returns what is behind. */
enum { RUN_SLACK = 16 };
static inline char *entities_copy_run(const struct entities *entities,
                                      const struct run *run, char *at) {
    const char *from = entities->written.at + run->offset;
    if (run->length <= RUN_SLACK) {
        memcpy(at, from, RUN_SLACK);
    } else {
        memcpy(at, from, run->length);
    }
    return at + run->length;
}

/* The same for one that has what was sent until the patch `since`. */
void entities_write(struct entities *entities, uint32_t number, uint32_t since, bool json,
                    struct bytes *to);

/* The private fields of an entity that have changed since a patch, or with 0 all that
 * aren't at their defaults, for the member whose own it is; as JSON without braces,
 * behind others if `comma`. */
void entities_write_private(struct entities *entities, uint32_t number, uint32_t since,
                            bool json, bool comma, struct bytes *to);

void entities_write_key(const struct entities *entities, uint32_t number, bool json,
                        struct bytes *to);
