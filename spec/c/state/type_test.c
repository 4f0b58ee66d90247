/* type_test.c: codes, numbers as they are sent, and values. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "state/type.h"
#include "test.h"

static struct type type_of(const char *code, uint32_t length) {
    struct type type;
    CHECK_INT(type_read(&type, code, length), length);
    return type;
}

/* What is sent of a number, and whether it was saturated. */
static int64_t sent(uint8_t kind, double value, bool saturates) {
    char code = (char)kind;
    struct type type = type_of(&code, 1);
    bool saturated = false;
    uint64_t number = type_encode(&type, value, &saturated);
    CHECK_INT(saturated, saturates);
    return (int64_t)number;
}

TEST(type_whole_numbers_are_rounded_and_saturated) {
    CHECK_INT(sent(TYPE_UINT8, 99.4, false), 99);
    CHECK_INT(sent(TYPE_UINT8, 99.5, false), 100);
    CHECK_INT(sent(TYPE_UINT8, 255, false), 255);
    CHECK_INT(sent(TYPE_UINT8, 256, true), 255);
    CHECK_INT(sent(TYPE_UINT8, -1, true), 0);
    CHECK_INT(sent(TYPE_INT8, -128, false), -128);
    CHECK_INT(sent(TYPE_INT8, -1e300, true), -128);
    CHECK_INT(sent(TYPE_INT32, INFINITY, true), INT32_MAX);
    CHECK_INT(sent(TYPE_UINT32, 4294967295.0, false), UINT32_MAX);
    CHECK_INT(sent(TYPE_INT16, NAN, true), 0);
}

TEST(type_floats_are_finite_and_have_one_zero) {
    CHECK_INT(sent(TYPE_FLOAT32, -0.0, false), 0);
    CHECK_INT(sent(TYPE_FLOAT64, -0.0, false), 0);
    CHECK_INT(sent(TYPE_FLOAT32, 1, false), 0x3F800000);
    CHECK_INT(sent(TYPE_FLOAT32, INFINITY, true), 0x7F7FFFFF);
    CHECK_INT(sent(TYPE_FLOAT32, DBL_MAX, true), 0x7F7FFFFF);
    CHECK_INT(sent(TYPE_FLOAT64, -INFINITY, true), (int64_t)0xFFEFFFFFFFFFFFFF);
    CHECK_INT(sent(TYPE_FLOAT64, NAN, true), 0);
}

static uint32_t fixed_code(char *code, double min, double max, double step) {
    double numbers[] = {min, max, step};
    code[0] = TYPE_FIXED;
    memcpy(code + 1, numbers, sizeof(numbers));
    return 1 + sizeof(numbers);
}

TEST(type_fixed_numbers_count_steps) {
    char code[1 + TYPE_NUMBERS];
    bool saturated = false;
    struct type type = type_of(code, fixed_code(code, 0, 360, 0.5));
    CHECK_INT(type.width, 2);
    CHECK_INT(type_encode(&type, 90.2, &saturated), 180);
    CHECK_INT(type_encode(&type, 360, &saturated), 720);
    CHECK(!saturated);
    CHECK_INT(type_encode(&type, 361, &saturated), 720);
    CHECK(saturated);
    CHECK_INT(type_encode(&type, NAN, &saturated), 0);
    CHECK_INT(type_of(code, fixed_code(code, 0, 255, 1)).width, 1);
    CHECK_INT(type_of(code, fixed_code(code, 0, 256, 1)).width, 2);
    CHECK_INT(type_of(code, fixed_code(code, 0, 65536, 1)).width, 3);
    CHECK_INT(type_of(code, fixed_code(code, 0, 4294967295.0, 1)).width, 4);
}

TEST(type_codes_that_are_none_are_refused) {
    static const struct {
        const char *code;
        uint32_t length;
    } wrong[] = {
        {"", 0},                 /* nothing */
        {"\016", 1},             /* no such kind */
        {"\013", 1},             /* a list of nothing */
        {"\014\001", 2},         /* a map of nothing */
        {"\014\000\001", 3},     /* a map without keys */
        {"\013\013\013\001", 4}, /* too deep */
        {"\015", 1},             /* a record without a count */
        {"\015\001\005ab", 5},   /* a name that ends too early */
        {"\015\001\001a", 4},    /* a field without a type */
        {"\011short", 6},        /* numbers of a fixed one that end too early */
    };
    struct type type;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        CHECK_INT(type_read(&type, wrong[i].code, wrong[i].length), 0);
    }
    char code[1 + TYPE_NUMBERS];
    CHECK_INT(type_read(&type, code, fixed_code(code, 0, 1, 0)), 0);
    CHECK_INT(type_read(&type, code, fixed_code(code, 0, 1, NAN)), 0);
    CHECK_INT(type_read(&type, code, fixed_code(code, 0, 1e300, 1)), 0);
    CHECK_INT(type_read(&type, code, fixed_code(code, 1, 0, 1)), 0);
}

/* A list of records of a uint8 and a string, and one that is a value of it. */
static const char RECORDS[] = "\013\015\002\004kind\002\004name\012";
static const char VALUE[] = "\002\007\003abc\000\002\"\001";

TEST(type_values_are_written_as_json) {
    struct type type = type_of(RECORDS, sizeof(RECORDS) - 1);
    struct bytes json = {0};
    REQUIRE(type_fits(&type, VALUE, sizeof(VALUE) - 1));
    type_json_value(&type, VALUE, sizeof(VALUE) - 1, &json);
    static const char wanted[] =
        "[{\"kind\":7,\"name\":\"abc\"},{\"kind\":0,\"name\":\"\\\"\\u0001\"}]";
    CHECK_BYTES(json.at, json.length, wanted, sizeof(wanted) - 1);
    json.length = 0;
    type_json_value(&type, "", 0, &json);
    CHECK_BYTES(json.at, json.length, "[]", 2);
    bytes_free(&json);
}

TEST(type_values_fit_whole_and_no_other_way) {
    struct type type = type_of(RECORDS, sizeof(RECORDS) - 1);
    for (uint32_t length = 0; length < sizeof(VALUE) - 1; length++) {
        CHECK(!type_fits(&type, VALUE, length));
    }
    CHECK(!type_fits(&type, VALUE, sizeof(VALUE))); /* a byte too many */
    struct type map = type_of("\014\001\006", 3);   /* integer keys, uint32 */
    CHECK(type_fits(&map, "\001\003\005", 3));
    CHECK(!type_fits(&map, "\001\003\xff\xff\xff\xff\x1f", 7)); /* beyond 2^32 */
    CHECK(!type_fits(&map, "\xff\xff\xff\xff\x0f", 5));         /* more than there is */
}
