/* spawn.c: workers: processes that this one starts.
 *
 * A worker knows that it is one by a variable of its environment, and finds at fixed file
 * descriptors what it has of its parent.
 */
#include "workers/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "workers/shares.h"

/* Where a worker finds its side of what it shares. */
enum {
    FD_BUS = 3, /* a connection, see sync_adopt */
    FD_BROKER,  /* see broker.h */
    FD_SHARES,
    FD_COUNT
};

static const char VARIABLE[] = "SYNC_WORKER";

struct worker {
    uv_process_t process;
    struct core *core;
    struct worker *next; /* of those that run */
    struct worker **link;
};

static void on_worker_closed(uv_handle_t *handle) {
    free(handle->data);
}

static void forget(struct worker *worker) {
    *worker->link = worker->next;
    if (worker->next) {
        worker->next->link = worker->link;
    }
    uv_close((uv_handle_t *)&worker->process, on_worker_closed);
}

void spawn_ended(struct core *core, int32_t process, int status, int signal) {
    uint32_t how = signal ? (uint32_t)signal << 8 : (uint32_t)status & 0xff;
    batch_push(&core->batch, SYNC_EXITED, (uint32_t)process, how, NULL, 0);
    batch_unreserve(&core->batch, 1);
}

static void on_ended(uv_process_t *process, int64_t status, int signal) {
    struct worker *worker = process->data;
    spawn_ended(worker->core, process->pid, (int)status, signal);
    forget(worker);
}

enum { MOST_VARIABLES = 2 };

/* The environment with these in it, NULL behind the last; freed with free. NULL when
 * memory ran out. */
static char **environment_with(char *const *variables) {
    size_t count = 0;
    while (environ[count]) {
        count++;
    }
    char **all = calloc(count + MOST_VARIABLES + 1, sizeof(*all));
    if (all) {
        memcpy(all, environ, count * sizeof(*all));
    }
    for (size_t i = 0; all && variables[i]; i++) {
        all[count + i] = variables[i];
    }
    return all;
}

/* This program's own file. Returns 0 or an error code. */
static int own_program(char *program, size_t size) {
    int error = uv_exepath(program, &size);
    if (error == 0 && access(program, X_OK) < 0) {
        static const char self[] = "/proc/self/exe"; /* a newer one has taken its place */
        memcpy(program, self, sizeof(self));
    }
    return error;
}

/* `fds` are those from FD_BUS on, `count` of them. */
static int start(struct worker *worker, const char *program, const char *const *arguments,
                 char *const *variables, const int32_t *fds, int count) {
    char **environment = environment_with(variables);
    int error = environment ? 0 : UV_ENOMEM;
    uv_stdio_container_t stdio[FD_COUNT] = {{.flags = UV_IGNORE}};
    for (int fd = 0; fd < FD_BUS + count; fd++) {
        stdio[fd].flags = UV_INHERIT_FD;
        stdio[fd].data.fd = fd < FD_BUS ? fd : fds[fd - FD_BUS];
    }
    char **words; /* libuv doesn't write to them, but says it might */
    memcpy(&words, &arguments, sizeof(words));
    uv_process_options_t options = {.exit_cb = on_ended,
                                    .file = program,
                                    .args = words,
                                    .env = environment,
                                    .stdio_count = FD_BUS + count,
                                    .stdio = stdio};
    if (error == 0) {
        error = uv_spawn(&worker->core->loop, &worker->process, &options);
    }
    free(environment);
    return error;
}

/* Starts a process that is known from now on. Returns its id, or an error code. */
static int spawn(struct core *core, const char *program, const char *const *arguments,
                 char *const *variables, const int32_t *fds, int fd_count) {
    struct worker *worker = calloc(1, sizeof(*worker));
    if (!worker || batch_reserve(&core->batch, 1) < 0) {
        free(worker);
        return UV_ENOMEM;
    }
    worker->core = core;
    worker->process.data = worker;
    worker->next = core->workers;
    worker->link = &core->workers;
    if (worker->next) {
        worker->next->link = &worker->next;
    }
    core->workers = worker;
    int error = start(worker, program, arguments, variables, fds, fd_count);
    if (error < 0) {
        batch_unreserve(&core->batch, 1);
        forget(worker);
        return error;
    }
    return worker->process.pid;
}

int spawn_worker(struct core *core, const char *const *arguments, uint32_t number,
                 uint32_t count, const char *takes, const int32_t *fds) {
    char program[PATH_MAX];
    char variable[sizeof(VARIABLE) + 32];
    char taking[sizeof(SPAWN_NEXT) + 32];
    snprintf(variable, sizeof(variable), "%s=%u/%u", VARIABLE, number, count);
    snprintf(taking, sizeof(taking), "%s=%s", SPAWN_NEXT, takes ? takes : "");
    int error = takes ? 0 : own_program(program, sizeof(program));
    if (error < 0) {
        return error;
    }
    return spawn(core, takes ? arguments[0] : program, arguments,
                 (char *[]){variable, takes ? taking : NULL, NULL},
                 (const int32_t[]){fds[0], fds[1], core->shares_fd}, FD_COUNT - FD_BUS);
}

int spawn_next(struct core *core, const char *const *arguments, int32_t fd) {
    char variable[] = SPAWN_NEXT "=1";
    return spawn(core, arguments[0], arguments, (char *[]){variable, NULL}, &fd, 1);
}

bool spawn_is_next(void) {
    bool is = getenv(SPAWN_NEXT) != NULL;
    unsetenv(SPAWN_NEXT);
    return is && fcntl(FD_BUS, F_SETFD, FD_CLOEXEC) == 0;
}

void spawn_forget_all(struct core *core) {
    while (core->workers) {
        forget(core->workers);
    }
}

/* A worker whose parent has gone stops by itself, for its bus ends. What keeps it from
 * that is ended by a timer of the system's. */
enum { ORPHAN_MS = 1900 };

static timer_t orphan_timer;

static void on_orphaned(int number) {
    (void)number;
    struct itimerspec once = {.it_value = {ORPHAN_MS / 1000, ORPHAN_MS % 1000 * 1000000}};
    timer_settime(orphan_timer, 0, &once, NULL);
}

static int watch_parent(void) {
    int number = SIGRTMAX - 1;
    struct sigevent kill = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
    struct sigaction action = {.sa_handler = on_orphaned, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    if (timer_create(CLOCK_MONOTONIC, &kill, &orphan_timer) < 0 ||
        sigaction(number, &action, NULL) < 0 || prctl(PR_SET_PDEATHSIG, number) < 0) {
        return -errno;
    }
    return 0;
}

int spawn_begin(struct core *core) {
    const char *text = getenv(VARIABLE);
    uint32_t number;
    uint32_t count;
    if (!text || sscanf(text, "%u/%u", &number, &count) != 2 || number < 1 ||
        number > count || count > SYNC_MOST_WORKERS) {
        return 0;
    }
    unsetenv(VARIABLE);      /* not for processes that the script starts */
    signal(SIGHUP, SIG_IGN); /* until the script is loaded: see sync.start */
    for (int fd = FD_BUS; fd < FD_COUNT; fd++) {
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
            return -errno;
        }
    }
    int error = watch_parent();
    if (error == 0) {
        error = shares_map(core, FD_SHARES, count, number - 1);
    }
    close(FD_SHARES);
    if (error < 0) {
        return error;
    }
    core->broker_fd = FD_BROKER;
    shares_tell(core);
    return (int)(number | count << 16);
}
