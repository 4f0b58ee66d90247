/* traces_test.c: where compiled code comes from. */
#include <stdio.h>
#include <string.h>

#include "core/own.h"
#include "core/traces.h"
#include "test.h"

TEST(traces_are_found_by_any_address_in_them) {
    CHECK(traces_note(1000, 1010, "@a.lua", 1) && traces_note(2000, 2010, "=b.lua", 2));
    CHECK_TEXT(traces_place(1000), "a.lua:1");
    CHECK_TEXT(traces_place(2009), "b.lua:2");
    CHECK(!traces_place(999) && !traces_place(1010) && !traces_place(0));
    traces_forget(990, 1500);
    CHECK(!traces_place(1000));
    CHECK_TEXT(traces_place(2000), "b.lua:2");
    traces_forget(0, 3000);
    CHECK(!traces_place(2000));
}

TEST(traces_of_syncs_own_code_are_told_apart) {
    own_set("@sync/");
    CHECK(!traces_note(1000, 1010, "@sync/loop.lua", 1) && !traces_place(1000));
    CHECK(traces_note(1000, 1010, "@syncopate.lua", 1));
    own_set("");
    traces_forget(0, 3000);
}

TEST(traces_are_bounded_and_keep_the_end_of_a_name_that_is_long) {
    char source[3 * TRACES_PLACE];
    memset(source, 'x', sizeof(source));
    snprintf(source + sizeof(source) - 7, 7, "/a.lua");
    for (uintptr_t i = 0; i < TRACES_MOST; i++) {
        traces_note(1000 + i, 1001 + i, source, 12);
    }
    CHECK(traces_note(100000, 100001, "@b.lua", 2) && !traces_place(100000));
    const char *place = traces_place(1000 + TRACES_MOST - 1);
    REQUIRE(place);
    CHECK_INT(strlen(place), TRACES_PLACE - 1);
    CHECK_TEXT(place + TRACES_PLACE - 10, "/a.lua:12");
    traces_forget(1000, 1001); /* makes room */
    CHECK(traces_note(100000, 100001, "@b.lua", 2));
    CHECK_TEXT(traces_place(100000), "b.lua:2");
    traces_forget(0, 200000);
}
