/* library_test.c: libraries that are opened when they are first needed. */
#include "core/library.h"

#include <string.h>

#include "test.h"

static const char *const none[] = {"libnobodyhas.so.1", NULL};
static const char *const some[] = {"libnobodyhas.so.1", "libc.so.6", NULL};

TEST(library_that_lacks_is_told_with_its_package) {
    char message[128] = "";
    CHECK(!library_open(none, "libnobodyhas", "nobody-has", message, sizeof(message)));
    CHECK_TEXT(message,
               "the library libnobodyhas is missing: apt-get install nobody-has");
}

TEST(library_has_its_functions_found_in_order) {
    static const char *const names[] = {"len", "chr"};
    static const char *const wrong[] = {"len", "nobodyhas"};
    struct {
        size_t (*length)(const char *text);
        char *(*find)(const char *text, int byte);
    } call = {NULL, NULL};
    char message[128] = "";
    void *library = library_open(some, "libc", "libc6", message, sizeof(message));
    REQUIRE(library);
    REQUIRE(library_find(library, "str", names, 2, &call, message, sizeof(message)) == 0);
    CHECK_INT(call.length("four"), 4);
    CHECK_TEXT(call.find("four", 'u'), "ur");
    CHECK_INT(library_find(library, "str", wrong, 2, &call, message, sizeof(message)),
              -1);
    CHECK_TEXT(message, "strnobodyhas is missing: the library is too old");
}
