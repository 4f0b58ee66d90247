/* json_test.c: numbers that are too large, compared with strtod. */
#include "core/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

/* Looks at a copy that ends where a sanitizer watches. */
static bool overflows(const char *text, size_t length) {
    char *copy = malloc(length + (length == 0));
    if (!copy) {
        abort();
    }
    memcpy(copy, text, length);
    bool found = json_overflows(copy, length);
    free(copy);
    return found;
}

static void check_number(const char *number) {
    char text[1024];
    bool infinite = isinf(strtod(number, NULL));
    int length = snprintf(text, sizeof(text), "{\"a\":[-%s ,1]}", number);
    if (!CHECK_INT(overflows(text, (size_t)length), infinite) ||
        !CHECK_INT(overflows(number, strlen(number)), infinite)) {
        fprintf(stderr, "    %s\n", number);
    }
}

TEST(json_finds_numbers_that_no_double_holds) {
    static const char *const numbers[] = {
        "1e999",
        "1e309",
        "1e308",
        "1e+308",
        "1E+309",
        "1e0309",
        "0e999",
        "0.0e9999999999",
        "1.7976931348623157e308",
        "1.7976931348623158e308",
        "1.8e308",
        "2e308",
        "17976931348623157e292",
        "17976931348623159e292",
        "0.1e309",
        "0.1e310",
        "0.00000000001e319",
        "0.00000000001e320",
        "100000e304",
        "100000e303",
        "1e-999",
        "1e99999999999999999999",
        "1e-99999999999999999999",
        "12345678901234567890",
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        check_number(numbers[i]);
    }
    for (int digits = 300; digits < 320; digits++) {
        char number[400] = "";
        memset(number, '1', (size_t)digits);
        check_number(number);
        memset(number, '9', (size_t)digits);
        check_number(number);
        memcpy(number + digits, ".5", 3);
        check_number(number);
    }
}

TEST(json_takes_random_numbers_as_strtod_does) {
    for (int round = 0; round < 20000; round++) {
        char number[64];
        int power = (int)test_random(40) - 20;
        snprintf(number, sizeof(number), "%u%0*u.%u%se%d", test_random(20), 1,
                 test_random(1000), test_random(1000), test_random(2) ? "00" : "",
                 300 + power);
        check_number(number);
    }
}

TEST(json_looks_for_numbers_outside_of_strings) {
    static const char *const fine[] = {
        "\"1e999\"",
        "[\"\\\"1e999\", 5]",
        "{\"1e999\\\\\":1}",
        "\"",
        "\"\\",
        "\"a\\\"1e999",
        "",
        "1e",
        "1e+",
        "1.",
        "1e99 9",
        "[1e99,9]",
    };
    for (size_t i = 0; i < sizeof(fine) / sizeof(*fine); i++) {
        CHECK(!overflows(fine[i], strlen(fine[i])));
    }
    CHECK(overflows("\"\\\\\"1e999", 9));
    CHECK(overflows("[\"a\",1e999]", 11));
}
