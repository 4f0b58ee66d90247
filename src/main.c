/* main.c: sync-lua, the program. Reads its options, opens LuaJIT, and hands over to
 * lua/sync/cli.lua.
 *
 * The Lua library is linked in as bytecode: each module is an exported symbol
 * luaJIT_BC_<name> that LuaJIT's own `require` finds, as are libsync's functions by the
 * FFI. So the program is one file, and C modules for Lua load into it as into luajit.
 */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "sync.h"

enum {
    OPTION_HELP = 256,
    OPTION_VERSION,
    OPTION_JIT,
    OPTION_REPORT,
    OPTION_LOG,
    OPTION_CHECK,
    OPTION_RUFFLE,
    OPTION_WORKERS,
    OPTION_MEMORY,
    OPTION_CLUSTER
};

#ifdef SYNC_WITH_CJSON
int luaopen_cjson(lua_State *L);
int luaopen_cjson_safe(lua_State *L);
#endif

static const struct option options[] = {
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"jit", required_argument, NULL, OPTION_JIT},
    {"jit-report", no_argument, NULL, OPTION_REPORT},
    {"log", required_argument, NULL, OPTION_LOG},
    {"check", no_argument, NULL, OPTION_CHECK},
    {"ruffle", no_argument, NULL, OPTION_RUFFLE},
    {"workers", required_argument, NULL, OPTION_WORKERS},
    {"memory", required_argument, NULL, OPTION_MEMORY},
    {"cluster", required_argument, NULL, OPTION_CLUSTER},
    {NULL, 0, NULL, 0},
};

static const char *option_name(int option) {
    switch (option) {
    case OPTION_HELP:
    case 'h': return "help";
    case OPTION_VERSION:
    case 'v': return "version";
    case OPTION_JIT: return "jit";
    case OPTION_REPORT: return "jit-report";
    case OPTION_LOG: return "log";
    case OPTION_CHECK: return "check";
    case OPTION_RUFFLE: return "ruffle";
    case OPTION_WORKERS: return "workers";
    case OPTION_MEMORY: return "memory";
    case OPTION_CLUSTER: return "cluster";
    case 'e': return "execute";
    case 'l': return "library";
    case 'j': return "j";
    default: return "O";
    }
}

/* Pushes the options that stand before the script as a list of {name, value}. The
 * global `arg` becomes what luajit makes it: arg[0] is the script. Returns the script's
 * index in argv, or -1 for an option that is unknown or lacks its value. */
static int push_options(lua_State *L, int argc, char **argv) {
    int option;
    int count = 0;
    lua_newtable(L);
    /* '+' leaves everything behind the script's name to the script. */
    while ((option = getopt_long(argc, argv, "+e:l:j:O::hv", options, NULL)) != -1) {
        if (option == '?') {
            return -1;
        }
        lua_createtable(L, 2, 0);
        lua_pushstring(L, option_name(option));
        lua_rawseti(L, -2, 1);
        lua_pushstring(L, optarg ? optarg : "");
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, ++count);
    }
    return optind;
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

/* LuaJIT's memory comes from the C library, so that what many clients needed can be given
 * back to the system when they have left: LuaJIT's own allocator keeps its peak. */
static void *allocate(void *context, void *block, size_t old_size, size_t size) {
    (void)context;
    (void)old_size;
    if (size == 0) {
        free(block);
        return NULL;
    }
    return realloc(block, size);
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
    lua_State *L = lua_newstate(allocate, NULL);
    if (!L) {
        fprintf(stderr, "sync-lua: not enough memory for LuaJIT\n");
        return 1;
    }
    int code = run(L, argc, argv);
    lua_close(L);
    return code;
}
