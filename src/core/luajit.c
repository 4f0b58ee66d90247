/* luajit.c: LuaJIT's functions, found in this program. */
#include "core/luajit.h"

#include <dlfcn.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>

enum { MOST_RANGES = 512 };

struct luajit_functions luajit;

/* The code of the program and its libraries. */
static struct range { uintptr_t begin, end; } ranges[MOST_RANGES];
static int range_count;
static int own_range; /* LuaJIT's */

/* A program that has LuaJIT's library loaded without its names being everybody's. */
static void *find(const char *name) {
    static void *library;
    void *found = dlsym(RTLD_DEFAULT, name);
    if (!found) {
        library = library ? library : dlopen("libluajit-5.1.so.2", RTLD_NOW);
        found = library ? dlsym(library, name) : NULL;
    }
    return found;
}

static int note_ranges(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size;
    (void)data;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && part->p_flags & PF_X &&
            range_count < MOST_RANGES) {
            uintptr_t begin = info->dlpi_addr + part->p_vaddr;
            ranges[range_count++] = (struct range){begin, begin + part->p_memsz};
        }
    }
    return 0;
}

static int range_of(uintptr_t address) {
    for (int i = 0; i < range_count; i++) {
        if (address >= ranges[i].begin && address < ranges[i].end) {
            return i;
        }
    }
    return -1;
}

void luajit_note_code(void) {
    range_count = 0;
    dl_iterate_phdr(note_ranges, NULL);
}

bool luajit_is_native(uintptr_t address) {
    return range_of(address) >= 0 || range_count >= MOST_RANGES;
}

enum luajit_place luajit_place_of(uintptr_t address) {
    int range = range_of(address);
    if (range == own_range) {
        return LUAJIT_ITSELF;
    }
    return luajit_is_native(address) ? LUAJIT_ELSEWHERE : LUAJIT_COMPILED;
}

int luajit_load(char *message, size_t size) {
    static bool loaded;
    if (loaded) {
        return 0;
    }
#define FIND(name, result, arguments)                                                    \
    *(void **)&luajit.name = find(#name);                                                \
    if (!luajit.name) {                                                                  \
        snprintf(                                                                        \
            message, size,                                                               \
            "this program's LuaJIT has no " #name                                        \
            ", or keeps it for itself: use sync-lua, or a luajit of 2022 or newer");     \
        return -1;                                                                       \
    }
    LUAJIT_FUNCTIONS(FIND)
#undef FIND
    luajit_note_code();
    own_range = range_of((uintptr_t)luajit.lua_newstate);
    loaded = true;
    return 0;
}
