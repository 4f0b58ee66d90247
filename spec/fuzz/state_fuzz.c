/* state_fuzz.c: codes of types, and values of them.
 *
 * The first byte is the length of a code, which follows; the rest is a value. A code that
 * is read must be read again from its own bytes alone, and not from less; what fits a
 * type must be JSON when it's written as such, and must not fit with a byte less.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "state/type.h"

/* Whether brackets and quotes of a JSON text are in order; strings are not looked into.
 */
static void check_json(const char *text, size_t length) {
    char open[16];
    size_t depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (quoted) {
            i += c == '\\';
            quoted = c != '"';
        } else if (c == '"') {
            quoted = true;
        } else if (c == '[' || c == '{') {
            FUZZ_REQUIRE(depth < sizeof(open));
            open[depth++] = c;
        } else if (c == ']' || c == '}') {
            FUZZ_REQUIRE(depth > 0 && open[--depth] == c - 2);
        }
    }
    FUZZ_REQUIRE(depth == 0 && !quoted && length > 0);
}

static void check_value(const struct type *type, const char *value, uint32_t length) {
    struct bytes json = {0};
    if (type_is_number(type) || !type_fits(type, value, length)) {
        return;
    }
    type_json_value(type, value, length, &json);
    FUZZ_REQUIRE(!json.failed);
    check_json(json.at, json.length);
    if (type->kind != TYPE_STRING && length > 0) {
        FUZZ_REQUIRE(!type_fits(type, value, length - 1));
    }
    bytes_free(&json);
}

static void check_number(const struct type *type, double value) {
    struct bytes bytes = {0};
    bool saturated = false;
    uint64_t number = type_encode(type, value, &saturated);
    type_write(type, number, &bytes);
    FUZZ_REQUIRE(bytes.length > 0 && bytes.length <= 8);
    bytes.length = 0;
    type_json(type, number, &bytes);
    check_json(bytes.at, bytes.length);
    bytes_free(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct type type;
    struct type again;
    double value = 0;
    if (size < 1 || data[0] > size - 1) {
        return 0;
    }
    /* Copies of their own, so that a byte read behind one is seen. */
    uint32_t code_length = data[0];
    uint32_t length = (uint32_t)size - 1 - code_length;
    char *code = malloc(code_length > 0 ? code_length : 1);
    char *bytes = malloc(length > 0 ? length : 1);
    FUZZ_REQUIRE(code && bytes);
    memcpy(code, data + 1, code_length);
    memcpy(bytes, data + 1 + code_length, length);
    uint32_t read = type_read(&type, code, code_length);
    if (read > 0) {
        FUZZ_REQUIRE(read <= code_length);
        FUZZ_REQUIRE(type_read(&again, code, read) == read);
        FUZZ_REQUIRE(type_read(&again, code, read - 1) != read);
        check_value(&type, bytes, length);
        memcpy(&value, bytes, length < sizeof(value) ? length : sizeof(value));
        if (type_is_number(&type)) {
            check_number(&type, value);
        }
    }
    free(code);
    free(bytes);
    return 0;
}
