/* watchdog.c: a thread beside the loop that sees a handler which doesn't come to its end,
 * and tells of it.
 *
 * It wakes eight times in the time that a handler may take, and counts how often it found
 * the loop at the same event of the same tick. A wake counts once however late it is, so
 * a pause of the whole machine, SIGSTOP or a debugger make no handler a stuck one.
 *
 * It reads nothing of Lua's. It sends the loop's thread a signal, whose handler notes the
 * event and its client, and where the thread is. Then that asks Lua, by the signal of
 * LuaJIT's profiler, if there is one: Lua tells of its own line when it gets there, and
 * says so by watchdog_told. Where Lua doesn't get there, as in C or in a system call, the
 * thread tells instead, with the calls of C that the signal's handler has found.
 */
#include "core/watchdog.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <unwind.h>

#include "core/log.h"
#include "core/luajit.h"

enum {
    WAKES = 8,        /* in the time that a handler may take */
    MOST_FRAMES = 32, /* of C's calls that are looked at, */
    MOST_TOLD = 8,    /* and told */
    LUA_MS = 300,     /* that Lua gets to tell by itself */
    ANSWER_MS = 500,  /* and the handler of the signal */
    STACK = 256 * 1024,
    TEXT = 1024,
    NANO = 1000 * 1000
};

#define SIGNAL (SIGRTMIN + 6)

enum question { NOTHING, WHAT, WHERE };

/* What the signal's handler has found. */
struct finding {
    struct watched_client client;
    uint32_t type;             /* of the event; 0: none, the tick was about to end */
    void *frames[MOST_FRAMES]; /* of C's calls, innermost first */
    int frame_count;
    bool compiled; /* they were called from compiled code */
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
    uint32_t limit; /* ms */
    _Atomic(enum question) question;
    atomic_bool asks;        /* Lua for what runs there */
    atomic_bool told;        /* Lua has */
    _Atomic(double) seconds; /* that it is at this event */
    struct finding finding;
} dog;

/* Where the loop is. */
struct spot {
    uint32_t beats;
    int32_t cursor;
};

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

static void note_event(struct core *core, struct finding *finding) {
    const struct sync *sync = &core->public;
    memset(finding, 0, sizeof(*finding));
    if (core->filling || sync->cursor < 1 || (uint32_t)sync->cursor > sync->event_count) {
        return;
    }
    const struct sync_event *event = &sync->events[sync->cursor - 1];
    finding->type = event->type;
    if (event->type < SYNC_TIMER) {
        dog.describe(core, event->id, &finding->client);
    }
}

bool watchdog_sees_profiler(void) {
    struct sigaction action;
    return sigaction(SIGPROF, NULL, &action) == 0 && action.sa_handler != SIG_DFL &&
           action.sa_handler != SIG_IGN;
}

/* Without a profiler the signal would end the process. */
static void ask_lua(void) {
    if (watchdog_sees_profiler()) {
        atomic_store(&dog.asks, true);
        raise(SIGPROF);
    }
}

/* The unwinder finds no way through compiled code, and may abort there. */
static _Unwind_Reason_Code note_call(struct _Unwind_Context *context, void *argument) {
    struct finding *finding = argument;
    uintptr_t address = _Unwind_GetIP(context);
    finding->compiled = !luajit_is_native(address);
    if (finding->compiled || finding->frame_count == MOST_FRAMES) {
        return _URC_END_OF_STACK;
    }
    finding->frames[finding->frame_count++] = (void *)address;
    return _URC_NO_REASON;
}

static void find_calls(struct finding *finding) {
    finding->frame_count = 0;
    _Unwind_Backtrace(note_call, finding);
}

static void on_signal(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)info;
    (void)context;
    int before = errno;
    enum question question = atomic_load(&dog.question);
    if (dog.core && question == WHAT) {
        note_event(dog.core, &dog.finding);
        ask_lua();
    } else if (dog.core && question == WHERE) {
        find_calls(&dog.finding);
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

static const char *handler_of(uint32_t type) {
    static const char *const names[] = {
        [0] = "what ends a tick",
        [SYNC_CONNECT] = "onConnect",
        [SYNC_DATA] = "onData",
        [SYNC_BYTES] = "onBytes",
        [SYNC_REQUEST] = "the handler of a request",
        [SYNC_FILE] = "the handler of a request",
        [SYNC_DRAIN] = "onDrain",
        [SYNC_OVERFLOW] = "onDrain",
        [SYNC_CLOSE] = "onClose",
        [SYNC_TIMER] = "a timer",
        [SYNC_SIGNAL] = "a signal's handler",
        [SYNC_CONNECT_FAILED] = "a connection's answer",
        [SYNC_RESOLVED] = "a name look-up's answer",
        [SYNC_EXITED] = "the end of a worker",
        [SYNC_JOB] = "the end of a job",
        [SYNC_WATCH] = "a watched descriptor",
    };
    const char *name = type < sizeof(names) / sizeof(*names) ? names[type] : NULL;
    return name ? name : "a handler";
}

/* The base of a path. */
static const char *base_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Names of files may be any bytes, and the log is UTF-8. */
static void append(char text[TEXT], const char *more) {
    size_t length = strlen(text);
    for (; *more && length < TEXT - 1; more++) {
        text[length++] = *more >= 0x20 && *more < 0x7f ? *more : '?';
    }
    text[length] = 0;
}

static void append_call(char text[TEXT], void *address) {
    char call[160];
    Dl_info info;
    if (!dladdr(address, &info) || !info.dli_fname) {
        snprintf(call, sizeof(call), "%p", address);
    } else if (info.dli_sname) {
        snprintf(call, sizeof(call), "%s+0x%zx", info.dli_sname,
                 (size_t)((char *)address - (char *)info.dli_saddr));
    } else {
        snprintf(call, sizeof(call), "%s+0x%zx", base_of(info.dli_fname),
                 (size_t)((char *)address - (char *)info.dli_fbase));
    }
    if (text[0]) {
        append(text, " < ");
    }
    append(text, call);
}

/* The innermost calls of C. The handler of the signal is among the first, and the frame
 * that the kernel has put below it. */
static void describe_calls(const struct finding *finding, char text[TEXT]) {
    enum { OWN = 2 };
    text[0] = 0;
    for (int i = OWN; i < finding->frame_count && i < OWN + MOST_TOLD; i++) {
        append_call(text, finding->frames[i]);
    }
    if (finding->compiled && finding->frame_count < OWN + MOST_TOLD) {
        append(text, text[0] ? " < compiled code" : "compiled code");
    }
}

static void say_stuck(const struct watchdog *watchdog) {
    const struct finding *finding = &watchdog->finding;
    const struct watched_client *client = &finding->client;
    char message[256];
    char calls[TEXT];
    char name[24];
    struct log_field fields[4];
    size_t count = 0;
    describe_calls(finding, calls);
    snprintf(message, sizeof(message),
             "a handler is stuck, nobody is served: %s%s%s has not ended for %.1f s",
             handler_of(finding->type), client->class[0] ? " of " : "", client->class,
             atomic_load(&watchdog->seconds));
    if (client->address[0]) {
        fields[count++] = (struct log_field){"address", client->address};
    }
    if (client->name > 0) {
        snprintf(name, sizeof(name), "%.0f", client->name);
        fields[count++] = (struct log_field){"client", name};
    }
    if (calls[0]) {
        fields[count++] = (struct log_field){"in", calls};
    }
    log_error(watchdog->json, message, fields, count);
}

static void tell(struct watchdog *watchdog) {
    atomic_store(&watchdog->told, false);
    if (!ask(watchdog, WHAT)) {
        log_error(watchdog->json, "the loop is stuck, and answers no signal", NULL, 0);
        return;
    }
    if (!lua_tells(watchdog)) {
        ask(watchdog, WHERE);
        say_stuck(watchdog);
    }
}

static void say_moved(const struct watchdog *watchdog, double seconds) {
    char message[128];
    snprintf(message, sizeof(message),
             "the handler that was stuck has ended after about %.1f s", seconds);
    log_error(watchdog->json, message, NULL, 0);
}

/* Looks at the loop once a wake. */
static void look(struct watchdog *watchdog, struct spot *last, uint32_t *count) {
    struct spot now = spot_now(watchdog);
    double slice = watchdog->limit / 1000.0 / WAKES;
    if (is_handling(now) && is_same(now, *last)) {
        (*count)++;
        atomic_store(&watchdog->seconds, slice * *count);
        if (*count == WAKES) {
            tell(watchdog);
        }
        return;
    }
    if (*count >= WAKES) {
        say_moved(watchdog, slice * *count);
    }
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
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigaction before;
    sigaction(SIGNAL, NULL, &before);
    if (!(before.sa_flags & SA_SIGINFO) && before.sa_handler != SIG_DFL &&
        before.sa_handler != SIG_IGN) {
        return UV_EBUSY; /* it is somebody else's */
    }
    luajit_note_code();
    find_calls(&(struct finding){0}); /* the first time may load a library */
    action.sa_sigaction = on_signal;
    sigemptyset(&action.sa_mask);
    return sigaction(SIGNAL, &action, NULL) == 0 ? 0 : UV_EINVAL;
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

int watchdog_start(struct core *core, uint32_t milliseconds, bool json,
                   watchdog_describe *describe) {
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
    dog.json = json;
    dog.limit = milliseconds;
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

double watchdog_asks(struct core *core) {
    if (dog.core != core || !atomic_exchange(&dog.asks, false)) {
        return 0;
    }
    return atomic_load(&dog.seconds);
}

void watchdog_told(struct core *core) {
    if (dog.core == core) {
        atomic_store(&dog.told, true);
    }
}
