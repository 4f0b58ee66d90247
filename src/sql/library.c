/* library.c: libsqlite3, opened when it is first needed. */
#include "sql/library.h"

#include <stdbool.h>

#include "core/library.h"
#include "sync.h"
/* It follows sync.h, as the text of the FFI does. */
#include "sql/sqlite.h"

struct lite_functions lite_call;

int32_t sync_lite_load(char *message, size_t size) {
    static const char *const files[] = {"libsqlite3.so.0", NULL};
#define NAME(name, result, arguments) #name,
    static const char *const names[] = {LITE_FUNCTIONS(NAME)};
#undef NAME
    static bool loaded;
    if (!loaded) {
        void *library = library_open(files, "libsqlite3", "libsqlite3-0", message, size);
        loaded = library &&
                 library_find(library, "sqlite3_", names, sizeof(names) / sizeof(*names),
                              &lite_call, message, size) == 0;
    }
    return loaded ? 0 : -1;
}
