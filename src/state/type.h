/* type.h: what a field may hold, and how that is written.
 *
 * A type is a *code*, bytes that Lua makes of a declaration (lua/sync/state/type.lua):
 *
 *     TYPE_BOOL … TYPE_STRING          alone
 *     TYPE_FIXED min max step          three doubles
 *     TYPE_LIST code                   of the elements
 *     TYPE_MAP keys code               keys: KEYS_INTEGER or KEYS_STRING
 *     TYPE_RECORD count (length name code)…
 *
 * Numbers are kept as they are sent: 64 bits, of which the type knows the meaning. All
 * else is kept in the binary form of docs/state.md, but for a string that is a field,
 * which is kept without its length.
 */
#pragma once

#include "state/reader.h"

enum type_kind {
    TYPE_BOOL,
    TYPE_INT8,
    TYPE_UINT8,
    TYPE_INT16,
    TYPE_UINT16,
    TYPE_INT32,
    TYPE_UINT32,
    TYPE_FLOAT32,
    TYPE_FLOAT64,
    TYPE_FIXED,
    TYPE_STRING, /* from here on no numbers */
    TYPE_LIST,
    TYPE_MAP,
    TYPE_RECORD
};

enum keys { KEYS_NONE, KEYS_INTEGER, KEYS_STRING };

enum {
    TYPE_DEPTH = 3,   /* a list of records of numbers */
    TYPE_NUMBERS = 24 /* bytes of a fixed type's numbers */
};

struct type {
    const char *code;
    uint32_t length;
    uint8_t kind;
    uint8_t width; /* bytes of a fixed one */
    double min;    /* the bounds of a number */
    double max;
    double step;
    double most; /* steps of a fixed one */
};

static inline bool type_is_number(const struct type *type) {
    return type->kind < TYPE_STRING;
}

/* Reads the type at the beginning of a code. Returns the code's bytes, or 0 for one that
 * is none. The code must live as long as the type. */
uint32_t type_read(struct type *type, const char *code, uint32_t length);

/* A number as it is sent. One that is out of range is saturated, and so is NaN, to the
 * default; then *saturated is set. */
uint64_t type_encode(const struct type *type, double value, bool *saturated);

/* Whether bytes are a value of this type, that of a field. */
bool type_fits(const struct type *type, const char *value, uint32_t length);

/* Read a number as it is kept, and the value of a field that is none, as type_write and
 * type_write_value have written them. Return false for what is none. */
bool type_read_number(const struct type *type, struct reader *from, uint64_t *number);
bool type_read_value(const struct type *type, struct reader *from, const char **value,
                     size_t *length);

/* Write a number, and the value of a field that is none. */
void type_write(const struct type *type, uint64_t number, struct bytes *to);
void type_write_value(const struct type *type, const char *value, uint32_t length,
                      struct bytes *to);
void type_json(const struct type *type, uint64_t number, struct bytes *to);
void type_json_value(const struct type *type, const char *value, uint32_t length,
                     struct bytes *to);
