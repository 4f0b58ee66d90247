/* type.c: codes of types, numbers as they are sent, and the walk over values. */
#include "state/type.h"

#include <float.h>
#include <math.h>

static const struct {
    double min;
    double max;
} bounds[] = {
    [TYPE_BOOL] = {0, 1},
    [TYPE_INT8] = {INT8_MIN, INT8_MAX},
    [TYPE_UINT8] = {0, UINT8_MAX},
    [TYPE_INT16] = {INT16_MIN, INT16_MAX},
    [TYPE_UINT16] = {0, UINT16_MAX},
    [TYPE_INT32] = {INT32_MIN, INT32_MAX},
    [TYPE_UINT32] = {0, UINT32_MAX},
    [TYPE_FLOAT32] = {-FLT_MAX, FLT_MAX},
    [TYPE_FLOAT64] = {-DBL_MAX, DBL_MAX},
};

static bool read_fixed(struct type *type, struct reader *code) {
    double numbers[3];
    if (code->end - code->at < TYPE_NUMBERS) {
        return false;
    }
    memcpy(numbers, code->at, sizeof(numbers));
    code->at += TYPE_NUMBERS;
    type->min = numbers[0];
    type->max = numbers[1];
    type->step = numbers[2];
    type->most = floor((type->max - type->min) / type->step + 0.5);
    type->width = type->most <= 0xFF       ? 1
                  : type->most <= 0xFFFF   ? 2
                  : type->most <= 0xFFFFFF ? 3
                                           : 4;
    return type->step > 0 && type->most >= 1 && type->most <= UINT32_MAX;
}

static bool read_code(struct type *type, struct reader *code, int depth);

static bool read_record(struct reader *code, int depth) {
    struct type field;
    if (code->at == code->end) {
        return false;
    }
    for (unsigned left = (unsigned char)*code->at++; left > 0; left--) {
        size_t name = code->at < code->end ? (unsigned char)*code->at + 1u : SIZE_MAX;
        if (name > (size_t)(code->end - code->at)) {
            return false;
        }
        code->at += name;
        if (!read_code(&field, code, depth)) {
            return false;
        }
    }
    return true;
}

static bool read_code(struct type *type, struct reader *code, int depth) {
    struct type inner;
    *type = (struct type){.code = code->at};
    if (depth == 0 || code->at == code->end) {
        return false;
    }
    type->kind = (uint8_t)*code->at++;
    bool good = true;
    if (type->kind < TYPE_FIXED) {
        type->min = bounds[type->kind].min;
        type->max = bounds[type->kind].max;
    } else if (type->kind == TYPE_FIXED) {
        good = read_fixed(type, code);
    } else if (type->kind == TYPE_LIST) {
        good = read_code(&inner, code, depth - 1);
    } else if (type->kind == TYPE_MAP) {
        bool keys = code->at < code->end &&
                    (*code->at == KEYS_INTEGER || *code->at == KEYS_STRING);
        code->at += keys;
        good = keys && read_code(&inner, code, depth - 1);
    } else if (type->kind == TYPE_RECORD) {
        good = read_record(code, depth - 1);
    } else {
        good = type->kind == TYPE_STRING;
    }
    type->length = (uint32_t)(code->at - type->code);
    return good;
}

uint32_t type_read(struct type *type, const char *code, uint32_t length) {
    struct reader reader = {code, code + length};
    return read_code(type, &reader, TYPE_DEPTH) ? type->length : 0;
}

/* Numbers. */

static uint64_t bits_of(double value) {
    uint64_t bits;
    value += 0.0; /* of two zeros, one */
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static uint64_t float_bits_of(double value) {
    uint32_t bits;
    float number = (float)value + 0.0F;
    memcpy(&bits, &number, sizeof(bits));
    return bits;
}

static double double_of(const struct type *type, uint64_t number) {
    double value;
    float single;
    uint32_t half = (uint32_t)number;
    switch (type->kind) {
    case TYPE_FLOAT32: memcpy(&single, &half, sizeof(single)); return single;
    case TYPE_FLOAT64: memcpy(&value, &number, sizeof(value)); return value;
    case TYPE_FIXED: return type->min + (double)number * type->step;
    default: return (double)(int64_t)number;
    }
}

uint64_t type_encode(const struct type *type, double value, bool *saturated) {
    if (!(value >= type->min && value <= type->max)) {
        *saturated = true;
        value = value > type->max          ? type->max
                : value < type->min        ? type->min
                : type->kind == TYPE_FIXED ? type->min
                                           : 0;
    }
    switch (type->kind) {
    case TYPE_FLOAT32: return float_bits_of(value);
    case TYPE_FLOAT64: return bits_of(value);
    case TYPE_FIXED:
        value = floor((value - type->min) / type->step + 0.5);
        return (uint64_t)(value < type->most ? value : type->most);
    default: return (uint64_t)(int64_t)floor(value + 0.5);
    }
}

void type_write(const struct type *type, uint64_t number, struct bytes *to) {
    static const uint8_t widths[] = {
        [TYPE_BOOL] = 1,   [TYPE_INT8] = 1,    [TYPE_UINT8] = 1,  [TYPE_INT16] = 2,
        [TYPE_UINT16] = 2, [TYPE_FLOAT32] = 4, [TYPE_FLOAT64] = 8};
    switch (type->kind) {
    case TYPE_INT32: bytes_varint(to, zigzag((int64_t)number)); break;
    case TYPE_UINT32: bytes_varint(to, number); break;
    case TYPE_FIXED: bytes_little(to, number, type->width); break;
    default: bytes_little(to, number, widths[type->kind]);
    }
}

void type_json(const struct type *type, uint64_t number, struct bytes *to) {
    double value = double_of(type, number);
    if (type->kind == TYPE_BOOL) {
        bytes_text(to, number ? "true" : "false");
    } else if (type->kind == TYPE_FLOAT32) {
        bytes_number(to, value, 6, 9, true);
    } else if (type->kind == TYPE_FLOAT64) {
        bytes_number(to, value, 15, 17, false);
    } else {
        bytes_number(to, value, 14, 14, false);
    }
}

/* Values. */

bool type_read_number(const struct type *type, struct reader *from, uint64_t *number) {
    bool good = true;
    switch (type->kind) {
    case TYPE_INT32:
        good = reader_varint(from, number);
        *number = (uint64_t)unzigzag(*number);
        break;
    case TYPE_UINT32: good = reader_varint(from, number); break;
    case TYPE_FIXED:
        return reader_little(from, type->width, number) && (double)*number <= type->most;
    case TYPE_INT8:
        good = reader_little(from, 1, number);
        *number = (uint64_t)(int64_t)(int8_t)*number;
        break;
    case TYPE_INT16:
        good = reader_little(from, 2, number);
        *number = (uint64_t)(int64_t)(int16_t)*number;
        break;
    case TYPE_UINT16: return reader_little(from, 2, number);
    case TYPE_FLOAT32: good = reader_little(from, 4, number); break;
    case TYPE_FLOAT64: good = reader_little(from, 8, number); break;
    default: good = reader_little(from, 1, number);
    }
    double value = good ? double_of(type, *number) : 0;
    return good && value >= type->min && value <= type->max;
}

/* The walk: reads a value, and writes it as JSON where `to` isn't NULL. Returns false for
 * what is no value of the type. */
static bool walk(const struct type *type, struct reader *from, struct bytes *to);

static void punctuate(struct bytes *to, const char *text) {
    if (to) {
        bytes_text(to, text);
    }
}

static bool walk_text(struct reader *from, struct bytes *to) {
    const char *text;
    size_t length;
    if (!reader_text(from, &text, &length)) {
        return false;
    }
    if (to) {
        bytes_json(to, text, length);
    }
    return true;
}

static bool walk_key(uint8_t keys, struct reader *from, struct bytes *to) {
    uint64_t number;
    if (keys == KEYS_STRING) {
        return walk_text(from, to);
    }
    if (!reader_varint(from, &number)) {
        return false;
    }
    if (to) {
        bytes_number(to, (double)unzigzag(number), 17, 17, false);
    }
    return true;
}

/* The elements of a list, or the pairs of a map. */
static bool walk_many(const struct type *type, uint8_t keys, struct reader *from,
                      struct bytes *to) {
    uint64_t count;
    if (!reader_varint(from, &count) || count > (uint64_t)(from->end - from->at)) {
        return false; /* each has a byte or more */
    }
    punctuate(to, "[");
    for (uint64_t i = 0; i < count; i++) {
        punctuate(to, i > 0 ? "," : "");
        punctuate(to, keys ? "[" : "");
        if (keys && !walk_key(keys, from, to)) {
            return false;
        }
        punctuate(to, keys ? "," : "");
        if (!walk(type, from, to)) {
            return false;
        }
        punctuate(to, keys ? "]" : "");
    }
    punctuate(to, "]");
    return true;
}

static bool walk_record(const struct type *type, struct reader *from, struct bytes *to) {
    const char *code = type->code + 2;
    const char *end = type->code + type->length;
    punctuate(to, "{");
    for (unsigned left = (unsigned char)type->code[1]; left > 0; left--) {
        struct type field;
        size_t name = (unsigned char)*code;
        if (to) {
            bytes_json(to, code + 1, name);
            bytes_byte(to, ':');
        }
        code += 1 + name;
        code += type_read(&field, code, (uint32_t)(end - code));
        if (!walk(&field, from, to)) {
            return false;
        }
        punctuate(to, left > 1 ? "," : "");
    }
    punctuate(to, "}");
    return true;
}

static bool walk(const struct type *type, struct reader *from, struct bytes *to) {
    struct type inner;
    uint64_t number;
    switch (type->kind) {
    case TYPE_STRING: return walk_text(from, to);
    case TYPE_LIST:
        type_read(&inner, type->code + 1, type->length - 1);
        return walk_many(&inner, KEYS_NONE, from, to);
    case TYPE_MAP:
        type_read(&inner, type->code + 2, type->length - 2);
        return walk_many(&inner, (uint8_t)type->code[1], from, to);
    case TYPE_RECORD: return walk_record(type, from, to);
    default:
        if (!type_read_number(type, from, &number)) {
            return false;
        }
        if (to) {
            type_json(type, number, to);
        }
        return true;
    }
}

bool type_fits(const struct type *type, const char *value, uint32_t length) {
    struct reader reader = {value, value + length};
    return type->kind == TYPE_STRING ||
           (!type_is_number(type) && walk(type, &reader, NULL) &&
            reader.at == reader.end);
}

bool type_read_value(const struct type *type, struct reader *from, const char **value,
                     size_t *length) {
    *value = from->at;
    if (type->kind == TYPE_STRING) {
        return reader_text(from, value, length);
    }
    bool good = walk(type, from, NULL);
    *length = (size_t)(from->at - *value);
    return good;
}

void type_write_value(const struct type *type, const char *value, uint32_t length,
                      struct bytes *to) {
    if (type->kind == TYPE_STRING) {
        bytes_varint(to, length);
    } else if (length == 0) {
        bytes_byte(to, 0); /* as many as were never set */
    }
    bytes_put(to, value, length);
}

void type_json_value(const struct type *type, const char *value, uint32_t length,
                     struct bytes *to) {
    struct reader reader = {value, value + length};
    if (type->kind == TYPE_STRING) {
        bytes_json(to, value, length);
    } else if (length == 0) {
        bytes_text(to, "[]");
    } else {
        walk(type, &reader, to);
    }
}
