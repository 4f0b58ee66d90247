/* library.c: libsqlite3, opened when it is first needed. */
#include "sql/library.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>

#include "sync.h"
/* It follows sync.h, as the text of the FFI does. */
#include "sql/sqlite.h"

struct lite_functions lite_call;

int32_t sync_lite_load(char *message, size_t size) {
    static bool loaded;
    if (loaded) {
        return 0;
    }
    void *library = dlopen("libsqlite3.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(message, size,
                 "the library libsqlite3 is missing: apt-get install libsqlite3-0");
        return -1;
    }
#define FIND(name, result, arguments)                                                    \
    *(void **)&lite_call.name = dlsym(library, "sqlite3_" #name);                        \
    if (!lite_call.name) {                                                               \
        snprintf(message, size,                                                          \
                 "libsqlite3 is older than 3.20: sqlite3_" #name " is missing");         \
        return -1;                                                                       \
    }
    LITE_FUNCTIONS(FIND)
#undef FIND
    loaded = true;
    return 0;
}
