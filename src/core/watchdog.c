/* watchdog.c: a thread beside the loop that sees a handler which doesn't come to its end,
 * and tells of it.
 *
 * It wakes eight times in the time that a handler may take, and counts how often it found
 * the loop at the same event of the same tick. A wake counts once however late it is, so
 * a pause of the whole machine, SIGSTOP or a debugger make no handler a stuck one.
 *
 * It reads nothing of Lua's. It sends the loop's thread a signal, whose handler notes the
 * event and its client, and where the thread is. Then that asks Lua, by the signal of
 * LuaJIT's profiler, if there is one: Lua tells of its own line, by watchdog_tell, when
 * it gets there. Where Lua doesn't get there, as in C or in a system call, the calls of C
 * are told instead, which the signal's handler has found.
 *
 * When the handler is to be ended, the signal's handler begins to raise errors
 * (ending.c), has compiled code left by the profiler's signal, and interrupts system
 * calls. What goes on all the same for a second ends the process.
 */
#include "core/watchdog.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "core/ending.h"
#include "core/finding.h"
#include "core/log.h"
#include "core/luajit.h"

enum {
    PATIENCE = 4, /* questions without an answer, until a thread is taken to give none */
    WAKES = 8,    /* in the time that a handler may take */
    TRY_MS = 50,  /* between two errors */
    TRIES = 18,
    LAST_WORDS_MS = 1000,
    LUA_MS = 150,    /* that Lua gets to tell by itself */
    ASKED = 2,       /* times; LuaJIT may lose the profiler's signal */
    ANSWER_MS = 500, /* and the handler of the signal */
    STACK = 256 * 1024,
    TEXT = 1024,
    NANO = 1000 * 1000
};

#define SIGNAL (SIGRTMIN + 6)

enum question { NOTHING, WHAT, WHERE, END };

/* Where the loop is. */
struct spot {
    uint32_t beats;
    int32_t cursor;
};

static struct watchdog {
    struct core *core; /* NULL: it is off */
    watchdog_describe *describe;
    pthread_t loop;
    uv_thread_t thread;
    uv_mutex_t lock;
    uv_cond_t wake;
    bool stop;
    bool json;
    uint32_t limit;            /* ms */
    uint32_t ending;           /* ms; 0: handlers are not ended */
    atomic_uint allowed;       /* ms that one tick may take in any case, */
    atomic_uint allowed_beats; /* and which tick's */
    struct spot suspect;       /* what questions are about */
    bool reported;             /* it is in the log */
    int unanswered;            /* questions */
    atomic_bool insists;       /* on ending it, whoever catches the error */
    _Atomic(enum question) question;
    atomic_bool asks;        /* Lua for what runs there */
    atomic_bool told;        /* Lua has */
    _Atomic(double) seconds; /* that it is at this event */
    uint32_t dwelt_count;    /* the most wakes at one event of a tick, */
    atomic_uint dwelt_beats;
    atomic_int dwelt; /* and which */
    struct finding finding;
} dog;

static struct spot spot_now(const struct watchdog *watchdog) {
    struct core *core = watchdog->core;
    return (struct spot){atomic_load_explicit(&core->beats, memory_order_relaxed),
                         __atomic_load_n(&core->public.cursor, __ATOMIC_RELAXED)};
}

static bool is_handling(struct spot spot) {
    return spot.beats & 1;
}

static bool is_same(struct spot a, struct spot b) {
    return a.beats == b.beats && a.cursor == b.cursor;
}

/* The signal's handler, on the loop's thread: the batch stays as it is meanwhile. */

bool watchdog_sees_profiler(void) {
    struct sigaction action;
    return sigaction(SIGPROF, NULL, &action) == 0 && action.sa_handler != SIG_DFL &&
           action.sa_handler != SIG_IGN;
}

/* Without a profiler the signal would end the process. */
static void leave_compiled_code(void) {
    if (watchdog_sees_profiler()) {
        raise(SIGPROF);
    }
}

static void ask_lua(void) {
    atomic_store(&dog.asks, watchdog_sees_profiler());
    leave_compiled_code();
}

/* Whether what is to be ended is still under way. */
static bool stands(void) {
    return dog.core && is_same(spot_now(&dog), dog.suspect);
}

static void on_signal(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)info;
    (void)context;
    int before = errno;
    enum question question = atomic_load(&dog.question);
    if (dog.core && question == WHAT) {
        finding_note(&dog.finding, dog.core, dog.core->public.cursor, dog.describe);
        dog.finding.stands = stands();
        ask_lua();
    } else if (dog.core && question == WHERE && stands()) {
        finding_trace(&dog.finding);
    } else if (dog.core && question == END && stands()) {
        ending_raise();
        leave_compiled_code();
    }
    atomic_store(&dog.question, NOTHING);
    errno = before;
}

/* The thread. */

static void rest(uint32_t milliseconds) {
    nanosleep(&(struct timespec){.tv_nsec = milliseconds * (long)NANO}, NULL);
}

/* Has the loop's thread answer. Returns false when it doesn't. */
static bool ask(struct watchdog *watchdog, enum question question) {
    atomic_store(&watchdog->question, question);
    pthread_kill(watchdog->loop, SIGNAL);
    for (int i = 0; i < ANSWER_MS && atomic_load(&watchdog->question) != NOTHING; i++) {
        rest(1);
    }
    return atomic_exchange(&watchdog->question, NOTHING) == NOTHING;
}

static bool lua_tells(struct watchdog *watchdog) {
    for (int i = 0; i < LUA_MS / 5 && atomic_load(&watchdog->asks); i++) {
        rest(5);
    }
    bool asked = atomic_exchange(&watchdog->asks, false);
    for (int i = 0; !asked && i < LUA_MS / 5 && !atomic_load(&watchdog->told); i++) {
        rest(5);
    }
    return atomic_load(&watchdog->told);
}

/* Logs it, unless it has ended meanwhile. Returns whether it is worth while to try again:
 * on a busy machine an answer takes its time. */
static bool tell(struct watchdog *watchdog, struct spot spot) {
    watchdog->suspect = spot;
    atomic_store(&watchdog->told, false);
    bool told = false;
    for (int i = 0; i < ASKED && !told; i++) {
        watchdog->finding.stands = false;
        if (!ask(watchdog, WHAT)) {
            return true;
        }
        if (!watchdog->finding.stands) {
            return false;
        }
        told = lua_tells(watchdog);
    }
    if (!told) {
        ask(watchdog, WHERE);
    }
    finding_say(&watchdog->finding, watchdog->json, atomic_load(&watchdog->seconds));
    watchdog->reported = true;
    return false;
}

static void say_silent(struct watchdog *watchdog) {
    log_error(watchdog->json,
              "a handler is stuck, nobody is served: its thread answers no signal", NULL,
              0, NULL);
    watchdog->reported = true;
}

static void say_moved(const struct watchdog *watchdog, double seconds) {
    char message[128];
    snprintf(message, sizeof(message),
             "the handler that was stuck has ended after about %.1f s", seconds);
    log_error(watchdog->json, message, NULL, 0, NULL);
}

/* Signals interrupt system calls, or not. */
static void set_signal(bool interrupts) {
    struct sigaction action = {.sa_flags = SA_SIGINFO | (interrupts ? 0 : SA_RESTART)};
    action.sa_sigaction = on_signal;
    sigemptyset(&action.sa_mask);
    sigaction(SIGNAL, &action, NULL);
}

/* Another process must go on. What has been logged is written. */
static void give_up(const struct watchdog *watchdog) {
    log_error(watchdog->json, "the handler can't be ended: the process ends with code 75",
              NULL, 0, NULL);
    sync_print_flush(LAST_WORDS_MS);
    sync_log_flush(LAST_WORDS_MS);
    _exit(EX_TEMPFAIL);
}

/* Raises errors until the handler is left. One that this library has caught leaves some
 * time for what is done then, but once: it may be in a loop of the script's. */
static void end_handler(struct watchdog *watchdog, struct spot spot) {
    char why[96];
    snprintf(why, sizeof(why), "the handler was ended: it has run for %g s",
             watchdog->ending / 1000.0);
    ending_explain(why);
    watchdog->suspect = spot;
    set_signal(true);
    uint32_t caught = ending_caught();
    int rests = 0;
    for (int tries = TRIES; tries > 0 && is_same(spot_now(watchdog), spot); tries--) {
        if (ending_caught() != caught && !atomic_exchange(&watchdog->insists, true)) {
            tries = TRIES;
            rests = TRIES / 4;
        }
        if (rests-- <= 0) {
            ask(watchdog, END);
        }
        rest(TRY_MS);
    }
    atomic_store(&watchdog->insists, false);
    ending_end();
    set_signal(false);
    if (is_same(spot_now(watchdog), spot) && is_handling(spot)) {
        give_up(watchdog);
    }
}

/* For the panel: at which event of a tick it was longest. */
static void note_dwelling(struct watchdog *watchdog, struct spot spot, uint32_t count) {
    if (count > watchdog->dwelt_count ||
        spot.beats != atomic_load(&watchdog->dwelt_beats)) {
        watchdog->dwelt_count = count;
        atomic_store(&watchdog->dwelt, spot.cursor);
        atomic_store(&watchdog->dwelt_beats, spot.beats);
    }
}

static bool is_allowed(struct watchdog *watchdog, struct spot spot, double milliseconds) {
    return spot.beats == atomic_load(&watchdog->allowed_beats) &&
           milliseconds < atomic_load(&watchdog->allowed);
}

/* Looks at the loop once a wake. */
static void look(struct watchdog *watchdog, struct spot *last, uint32_t *count) {
    struct spot now = spot_now(watchdog);
    double slice = watchdog->limit / 1000.0 / WAKES;
    if (is_handling(now) && is_same(now, *last)) {
        (*count)++;
        note_dwelling(watchdog, now, *count);
        atomic_store(&watchdog->seconds, slice * *count);
        if (is_allowed(watchdog, now, slice * *count * 1000)) {
            return;
        }
        if (*count >= WAKES && !watchdog->reported && tell(watchdog, now) &&
            ++watchdog->unanswered >= PATIENCE) {
            say_silent(watchdog);
        }
        if (watchdog->ending && slice * *count * 1000 >= watchdog->ending) {
            end_handler(watchdog, now);
        }
        return;
    }
    if (watchdog->reported) {
        say_moved(watchdog, slice * *count);
        watchdog->reported = false;
    }
    watchdog->unanswered = 0;
    *last = now;
    *count = 0;
}

static void watch(void *argument) {
    struct watchdog *watchdog = argument;
    struct spot last = spot_now(watchdog);
    uint32_t count = 0;
    uv_mutex_lock(&watchdog->lock);
    while (!watchdog->stop) {
        uv_cond_timedwait(&watchdog->wake, &watchdog->lock,
                          (uint64_t)watchdog->limit * NANO / WAKES);
        if (!watchdog->stop) {
            uv_mutex_unlock(&watchdog->lock);
            look(watchdog, &last, &count);
            uv_mutex_lock(&watchdog->lock);
        }
    }
    uv_mutex_unlock(&watchdog->lock);
}

/* From the loop's thread. */

static int take_signal(void) {
    struct sigaction before;
    sigaction(SIGNAL, NULL, &before);
    if (!(before.sa_flags & SA_SIGINFO) && before.sa_handler != SIG_DFL &&
        before.sa_handler != SIG_IGN) {
        return UV_EBUSY; /* it is somebody else's */
    }
    luajit_note_code();
    finding_trace(&(struct finding){0}); /* the first time may load a library */
    set_signal(false);
    return 0;
}

/* The thread takes no signals: those are the loop's. */
static int start_thread(struct watchdog *watchdog) {
    sigset_t all, before;
    sigfillset(&all);
    uv_thread_options_t options = {.flags = UV_THREAD_HAS_STACK_SIZE,
                                   .stack_size = STACK};
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = uv_thread_create_ex(&watchdog->thread, &options, watch, watchdog);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

int watchdog_start(struct core *core, const struct sync_watchdog *options,
                   watchdog_describe *describe, char *message, size_t size) {
    if (dog.core) {
        return UV_EBUSY;
    }
    int error = take_signal();
    if (error < 0 || (error = uv_mutex_init(&dog.lock)) < 0) {
        return error;
    }
    if ((error = uv_cond_init(&dog.wake)) < 0) {
        uv_mutex_destroy(&dog.lock);
        return error;
    }
    dog.core = core;
    dog.describe = describe;
    dog.loop = pthread_self();
    dog.stop = false;
    dog.json = options->json != 0;
    dog.limit = options->limit;
    dog.reported = false;
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): the FFI gives a number */
    struct lua_State *lua = options->ending ? (void *)(uintptr_t)options->lua : NULL;
    message[0] = 0;
    bool ends = ending_use(lua, stands, message, size) == 0;
    dog.ending = ends ? options->ending : 0;
    if ((error = start_thread(&dog)) < 0) {
        dog.core = NULL;
        uv_cond_destroy(&dog.wake);
        uv_mutex_destroy(&dog.lock);
    }
    return error;
}

void watchdog_stop(struct core *core) {
    if (dog.core != core) {
        return;
    }
    uv_mutex_lock(&dog.lock);
    dog.stop = true;
    uv_cond_signal(&dog.wake);
    uv_mutex_unlock(&dog.lock);
    uv_thread_join(&dog.thread);
    uv_cond_destroy(&dog.wake);
    uv_mutex_destroy(&dog.lock);
    dog.core = NULL;
}

void watchdog_allow(struct core *core, uint32_t milliseconds) {
    if (dog.core == core) {
        atomic_store(&dog.allowed, milliseconds);
        atomic_store(&dog.allowed_beats, spot_now(&dog).beats);
    }
}

bool watchdog_asks(struct core *core) {
    return dog.core == core && atomic_exchange(&dog.asks, false);
}

void watchdog_tell(struct core *core, const char *stack) {
    if (dog.core == core && !atomic_load(&dog.told)) {
        snprintf(dog.finding.stack, sizeof(dog.finding.stack), "%s", stack);
        atomic_store(&dog.told, true);
    }
}

void watchdog_caught(void) {
    if (!atomic_load(&dog.insists)) {
        ending_end();
    }
}

int32_t watchdog_dwelt(struct core *core) {
    bool knows =
        dog.core == core && atomic_load(&dog.dwelt_beats) == atomic_load(&core->beats);
    return knows ? atomic_load(&dog.dwelt) : 0;
}
