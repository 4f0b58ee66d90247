/* main.c: sync-lua, the program. Reads its options, opens LuaJIT, and hands over to
 * lua/sync/cli/init.lua.
 *
 * The Lua library is linked in as bytecode: each module is an exported symbol
 * luaJIT_BC_<name> that LuaJIT's own `require` finds, as are libsync's functions by the
 * FFI. So the program is one file, and C modules for Lua load into it as into luajit.
 */
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "core/heap.h"
#include "host/events.h"
#include "sync.h"

#ifdef SYNC_WITH_CJSON
int luaopen_cjson(lua_State *L);
int luaopen_cjson_safe(lua_State *L);
#endif

/* What sync-lua can be told: the name that sync.cli knows an option by, which is its long
 * form unless it has a letter alone; its letter, or 0; and whether it takes a value. */
static const struct known {
    const char *name;
    char letter;
    char letter_only;
    int value;
} known[] = {
    {"help", 'h', 0, no_argument},
    {"version", 'v', 0, no_argument},
    {"check", 0, 0, no_argument},
    {"ruffle", 0, 0, no_argument},
    {"workers", 0, 0, required_argument},
    {"cluster", 0, 0, required_argument},
    {"jit", 0, 0, required_argument},
    {"jit-report", 0, 0, no_argument},
    {"log", 0, 0, required_argument},
    {"log-file", 0, 0, required_argument},
    {"io", 0, 0, required_argument},
    {"io-threads", 0, 0, required_argument},
    {"memory", 0, 0, required_argument},
    {"console", 0, 0, required_argument},
    {"drain", 0, 0, required_argument},
    {"watchdog", 0, 0, required_argument},
    {"bans", 0, 0, required_argument},
    {"execute", 'e', 1, required_argument},
    {"watch", 0, 0, no_argument},
    {"library", 'l', 1, required_argument},
    {"j", 'j', 1, required_argument},
    {"O", 'O', 1, optional_argument},
    {"handler-timeout", 0, 0, required_argument},
};

enum {
    KNOWN = sizeof known / sizeof *known,
    LONG = 256, /* a long option's number is its place in `known` from here on */
};

/* Writes what getopt_long wants: the long options, ended by an empty one, and the
 * letters, each followed by a colon for a value, or by two for one that may be left out.
 * The '+' before them leaves everything behind the script's name to the script. */
static void describe_options(struct option *longs, char *letters) {
    *letters++ = '+';
    for (int i = 0; i < KNOWN; i++) {
        if (!known[i].letter_only) {
            *longs++ = (struct option){known[i].name, known[i].value, NULL, LONG + i};
        }
        if (known[i].letter) {
            *letters++ = known[i].letter;
            for (int colons = 0; colons < known[i].value; colons++) {
                *letters++ = ':';
            }
        }
    }
    *longs = (struct option){0};
    *letters = 0;
}

/* The name of the option that getopt_long has found; it knows no others. */
static const char *option_name(int option) {
    int i = option >= LONG ? option - LONG : 0;
    while (option < LONG && known[i].letter != option) {
        i++;
    }
    return known[i].name;
}

/* Takes a way to the kernel before the first core is made, for this process and those
 * that it starts. Returns false for one that there isn't. */
static bool choose_io(const char *name) {
    int error = sync_choose_io(name);
    if (error < 0) {
        fprintf(stderr, "sync-lua: --io=%s: %s\n", name,
                strcmp(sync_error_name(error), "EINVAL") == 0
                    ? "there are auto, uring, epoll and poll, as far as they are built in"
                    : sync_io_why());
        return false;
    }
    setenv("SYNC_IO", name, 1);
    if (strcmp(name, "uring") != 0) {
        unsetenv("SYNC_IO_THREADS"); /* the others have none */
    }
    return true;
}

/* The same for threads; only uring has some. */
static bool choose_threads(const char *text) {
    char *end;
    long count = strtol(text, &end, 10);
    const char *io = getenv("SYNC_IO");
    if (*text < '0' || *text > '9' || *end || count > SYNC_IO_THREADS_MOST) {
        fprintf(stderr, "sync-lua: --io-threads takes a number from 0 to %d, not %s\n",
                SYNC_IO_THREADS_MOST, text);
        return false;
    }
    bool any = !io || !*io || strcmp(io, "auto") == 0;
    if (count > 0 && !choose_io(any ? "uring" : io)) {
        return false;
    }
    if (sync_choose_io_threads((uint32_t)count) < 0) {
        fprintf(stderr, "sync-lua: --io-threads=%s: %s\n", text, sync_io_why());
        return false;
    }
    setenv("SYNC_IO_THREADS", text, 1);
    return true;
}

/* Pushes the options that stand before the script as a list of {name, value}. The
 * global `arg` becomes what luajit makes it: arg[0] is the script. Returns the script's
 * index in argv, or -1 for an option that is unknown or lacks its value. */
static int push_options(lua_State *L, int argc, char **argv) {
    struct option longs[KNOWN + 1];
    char letters[3 * KNOWN + 2];
    int option;
    int count = 0;
    const char *threads = NULL;
    describe_options(longs, letters);
    lua_newtable(L);
    while ((option = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
        if (option == '?') {
            return -1;
        }
        if (optarg && strcmp(option_name(option), "io") == 0 && !choose_io(optarg)) {
            return -1;
        }
        if (optarg && strcmp(option_name(option), "io-threads") == 0) {
            threads = optarg; /* of the way that --io names, which may come behind */
        }
        lua_createtable(L, 2, 0);
        lua_pushstring(L, option_name(option));
        lua_rawseti(L, -2, 1);
        lua_pushstring(L, optarg ? optarg : "");
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, ++count);
    }
    return threads && !choose_threads(threads) ? -1 : optind;
}

static void set_arg(lua_State *L, int argc, char **argv, int script) {
    lua_createtable(L, argc - script, script + 1);
    for (int i = 0; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i - script);
    }
    lua_setglobal(L, "arg");
}

/* Makes the JSON library, linked in, known to `require`. */
static void preload_cjson(lua_State *L) {
#ifdef SYNC_WITH_CJSON
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    lua_pushcfunction(L, luaopen_cjson);
    lua_setfield(L, -2, "cjson");
    lua_pushcfunction(L, luaopen_cjson_safe);
    lua_setfield(L, -2, "cjson.safe");
    lua_pop(L, 2);
#else
    (void)L;
#endif
}

/* Runs cli.main(options). Returns the exit code. */
static int run(lua_State *L, int argc, char **argv) {
    luaL_openlibs(L);
    preload_cjson(L);
    int script = push_options(L, argc, argv);
    if (script < 0) {
        fprintf(stderr, "sync-lua: see sync-lua --help\n");
        return 2;
    }
    set_arg(L, argc, argv, script);
    lua_getglobal(L, "require");
    lua_pushstring(L, "sync.cli");
    if (lua_pcall(L, 1, 1, 0) == 0) {
        lua_getfield(L, -1, "main");
        lua_pushvalue(L, 1);
        if (lua_pcall(L, 1, 1, 0) == 0) {
            return (int)lua_tointeger(L, -1);
        }
    }
    const char *message = lua_tostring(L, -1);
    message = lua_pushfstring(L, "sync-lua: %s\n",
                              message ? message : "error without a message");
    sync_log_write(message, strlen(message), 0);
    return 1;
}

/* Standard files that are closed become /dev/null: else the first that is opened takes
 * their place, and gets what is printed. */
static void open_standard_files(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) {
            exit(1);
        }
    }
}

int main(int argc, char **argv) {
    open_standard_files();
    /* LuaJIT's own allocator would keep its peak. */
    lua_State *L = lua_newstate(heap_allocate, NULL);
    if (!L) {
        fprintf(stderr, "sync-lua: not enough memory for LuaJIT\n");
        return 1;
    }
#ifdef SYNC_WITH_LUAJIT
    events_guard(L);
#endif
    int code = run(L, argc, argv);
    lua_close(L);
    return code;
}
