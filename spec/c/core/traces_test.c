/* traces_test.c: where compiled code begins in the script. */
#include <stdio.h>
#include <string.h>

#include "core/traces.h"
#include "test.h"

TEST(traces_are_found_by_any_address_in_them) {
    traces_note(1, 1000, 10, "a.lua:1");
    traces_note(7, 2000, 10, "b.lua:2");
    CHECK_TEXT(traces_place(1000), "a.lua:1");
    CHECK_TEXT(traces_place(2009), "b.lua:2");
    CHECK(!traces_place(999) && !traces_place(1010) && !traces_place(0));
    traces_note(1, 3000, 10, "c.lua:3");
    CHECK(!traces_place(1000));
    CHECK_TEXT(traces_place(3000), "c.lua:3");
    traces_forget();
    CHECK(!traces_place(3000) && !traces_place(2000));
}

TEST(traces_are_bounded_and_keep_the_end_of_a_place_that_is_long) {
    char place[3 * TRACES_PLACE];
    memset(place, 'x', sizeof(place));
    snprintf(place + sizeof(place) - 10, 10, "/a.lua:12");
    traces_note(TRACES_MOST - 1, 1000, 10, place);
    traces_note(TRACES_MOST, 2000, 10, "b.lua:2");
    CHECK_INT(strlen(traces_place(1000)), TRACES_PLACE - 1);
    CHECK_TEXT(traces_place(1000) + TRACES_PLACE - 10, "/a.lua:12");
    CHECK(!traces_place(2000));
    traces_forget();
}
