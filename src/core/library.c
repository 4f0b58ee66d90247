/* library.c: libraries of the system, opened when they are first needed. */
#include "core/library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

void *library_open(const char *const *files, const char *name, const char *package,
                   char *message, size_t size) {
    void *library = NULL;
    for (; *files && !library; files++) {
        library = dlopen(*files, RTLD_NOW | RTLD_LOCAL);
    }
    if (!library) {
        snprintf(message, size, "the library %s is missing: apt-get install %s", name,
                 package);
    }
    return library;
}

int library_find(void *library, const char *prefix, const char *const *names,
                 size_t count, void *functions, char *message, size_t size) {
    char name[128];
    for (size_t i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "%s%s", prefix, names[i]);
        void *found = dlsym(library, name);
        if (!found) {
            snprintf(message, size, "%s is missing: the library is too old", name);
            return -1;
        }
        memcpy((char *)functions + i * sizeof(found), &found, sizeof(found));
    }
    return 0;
}
