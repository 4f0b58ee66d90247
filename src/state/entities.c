/* entities.c: one table of a state. */
#include "state/entities.h"

#include <errno.h>
#include <stdlib.h>

enum { FIRST_CAPACITY = 64 };

/* Declaring. */

/* A name as JSON, with a colon behind it. */
static char *name_of(const char *name, size_t name_length, uint32_t *length) {
    struct bytes bytes = {0};
    bytes_json(&bytes, name, name_length);
    bytes_byte(&bytes, ':');
    *length = (uint32_t)bytes.length;
    if (bytes.failed) {
        bytes_free(&bytes);
    }
    return bytes.at;
}

int32_t entities_declare(struct entities *entities, const char *name, size_t name_length,
                         bool is_private, uint32_t offset, const char *code,
                         size_t code_length) {
    struct field *field = &entities->fields[entities->field_count];
    bool late = !is_private && entities->public_count < entities->field_count;
    if (entities->field_count == MOST_FIELDS || entities->capacity > 0 || late ||
        code_length == 0 || code_length > UINT16_MAX) {
        return -EINVAL;
    }
    *field = (struct field){.offset = offset};
    field->code = malloc(code_length);
    field->name = name_of(name, name_length, &field->name_length);
    if (!field->code || !field->name) {
        free(field->code);
        free(field->name);
        return -ENOMEM;
    }
    memcpy(field->code, code, code_length);
    if (type_read(&field->type, field->code, (uint32_t)code_length) != code_length ||
        field->type.kind == TYPE_RECORD) {
        free(field->code);
        free(field->name);
        return -EINVAL;
    }
    field->place =
        type_is_number(&field->type) ? entities->number_count++ : entities->blob_count++;
    entities->public_count += !is_private;
    return (int32_t)entities->field_count++;
}

void entities_free(struct entities *entities) {
    for (uint32_t i = 0; i < entities->field_count; i++) {
        free(entities->fields[i].code);
        free(entities->fields[i].name);
    }
    for (uint32_t i = 0; i < entities->capacity; i++) {
        free(entities->entity_keys[i].text);
    }
    for (uint32_t i = 0; i < entities->capacity * entities->blob_count; i++) {
        free(entities->blobs[i].at);
    }
    for (int i = 0; i < RUN_KINDS; i++) {
        free(entities->runs[i]);
    }
    free(entities->name);
    free(entities->fields);
    free(entities->at);
    free(entities->entity_keys);
    free(entities->sent);
    free(entities->blobs);
    free(entities->changed);
    free(entities->created);
    free(entities->public_changed);
    free(entities->private_changed);
    free(entities->owner);
    free(entities->live);
    free(entities->fresh);
    free(entities->dirty);
    bytes_free(&entities->written);
}

/* Growing. */

/* Makes an array larger, what is new in it being 0. Returns false when memory ran out. */
static bool grow(void *array, size_t before, size_t after, size_t size) {
    void *old;
    memcpy(&old, array, sizeof(old));
    if (size == 0) {
        return true;
    }
    char *grown = realloc(old, after * size);
    if (!grown) {
        return false;
    }
    memset(grown + before * size, 0, (after - before) * size);
    memcpy(array, &grown, sizeof(grown));
    return true;
}

static bool grow_all(struct entities *e, uint32_t after) {
    uint32_t before = e->capacity;
    size_t words = before / 64;
    bool good = grow(&e->at, before, after, sizeof(*e->at)) &&
                grow(&e->entity_keys, before, after, sizeof(*e->entity_keys)) &&
                grow(&e->sent, before, after, e->number_count * sizeof(*e->sent)) &&
                grow(&e->blobs, before, after, e->blob_count * sizeof(*e->blobs)) &&
                grow(&e->changed, before, after, e->field_count * sizeof(*e->changed)) &&
                grow(&e->created, before, after, sizeof(*e->created)) &&
                grow(&e->public_changed, before, after, sizeof(*e->public_changed)) &&
                grow(&e->private_changed, before, after, sizeof(*e->private_changed)) &&
                grow(&e->owner, before, after, sizeof(*e->owner)) &&
                grow(&e->live, words, after / 64, sizeof(*e->live)) &&
                grow(&e->fresh, words, after / 64, sizeof(*e->fresh)) &&
                grow(&e->dirty, words, after / 64, sizeof(*e->dirty));
    for (int i = 0; good && i < RUN_KINDS; i++) {
        good = grow(&e->runs[i], before, after, sizeof(*e->runs[i]));
    }
    if (good) {
        e->capacity = after;
        e->words = after / 64;
    }
    return good;
}

/* The lowest number that is free, or UINT32_MAX. */
static uint32_t lowest_free(struct entities *entities) {
    for (uint32_t word = entities->first_free / 64; word < entities->words; word++) {
        if (~entities->live[word]) {
            return word * 64 + (uint32_t)__builtin_ctzll(~entities->live[word]);
        }
    }
    return UINT32_MAX;
}

/* Entities. */

static bool set_key(struct entities *entities, struct key *key, double number,
                    const char *text, size_t length) {
    *key = (struct key){.number = (int64_t)number, .length = (uint32_t)length};
    if (entities->keys != KEYS_STRING || length == 0) {
        return true;
    }
    key->text = malloc(length);
    if (!key->text) {
        return false;
    }
    memcpy(key->text, text, length);
    entities->bytes += length;
    return true;
}

int32_t entities_add(struct entities *entities, const void *at, double key,
                     const char *text, size_t length, uint32_t patch) {
    uint32_t number = lowest_free(entities);
    if (number == UINT32_MAX) {
        number = entities->capacity;
    }
    int32_t code = entities_add_as(entities, number, at, key, text, length, patch);
    if (code < 0) {
        return code;
    }
    entities->first_free = number + 1;
    return (int32_t)number;
}

int32_t entities_add_as(struct entities *entities, uint32_t number, const void *at,
                        double key, const char *text, size_t length, uint32_t patch) {
    if (entities->count >= entities->most ||
        length > entities->most_bytes - entities->bytes) {
        return -ENOSPC;
    }
    uint32_t capacity = entities->capacity ? entities->capacity : FIRST_CAPACITY;
    while (capacity <= number) {
        capacity *= 2;
    }
    if (capacity > entities->capacity && !grow_all(entities, capacity)) {
        return -ENOMEM;
    }
    if (!set_key(entities, &entities->entity_keys[number], key, text, length)) {
        return -ENOMEM;
    }
    entities->at[number] = at;
    entities->created[number] = patch;
    entities->public_changed[number] = patch;
    entities->private_changed[number] = patch;
    entities->owner[number] = 0;
    for (uint32_t i = 0; i < entities->field_count; i++) {
        entities->changed[number * entities->field_count + i] = patch;
    }
    /* The numbers of a copy's patches go back when its home is another. */
    for (int kind = 0; kind < RUN_KINDS; kind++) {
        entities->runs[kind][number].patch = 0;
    }
    bit_set(entities->live, number);
    bit_set(entities->fresh, number);
    entities->count++;
    if (number == entities->first_free) {
        entities->first_free = number + 1;
    }
    return 0;
}

void entities_remove(struct entities *entities, uint32_t number) {
    if (!entities_has(entities, number)) {
        return;
    }
    struct key *key = &entities->entity_keys[number];
    if (key->text) {
        entities->bytes -= key->length;
        free(key->text);
        key->text = NULL;
    }
    for (uint32_t i = 0; i < entities->blob_count; i++) {
        struct blob *blob = &entities->blobs[number * entities->blob_count + i];
        entities->bytes -= blob->length;
        free(blob->at);
        *blob = (struct blob){0};
    }
    entities->at[number] = NULL;
    entities->owner[number] = 0;
    bit_clear(entities->live, number);
    bit_clear(entities->fresh, number);
    bit_clear(entities->dirty, number);
    entities->count--;
    if (number < entities->first_free) {
        entities->first_free = number;
    }
}

void entities_mark(struct entities *entities, uint32_t number, uint32_t field,
                   uint32_t patch) {
    entities->changed[number * entities->field_count + field] = patch;
    if (field < entities->public_count) {
        entities->public_changed[number] = patch;
        bit_set(entities->dirty, number);
    } else {
        entities->private_changed[number] = patch;
    }
}

int32_t entities_put(struct entities *entities, uint32_t number, uint32_t field,
                     const char *value, size_t length, uint32_t patch) {
    if (!entities_has(entities, number) || field >= entities->field_count ||
        length > INT32_MAX ||
        !type_fits(&entities->fields[field].type, value, (uint32_t)length)) {
        return -EINVAL;
    }
    const struct field *of = &entities->fields[field];
    struct blob *blob = &entities->blobs[number * entities->blob_count + of->place];
    if (of->type.kind != TYPE_STRING && value[0] == 0) {
        length = 0; /* an empty list is kept as one that was never set */
    }
    if (length == blob->length && (length == 0 || memcmp(blob->at, value, length) == 0)) {
        return 0;
    }
    if (entities->bytes - blob->length + length > entities->most_bytes) {
        return -ENOSPC;
    }
    char *at = length > 0 ? realloc(blob->at, length) : NULL;
    if (length > 0 && !at) {
        return -ENOMEM;
    }
    if (length > 0) {
        memcpy(at, value, length);
    } else {
        free(blob->at);
    }
    entities->bytes += length - blob->length;
    *blob = (struct blob){at, (uint32_t)length};
    entities_mark(entities, number, field, patch);
    return 0;
}

static double read_slot(const struct field *field, const char *at) {
    double value;
    if (field->type.kind == TYPE_BOOL) {
        return at[field->offset] != 0;
    }
    memcpy(&value, at + field->offset, sizeof(value));
    return value;
}

bool entities_compare(struct entities *entities, uint32_t patch) {
    bool saturated = false;
    for (uint32_t number = bits_next(entities->live, entities->words, 0);
         number != BITS_END;
         number = bits_next(entities->live, entities->words, number + 1)) {
        const char *at = entities->at[number];
        uint64_t *sent = &entities->sent[number * entities->number_count];
        for (uint32_t i = 0; i < entities->field_count; i++) {
            struct field *field = &entities->fields[i];
            if (!type_is_number(&field->type)) {
                continue;
            }
            uint64_t now =
                type_encode(&field->type, read_slot(field, at), &field->saturated);
            if (now != sent[field->place]) {
                sent[field->place] = now;
                entities_mark(entities, (uint32_t)number, i, patch);
            }
        }
    }
    for (uint32_t i = 0; i < entities->field_count; i++) {
        saturated |= entities->fields[i].saturated && !entities->fields[i].told;
    }
    return saturated;
}

void entities_end_patch(struct entities *entities) {
    if (entities->words > 0) {
        memset(entities->fresh, 0, entities->words * sizeof(*entities->fresh));
        memset(entities->dirty, 0, entities->words * sizeof(*entities->dirty));
    }
    entities->written.length = 0;
    entities->written.failed = false;
}

/* Writing. */

static const struct blob *blob_of(const struct entities *entities, uint32_t number,
                                  const struct field *field) {
    return &entities->blobs[number * entities->blob_count + field->place];
}

static uint64_t number_of(const struct entities *entities, uint32_t number,
                          const struct field *field) {
    return entities->sent[number * entities->number_count + field->place];
}

/* Whether a field must be said: since is the last patch that is known, 0 for none. */
static bool is_due(const struct entities *entities, uint32_t number, uint32_t i,
                   uint32_t since) {
    const struct field *field = &entities->fields[i];
    if (since > 0) {
        return entities->changed[number * entities->field_count + i] > since;
    }
    return type_is_number(&field->type) ? number_of(entities, number, field) != 0
                                        : blob_of(entities, number, field)->length > 0;
}

static void write_value(const struct entities *entities, uint32_t number,
                        const struct field *field, struct bytes *to) {
    if (type_is_number(&field->type)) {
        type_write(&field->type, number_of(entities, number, field), to);
    } else {
        const struct blob *blob = blob_of(entities, number, field);
        type_write_value(&field->type, blob->at, blob->length, to);
    }
}

static void write_json(const struct entities *entities, uint32_t number,
                       const struct field *field, struct bytes *to) {
    bytes_put(to, field->name, field->name_length);
    if (type_is_number(&field->type)) {
        type_json(&field->type, number_of(entities, number, field), to);
    } else {
        const struct blob *blob = blob_of(entities, number, field);
        type_json_value(&field->type, blob->at, blob->length, to);
    }
}

/* A mask, bit 0 unset, and values. */
static void write_fields(const struct entities *entities, uint32_t number, uint32_t first,
                         uint32_t end, uint32_t since, struct bytes *to) {
    size_t size = (end - first) / 8 + 1;
    size_t mask = to->length;
    if (!bytes_room(to, size)) {
        return;
    }
    memset(to->at + mask, 0, size);
    to->length += size;
    for (uint32_t i = first; i < end; i++) {
        if (is_due(entities, number, i, since)) {
            uint32_t bit = i - first + 1;
            write_value(entities, number, &entities->fields[i], to);
            to->at[mask + bit / 8] = (char)(to->at[mask + bit / 8] | 1 << bit % 8);
        }
    }
}

static void write_json_fields(const struct entities *entities, uint32_t number,
                              uint32_t first, uint32_t end, uint32_t since, bool comma,
                              struct bytes *to) {
    for (uint32_t i = first; i < end; i++) {
        if (is_due(entities, number, i, since)) {
            if (comma) {
                bytes_byte(to, ',');
            }
            comma = true;
            write_json(entities, number, &entities->fields[i], to);
        }
    }
}

void entities_write(struct entities *entities, uint32_t number, uint32_t since, bool json,
                    struct bytes *to) {
    if (json) {
        write_json_fields(entities, number, 0, entities->public_count, since, false, to);
    } else {
        write_fields(entities, number, 0, entities->public_count, since, to);
    }
}

void entities_write_private(struct entities *entities, uint32_t number, uint32_t since,
                            bool json, bool comma, struct bytes *to) {
    uint32_t first = entities->public_count;
    size_t mask = to->length;
    if (json) {
        write_json_fields(entities, number, first, entities->field_count, since, comma,
                          to);
        return;
    }
    write_fields(entities, number, first, entities->field_count, since, to);
    if (!to->failed) {
        to->at[mask] |= 1;
    }
}

const struct run *entities_make_run(struct entities *entities, uint32_t number,
                                    enum run_kind kind, uint32_t patch) {
    struct run *run = &entities->runs[kind][number];
    bool adds = kind == RUN_ADD || kind == RUN_JSON_ADD;
    bool json = kind == RUN_JSON_CHANGE || kind == RUN_JSON_ADD;
    struct bytes *to = &entities->written;
    size_t offset = to->length;
    entities_write(entities, number, adds ? 0 : patch - 1, json, to);
    size_t length = to->length - offset;
    if (bytes_room(to, RUN_SLACK)) { /* a copy may read so much more */
        memset(to->at + to->length, 0, RUN_SLACK);
    }
    if (to->failed || to->length > UINT32_MAX) {
        return NULL;
    }
    *run = (struct run){patch, (uint32_t)offset, (uint32_t)length};
    return run;
}

void entities_write_key(const struct entities *entities, uint32_t number, bool json,
                        struct bytes *to) {
    const struct key *key = &entities->entity_keys[number];
    if (json && entities->keys == KEYS_INTEGER) {
        bytes_number(to, (double)key->number, 17, 17, false);
    } else if (json) {
        bytes_json(to, key->text, key->length);
    } else if (entities->keys == KEYS_INTEGER) {
        bytes_varint(to, zigzag(key->number));
    } else if (entities->keys == KEYS_STRING) {
        bytes_varint(to, key->length);
        bytes_put(to, key->text, key->length);
    }
}
