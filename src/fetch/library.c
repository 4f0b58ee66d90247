/* library.c: libcurl, opened when it is first needed. */
#include "fetch/library.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>

#include "sync.h"
/* It follows sync.h, as the text of the FFI does. */
#include "fetch/fetch.h"

struct curl_functions curl_call;

/* One that was built for GnuTLS does the same. */
static void *open_library(void) {
    void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    return library ? library : dlopen("libcurl-gnutls.so.4", RTLD_NOW | RTLD_LOCAL);
}

static int find_all(void *library, char *message, size_t size) {
#define FIND(name, result, arguments)                                                    \
    *(void **)&curl_call.name = dlsym(library, "curl_" #name);                           \
    if (!curl_call.name) {                                                               \
        snprintf(message, size, "curl_" #name " is missing in libcurl");                 \
        return -1;                                                                       \
    }
    CURL_FUNCTIONS(FIND)
#undef FIND
    return 0;
}

/* One without threads for names would have everybody wait for each. */
static int check(char *message, size_t size) {
    const struct curl_version *version = curl_call.version_info(0);
    if (version->number < CURL_OLDEST) {
        snprintf(message, size, "libcurl is %s, which is older than 7.80", version->text);
        return -1;
    }
    if (!(version->features & CURL_HAS_ASYNC_NAMES)) {
        snprintf(message, size,
                 "this libcurl looks names up while all else waits: "
                 "install one that was built with AsynchDNS");
        return -1;
    }
    if (curl_call.global_init(CURL_GLOBAL) != CURL_OK) {
        snprintf(message, size, "libcurl could not be initialized");
        return -1;
    }
    return 0;
}

int32_t sync_fetch_load(char *message, size_t size) {
    static bool loaded;
    if (loaded) {
        return 0;
    }
    void *library = open_library();
    if (!library) {
        snprintf(message, size,
                 "the library libcurl is missing: apt-get install libcurl4");
        return -1;
    }
    loaded = find_all(library, message, size) == 0 && check(message, size) == 0;
    return loaded ? 0 : -1;
}
