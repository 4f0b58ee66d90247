/* library.c: libcurl, opened when it is first needed. */
#include "fetch/library.h"

#include <stdbool.h>
#include <stdio.h>

#include "core/library.h"
#include "sync.h"
/* It follows sync.h, as the text of the FFI does. */
#include "fetch/fetch.h"

struct curl_functions curl_call;

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
    /* One that was built for GnuTLS does the same. */
    static const char *const files[] = {"libcurl.so.4", "libcurl-gnutls.so.4", NULL};
#define NAME(name, result, arguments) #name,
    static const char *const names[] = {CURL_FUNCTIONS(NAME)};
#undef NAME
    static bool loaded;
    if (!loaded) {
        void *library = library_open(files, "libcurl", "libcurl4", message, size);
        loaded = library &&
                 library_find(library, "curl_", names, sizeof(names) / sizeof(*names),
                              &curl_call, message, size) == 0 &&
                 check(message, size) == 0;
    }
    return loaded ? 0 : -1;
}
