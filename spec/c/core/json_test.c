/* json_test.c: texts of JSON, taken apart and put together. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sync.h"
#include "test.h"

/* Reads a copy that ends where a sanitizer watches. Returns what sync_json_read does. */
static int32_t read_copy(struct sync_json *json, const char *text, uint32_t depth) {
    static char *copy;
    free(copy);
    copy = strdup(text);
    if (!copy) {
        abort();
    }
    int32_t count = sync_json_read(json, copy, strlen(copy), depth);
    if (!*text) { /* the last one */
        free(copy);
        copy = NULL;
    }
    return count;
}

/* Writes what was read. */
static void write_tokens(struct sync_json *json, int32_t count) {
    char open[64];
    size_t level = 0;
    sync_json_begin(json, "", 0);
    for (int32_t i = 0; i < count; i++) {
        const struct sync_json_token *token = &json->tokens[i];
        switch ((enum sync_json_kind)token->kind) {
        case SYNC_JSON_NUMBER: sync_json_number(json, token->number); break;
        case SYNC_JSON_STRING: sync_json_string(json, token->text, token->length); break;
        case SYNC_JSON_KEY: sync_json_key(json, token->text, token->length); break;
        case SYNC_JSON_END: sync_json_raw(json, &open[--level], 1); break;
        case SYNC_JSON_LIST:
        case SYNC_JSON_OBJECT:
            open[level++] = token->kind == SYNC_JSON_LIST ? ']' : '}';
            sync_json_put(json, token->kind);
            break;
        default: sync_json_put(json, token->kind);
        }
    }
    CHECK_INT(sync_json_end(json), 0);
}

/* A text is read, and written as `wanted`. */
static void check_again(struct sync_json *json, const char *text, const char *wanted) {
    int32_t count = read_copy(json, text, 64);
    if (!CHECK(count > 0)) {
        fprintf(stderr, "    %s: %s\n", text, json->problem);
        return;
    }
    write_tokens(json, count);
    if (!CHECK_INT(json->length, strlen(wanted)) ||
        !CHECK(memcmp(json->written, wanted, json->length) == 0)) {
        fprintf(stderr, "    %s: %.*s\n", text, (int)json->length, json->written);
    }
}

static struct sync_json *begin(void) {
    struct sync_json *json = sync_json_new();
    if (!json) {
        abort();
    }
    return json;
}

static void end(struct sync_json *json) {
    read_copy(json, "", 1);
    sync_json_free(json);
}

TEST(json_is_written_as_it_was_read) {
    static const char *const texts[][2] = {
        {"[]", "[]"},
        {" { } ", "{}"},
        {"[ [] , {} , [[ ]], {\"a\" : [ ] , \"b\":{}} ]",
         "[[],{},[[]],{\"a\":[],\"b\":{}}]"},
        {"[null,true,false,\"\",0]", "[null,true,false,\"\",0]"},
        {"\"\\u0041\\n\\/\\u0000\\\"\\\\\\b\\f\\r\\t\\u007f\"",
         "\"A\\n/\\u0000\\\"\\\\\\b\\f\\r\\t\\u007f\""},
        {"\"\\u00e9\\u6f22\\ud83c\\udf89\"", "\"\xc3\xa9\xe6\xbc\xa2\xf0\x9f\x8e\x89\""},
        {"[\"a\\\"b\",\"c\\\"d\",\"e\"]", "[\"a\\\"b\",\"c\\\"d\",\"e\"]"},
        {"{\"\\\"k\\\"\":1}", "{\"\\\"k\\\"\":1}"},
        {"[1.]", "[1]"},
    };
    struct sync_json *json = begin();
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        check_again(json, texts[i][0], texts[i][1]);
    }
    end(json);
}

TEST(json_takes_no_other_text) {
    static const char *const texts[] = {
        "",
        " ",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{",
        "{1:2}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "[}",
        "{]",
        "[1]]",
        "1 2",
        "nul",
        "True",
        "NaN",
        "Infinity",
        "-",
        "+1",
        "01",
        "-01",
        ".5",
        "-.5",
        "0x10",
        "1e",
        "1e+",
        "1.e",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12",
        "\"\\",
        "\"\\u",
        "\"\\u12g4\"",
        "'a'",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"\\ud800\\n\"",
        "/**/1",
        "1e309",
        "[-1e999]",
        "{\"a\":1e400}",
    };
    struct sync_json *json = begin();
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        if (!CHECK_INT(read_copy(json, texts[i], 64), -1) || !CHECK(json->problem)) {
            fprintf(stderr, "    %s\n", texts[i]);
        }
    }
    CHECK_INT(sync_json_read(json, "\"a\0b\"", 5, 64), -1);
    CHECK_INT(sync_json_read(json, "1\0", 2, 64), -1);
    end(json);
}

TEST(json_takes_no_deeper_text) {
    struct sync_json *json = begin();
    char text[300];
    for (uint32_t depth = 1; depth <= 70; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        text[2 * (size_t)depth] = 0;
        CHECK_INT(read_copy(json, text, depth - 1), -1);
        CHECK_INT(read_copy(json, text, depth), depth <= 64 ? (int32_t)(2 * depth) : -1);
    }
    CHECK_INT(read_copy(json, "1", 0), 1);
    end(json);
}

static double as_read(struct sync_json *json, const char *number) {
    return CHECK_INT(read_copy(json, number, 1), 1) ? json->tokens[0].number : NAN;
}

static void check_number(struct sync_json *json, const char *number) {
    double wanted = strtod(number, NULL);
    if (isinf(wanted)) {
        CHECK_INT(read_copy(json, number, 1), -1);
        return;
    }
    double value = as_read(json, number);
    if (!CHECK(memcmp(&value, &wanted, sizeof(value)) == 0)) {
        fprintf(stderr, "    %s\n", number);
    }
}

TEST(json_reads_numbers_as_strtod_does) {
    static const char *const numbers[] = {
        "0",
        "-0",
        "0.0",
        "1",
        "0.1",
        "9007199254740993",
        "9007199254740992",
        "1e22",
        "1e23",
        "123456789012345678",
        "12345678901234567890",
        "0.000000000000000000000000000001",
        "1.7976931348623157e308",
        "1.7976931348623158e308",
        "1.7976931348623159e308",
        "5e-324",
        "2e-324",
        "1e-999",
        "1e99999999999999",
        "0e99999999999999",
        "100000000000000000000000000000000000e-30",
        "8.5e15",
        "9007199254740991e22",
    };
    struct sync_json *json = begin();
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        check_number(json, numbers[i]);
    }
    for (int round = 0; round < 20000; round++) {
        char number[64];
        snprintf(number, sizeof(number), "%s%u%u.%u%ue%d", test_random(2) ? "-" : "",
                 1 + test_random(20), test_random(100000), test_random(1000),
                 test_random(1000), (int)test_random(640) - 320);
        check_number(json, number);
    }
    end(json);
}

/* Writes a number. Returns its digits. */
static const char *as_written(struct sync_json *json, double number) {
    sync_json_begin(json, "", 0);
    sync_json_number(json, number);
    sync_json_raw(json, "", 1); /* the byte 0 */
    return json->written;
}

TEST(json_writes_numbers_shortly_and_exactly) {
    static const struct {
        double number;
        const char *text;
    } numbers[] = {{0, "0"},
                   {-0.0, "-0"},
                   {1, "1"},
                   {0.1, "0.1"},
                   {-2.5, "-2.5"},
                   {100, "100"},
                   {0.05, "0.05"},
                   {1.0 / 3, "0.3333333333333333"},
                   {0.1 + 0.2, "0.30000000000000004"},
                   {1732900000123456, "1732900000123456"},
                   {-9007199254740991, "-9007199254740991"},
                   {9007199254740992, "9007199254740992"},
                   {1e21, "1e+21"},
                   {1e-9, "0.000000001"},
                   {1e-20, "1e-20"},
                   {1.7976931348623157e308, "1.7976931348623157e+308"}};
    struct sync_json *json = begin();
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        const char *text = as_written(json, numbers[i].number);
        if (!CHECK(strcmp(text, numbers[i].text) == 0)) {
            fprintf(stderr, "    %s, not %s\n", text, numbers[i].text);
        }
    }
    for (int round = 0; round < 20000; round++) {
        uint64_t bits = (uint64_t)test_random(UINT32_MAX) << 32 | test_random(UINT32_MAX);
        double number;
        memcpy(&number, &bits, sizeof(number));
        number =
            round % 2 ? number : (double)test_random(1000000) / 10000 * test_random(99);
        if (isfinite(number)) {
            CHECK(strtod(as_written(json, number), NULL) == number);
        }
    }
    end(json);
}

TEST(json_gives_back_what_a_long_text_took) {
    struct sync_json *json = begin();
    size_t length = (3 << 20) + 1;
    char *text = malloc(length + 1);
    if (!text) {
        abort();
    }
    for (size_t i = 1; i < length - 1; i++) {
        text[i] = "1,"[(i - 1) % 2];
    }
    text[0] = '[';
    text[length - 1] = ']';
    text[length] = 0;
    int32_t count = sync_json_read(json, text, length, 1);
    CHECK_INT(count, (int32_t)((length - 1) / 2 + 2));
    write_tokens(json, count);
    CHECK_INT(json->length, length);
    CHECK(memcmp(json->written, text, length) == 0);
    free(text);
    check_again(json, "[1,2]", "[1,2]");
    end(json);
}
