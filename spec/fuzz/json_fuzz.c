/* json_fuzz.c: texts of JSON. What is read and written can be read again, and is then
 * written the same; every token lies where it may. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "sync.h"

enum { MOST_DEPTH = 64 };

static void put_token(struct sync_json *json, const struct sync_json_token *token) {
    switch ((enum sync_json_kind)token->kind) {
    case SYNC_JSON_NUMBER: sync_json_number(json, token->number); break;
    case SYNC_JSON_STRING: sync_json_string(json, token->text, token->length); break;
    case SYNC_JSON_KEY: sync_json_key(json, token->text, token->length); break;
    default: sync_json_put(json, token->kind);
    }
}

static void write_again(struct sync_json *json, int32_t count) {
    char ends[MOST_DEPTH];
    size_t level = 0;
    sync_json_begin(json, "", 0);
    for (int32_t i = 0; i < count; i++) {
        const struct sync_json_token *token = &json->tokens[i];
        if (token->kind == SYNC_JSON_END) {
            FUZZ_REQUIRE(level > 0);
            sync_json_raw(json, &ends[--level], 1);
            continue;
        }
        if (token->kind == SYNC_JSON_LIST || token->kind == SYNC_JSON_OBJECT) {
            FUZZ_REQUIRE(level < MOST_DEPTH);
            ends[level++] = token->kind == SYNC_JSON_LIST ? ']' : '}';
        }
        put_token(json, token);
    }
    FUZZ_REQUIRE(level == 0);
    FUZZ_REQUIRE(sync_json_end(json) == 0);
}

/* A copy with a byte 0 behind it, where a sanitizer watches. */
static char *copy_of(const char *bytes, size_t length) {
    char *copy = malloc(length + 1);
    FUZZ_REQUIRE(copy != NULL);
    memcpy(copy, bytes, length);
    copy[length] = 0;
    return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    struct sync_json *json = sync_json_new();
    FUZZ_REQUIRE(json != NULL);
    char *text = copy_of((const char *)bytes, length);
    int32_t count = sync_json_read(json, text, length, MOST_DEPTH);
    if (count >= 0) {
        FUZZ_REQUIRE(count > 0 && (size_t)count <= length + 1);
        write_again(json, count);
        size_t written = json->length;
        char *again = copy_of(json->written, written);
        int32_t recount = sync_json_read(json, again, written, MOST_DEPTH);
        FUZZ_REQUIRE(recount == count);
        write_again(json, recount);
        FUZZ_REQUIRE(json->length == written &&
                     memcmp(json->written, again, written) == 0);
        free(again);
    } else {
        FUZZ_REQUIRE(json->problem != NULL && json->position <= length);
    }
    free(text);
    sync_json_free(json);
    return 0;
}
