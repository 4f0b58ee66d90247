/* compiled.c: see compiled.h. It's for the watchdog.
 *
 * LuaJIT tells of what it compiles by an event, too. But it calls the function of that on
 * the stack of who runs, and when a recursion has left no room there, Debian's LuaJIT
 * repeats the event for ever, or loses which code it was compiling. So the linker puts
 * these in the place of two functions that LuaJIT calls (--wrap in the Makefile):
 * mprotect makes an area of code executable, munmap gives it back. */
#include "host/compiled.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/traces.h"

enum {
    MOST_AREAS = 256,
    GAP = 64,    /* bytes of 0, which code never has */
    LEVELS = 32, /* of the stack that are looked at */
};

/* The linker has chosen these names. NOLINTBEGIN(bugprone-reserved-identifier) */
int __real_mprotect(void *at, size_t length, int protection);
int __wrap_mprotect(void *at, size_t length, int protection);
int __real_munmap(void *at, size_t length);
int __wrap_munmap(void *at, size_t length);
/* NOLINTEND(bugprone-reserved-identifier) */

/* Code fills an area from its end down. */
static struct area {
    uintptr_t begin, low; /* where the lowest code begins */
} areas[MOST_AREAS];

/* What has no place yet; end 0: nothing. */
static _Thread_local struct { uintptr_t begin, end; } made;

/* Threads of sync.work compile, too, and are not watched. */
static bool is_loop(void) {
    return gettid() == getpid();
}

static struct area *find_area(uintptr_t begin) {
    struct area *free = NULL;
    for (int i = 0; i < MOST_AREAS; i++) {
        if (areas[i].begin == begin) {
            return &areas[i];
        }
        free = areas[i].begin ? free : &areas[i];
    }
    return free;
}

/* Where what was written below an address begins. */
static uintptr_t find_begin(uintptr_t area, uintptr_t end) {
    uintptr_t begin = end;
    for (uintptr_t at = end; at > area && begin - at < GAP; at--) {
        /* NOLINTNEXTLINE(performance-no-int-to-ptr): it is LuaJIT's memory */
        begin = ((const unsigned char *)at)[-1] ? at - 1 : begin;
    }
    return begin;
}

static void look_through(uintptr_t begin, size_t length) {
    struct area *area = find_area(begin);
    if (!area) {
        return;
    }
    if (!area->begin) {
        *area = (struct area){begin, begin + length};
    }
    uintptr_t low = find_begin(begin, area->low);
    if (low < area->low) {
        made.begin = low;
        made.end = area->low;
        area->low = low;
    }
}

int __wrap_mprotect(void *at, size_t length, int protection) {
    int error = __real_mprotect(at, length, protection);
    if (error == 0 && protection == (PROT_READ | PROT_EXEC) && is_loop()) {
        look_through((uintptr_t)at, length);
    }
    return error;
}

int __wrap_munmap(void *at, size_t length) {
    uintptr_t begin = (uintptr_t)at;
    if (is_loop()) {
        struct area *area = find_area(begin);
        if (area && area->begin) {
            area->begin = 0;
            traces_forget(begin, begin + length);
        }
    }
    return __real_munmap(at, length);
}

bool compiled_is_made(void) {
    return made.end != 0;
}

/* Code that SYNC's own has led to begins where the script has called that. */
void compiled_note(lua_State *L) {
    lua_Debug call;
    for (int level = 0; made.end && level < LEVELS && lua_getstack(L, level, &call);
         level++) {
        if (lua_getinfo(L, "Sl", &call) && call.currentline > 0 &&
            traces_note(made.begin, made.end, call.source, call.currentline)) {
            break;
        }
    }
    made.end = 0;
}
