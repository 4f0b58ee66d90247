#include <string.h>

#include "conn/calls.h"
#include "test.h"

TEST(calls_are_the_elements_of_an_array) {
    static const struct {
        const char *text;
        size_t count;
    } cases[] = {
        {"", 1},
        {"  ", 1},
        {"{\"a\":[1,2,3]}", 1},
        {"1,2,3", 1},
        {"[]", 1},
        {"[1]", 1},
        {" \r\n\t[1,2,3]", 3},
        {"[{\"a\":[1,2],\"b\":2},[1,2,3]]", 2},
        {"[\",,,\",\"\\\",\",\"\\\\\",3]", 4},
        {"[\"\\", 1},
        {"]]],,,", 1},
        {"[1,2", 2},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CHECK_INT(calls_count(cases[i].text, strlen(cases[i].text)), cases[i].count);
    }
}
