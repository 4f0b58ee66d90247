/* timer_test.c: timers, signals and name look-ups as events. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client.h"
#include "core/batch.h"
#include "server.h"
#include "test.h"

static uint32_t start_timer(struct server *server, double delay, double interval) {
    int32_t id = sync_timer_start(server->sync, delay, interval);
    CHECK(id > 0);
    return id > 0 ? (uint32_t)id : 0;
}

TEST(timer_fires_once) {
    struct server server;
    server_open(&server);
    double begin = sync_now();
    uint32_t id = start_timer(&server, 50, 0);
    WAIT(&server, server_saw(&server, SYNC_TIMER, id) == 1);
    double took = sync_now() - begin;
    CHECK(took >= 0.05);
    CHECK(took < 0.5);
    CHECK(server_find(&server, SYNC_TIMER, id)->value < 400 * 1000);
    CHECK_INT(sync_poll(server.sync, 1), -1); /* and is gone */
    server_close(&server);
}

TEST(timer_fires_at_once_without_a_delay) {
    struct server server;
    server_open(&server);
    uint32_t id = start_timer(&server, 0, 0);
    WAIT(&server, server_saw(&server, SYNC_TIMER, id) == 1);
    server_close(&server);
}

/* How far the last of 60 firings is from a multiple of its interval, its own lateness not
 * counted: a busy machine may miss some. Whole milliseconds would make it 0.0033 at the
 * least, as they are 0.02 or 0.04 off after 60. */
static double off_after_a_second(void) {
    struct server server;
    server_open(&server);
    enum { FIRINGS = 60 };
    uint32_t id = start_timer(&server, 1000.0 / 60, 1000.0 / 60);
    double begin = sync_now();
    WAIT(&server, server_saw(&server, SYNC_TIMER, id) == FIRINGS);
    double took = sync_now() - begin;
    double late = server.seen[server.count - 1].value / 1e6;
    server_close(&server);
    return fabs(remainder(took - late, 1.0 / 60));
}

TEST(timer_average_rate_is_exact) {
    double off = 1;
    for (int i = 0; i < 5 && off >= 0.002; i++) { /* another may run between two clocks */
        off = off_after_a_second();
    }
    CHECK(off < 0.002);
}

TEST(timer_leaves_out_what_it_missed) {
    struct server server;
    server_open(&server);
    uint32_t id = start_timer(&server, 10, 10);
    double begin = sync_now();
    while (sync_now() - begin < 0.2) {
        /* a handler that takes its time */
    }
    WAIT(&server, server_saw(&server, SYNC_TIMER, id) >= 1);
    uint32_t first = server_saw(&server, SYNC_TIMER, id);
    CHECK(first <= 2);
    CHECK(server.seen[0].value >= 150 * 1000);
    begin = sync_now();
    WAIT(&server, server_saw(&server, SYNC_TIMER, id) == first + 10);
    CHECK(sync_now() - begin > 0.08);
    server_close(&server);
}

TEST(timer_stops) {
    struct server server;
    server_open(&server);
    uint32_t a = start_timer(&server, 20, 20);
    uint32_t b = start_timer(&server, 30, 0);
    sync_timer_stop(server.sync, a);
    sync_timer_stop(server.sync, a);
    WAIT(&server, server_saw(&server, SYNC_TIMER, b) == 1);
    CHECK_INT(server_saw(&server, SYNC_TIMER, a), 0);
    sync_timer_stop(server.sync, b);
    sync_timer_stop(server.sync, 12345);
    CHECK_INT(sync_poll(server.sync, 1), -1);
    server_close(&server);
}

static uint32_t restarted;

static void restart(struct server *server, const struct sync_event *event) {
    if (event->type == SYNC_TIMER && !restarted) {
        sync_timer_stop(server->sync, event->id);
        restarted = (uint32_t)sync_timer_start(server->sync, 10, 0);
        CHECK(restarted != event->id); /* more events of the tick may name that id */
    }
}

TEST(timer_id_is_not_used_again_in_the_tick_that_stops_it) {
    for (int interval = 0; interval <= 10; interval += 10) {
        struct server server;
        server_open(&server);
        server.handle = restart;
        restarted = 0;
        uint32_t id = start_timer(&server, 10, interval);
        WAIT(&server, restarted && server_saw(&server, SYNC_TIMER, restarted) == 1);
        CHECK_INT(server_saw(&server, SYNC_TIMER, id), 1);
        server_tick(&server, false);
        CHECK(start_timer(&server, 10000, 0) <= 3); /* but later */
        server_close(&server);
    }
}

TEST(timer_ids_stay_few) {
    struct server server;
    server_open(&server);
    for (int i = 0; i < 1000; i++) {
        uint32_t id = start_timer(&server, i % 2, i % 3);
        CHECK(id < 10);
        server_tick(&server, false);
        sync_timer_stop(server.sync, id);
        server_tick(&server, false);
    }
    server_close(&server);
}

TEST(timer_many_that_all_fire_before_and_after_a_full_poll) {
    /* libuv runs timers before and after it polls, so one may fire twice in a tick in
     * which the clients fill the batch. There must be room. */
    enum { TIMERS = 4050, CLIENTS = 9, LENGTH = 1000 };
    struct server server;
    static char bytes[LENGTH];
    int fds[CLIENTS];
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_NULL);
    uint32_t port = server_listen(&server, &options);
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_connect(port);
        REQUIRE(fds[i] >= 0);
    }
    WAIT(&server, server_saw(&server, SYNC_CONNECT, 0) == CLIENTS);
    for (int i = 0; i < TIMERS; i++) {
        start_timer(&server, 1, 0.1);
    }
    for (int round = 0; round < 40; round++) {
        for (int i = 0; i < CLIENTS; i++) {
            CHECK(client_send(fds[i], bytes, LENGTH));
        }
        double begin = sync_now();
        while (sync_now() - begin < 0.003) {
        }
        server_tick(&server, true);
        server_forget(&server);
    }
    for (int i = 0; i < CLIENTS; i++) {
        close(fds[i]);
    }
    server_close(&server);
}

TEST(timer_takes_strange_times_as_errors_or_well) {
    static const double times[] = {0, 1e-9, 0.001, 1e9, 1e15, 1e300, -1, -1e300};
    struct server server;
    server_open(&server);
    for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++) {
        for (size_t k = 0; k < sizeof(times) / sizeof(*times); k++) {
            sync_timer_start(server.sync, times[i], times[k]);
        }
    }
    CHECK(sync_timer_start(server.sync, (double)INFINITY, 0) < 0);
    CHECK(sync_timer_start(server.sync, (double)NAN, 0) < 0);
    CHECK(sync_timer_start(server.sync, 0, (double)NAN) < 0);
    uint32_t id = start_timer(&server, 50, 0);
    WAIT(&server, server_saw(&server, SYNC_TIMER, id) == 1);
    server_close(&server);
}

TEST(signal_is_an_event) {
    struct server server;
    server_open(&server);
    CHECK_INT(sync_signal_start(server.sync, SIGUSR1, 0), 0);
    for (uint32_t i = 1; i <= 3; i++) {
        kill(getpid(), SIGUSR1);
        WAIT(&server, server_saw(&server, SYNC_SIGNAL, SIGUSR1) == i);
    }
    sync_signal_stop(server.sync, SIGUSR1);
    sync_signal_stop(server.sync, SIGUSR1);
    CHECK(sync_signal_start(server.sync, SIGKILL, 0) < 0);
    CHECK(sync_signal_start(server.sync, 12345, 0) < 0);
    server_close(&server);
}

TEST(signal_alone_keeps_no_core_alive) {
    struct server server;
    server_open(&server);
    CHECK_INT(sync_signal_start(server.sync, SIGUSR1, 0), 0);
    CHECK_INT(sync_poll(server.sync, 1), -1);
    server_close(&server);
}

/* That a tick may take behind the first signal of those that end a process. */
enum { PATIENCE_S = 2 };

/* Whether a child process that runs this is killed by SIGUSR1. */
static bool is_killed(void (*child)(struct server *server)) {
    pid_t pid = fork();
    if (pid == 0) {
        struct server server;
        alarm(20);
        server_open(&server);
        child(&server);
        _exit(0);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1;
}

/* A signal comes and is seen as an event. */
static void see_signal(struct server *server) {
    uint32_t before = server_saw(server, SYNC_SIGNAL, SIGUSR1);
    raise(SIGUSR1);
    WAIT(server, server_saw(server, SYNC_SIGNAL, SIGUSR1) == before + 1);
}

static void once(struct server *server) {
    sync_signal_start(server->sync, SIGUSR1, PATIENCE_S);
    see_signal(server);
    raise(SIGUSR1);
}

static void once_again(struct server *server) {
    sync_signal_start(server->sync, SIGUSR1, PATIENCE_S);
    see_signal(server);
    sync_signal_start(server->sync, SIGUSR1, PATIENCE_S);
    see_signal(server);
}

static void stopped(struct server *server) {
    sync_signal_start(server->sync, SIGUSR1, 0);
    see_signal(server);
    see_signal(server);
    sync_signal_stop(server->sync, SIGUSR1);
    server_tick(server, false);
    raise(SIGUSR1);
}

/* Told once, in a handler that is stuck. The bound of alarm is beyond. */
static void stuck(struct server *server) {
    sync_signal_start(server->sync, SIGUSR1, PATIENCE_S);
    sync_poll(server->sync, 0);
    raise(SIGUSR1);
    for (;;) {
        pause();
    }
}

/* Told once, and stuck in what is done then. */
static void stuck_at_the_end(struct server *server) {
    sync_signal_start(server->sync, SIGUSR1, PATIENCE_S);
    see_signal(server);
    sync_poll(server->sync, 0);
    for (;;) {
        pause();
    }
}

/* Waits in the loop for longer than a tick may take, and then works when all is done. */
static void patient(struct server *server) {
    sync_signal_start(server->sync, SIGUSR1, PATIENCE_S);
    see_signal(server);
    sync_timer_start(server->sync, 1000 * PATIENCE_S + 300, 0);
    while (!server_saw(server, SYNC_TIMER, 0)) {
        server_tick(server, true);
    }
    sync_poll(server->sync, 0);
    sync_flush(server->sync);
    sleep(PATIENCE_S + 1);
}

static void now_once(struct server *server) {
    sync_signal_start(server->sync, SIGUSR1, 0);
    sync_signal_start(server->sync, SIGUSR1, PATIENCE_S);
    see_signal(server);
    raise(SIGUSR1);
}

static void now_always(struct server *server) {
    sync_signal_start(server->sync, SIGUSR1, PATIENCE_S);
    sync_signal_start(server->sync, SIGUSR1, 0);
    see_signal(server);
    see_signal(server);
}

TEST(signal_once_leaves_the_second_one_its_default) {
    CHECK(is_killed(once));
}

TEST(signal_once_ends_a_process_that_is_stuck) {
    if (test_skips_signals()) {
        return;
    }
    CHECK(is_killed(stuck));
    CHECK(is_killed(stuck_at_the_end));
    CHECK(!is_killed(patient));
}

TEST(signal_once_can_be_asked_for_again) {
    CHECK(!is_killed(once_again));
}

TEST(signal_that_was_stopped_has_its_default_again) {
    CHECK(is_killed(stopped));
}

TEST(signal_asked_for_anew_follows_the_last_asking) {
    CHECK(is_killed(now_once));
    CHECK(!is_killed(now_always));
}

TEST(signal_pipe_is_ignored) {
    struct server server;
    struct sigaction action;
    server_open(&server);
    REQUIRE(sigaction(SIGPIPE, NULL, &action) == 0);
    CHECK(action.sa_handler == SIG_IGN);
    server_close(&server);
}

TEST(resolve_finds_localhost) {
    struct server server;
    server_open(&server);
    int32_t id = sync_resolve(server.sync, "localhost");
    CHECK(id > 0);
    WAIT(&server, server_saw(&server, SYNC_RESOLVED, (uint32_t)id) == 1);
    REQUIRE(server.count == 1);
    CHECK_INT(server.seen[0].value, 0);
    char text[2000] = "";
    REQUIRE(server.seen[0].length < sizeof(text));
    memcpy(text, server.seen[0].data, server.seen[0].length);
    CHECK(strstr(text, "127.0.0.1") || strstr(text, "::1"));
    server_close(&server);
}

TEST(resolve_takes_addresses_as_they_are) {
    struct server server;
    server_open(&server);
    int32_t a = sync_resolve(server.sync, "127.0.0.1");
    int32_t b = sync_resolve(server.sync, "::1");
    CHECK(a > 0 && b > 0 && a != b);
    WAIT(&server, server_saw(&server, SYNC_RESOLVED, 0) == 2);
    const struct seen *seen = server_find(&server, SYNC_RESOLVED, (uint32_t)a);
    REQUIRE(seen);
    CHECK_BYTES(seen->data, seen->length, "127.0.0.1", 9);
    seen = server_find(&server, SYNC_RESOLVED, (uint32_t)b);
    REQUIRE(seen);
    CHECK_BYTES(seen->data, seen->length, "::1", 3);
    server_close(&server);
}

TEST(resolve_says_that_a_name_is_unknown) {
    struct server server;
    server_open(&server);
    int32_t id = sync_resolve(server.sync, "no-such-host.invalid");
    CHECK(id > 0);
    WAIT(&server, server_saw(&server, SYNC_RESOLVED, (uint32_t)id) == 1);
    const struct seen *seen = server_find(&server, SYNC_RESOLVED, (uint32_t)id);
    REQUIRE(seen);
    CHECK(seen->value > 0);
    CHECK_INT(seen->length, 0);
    CHECK(strlen(sync_error_text(-(int32_t)seen->value)) > 0);
    server_close(&server);
}

TEST(resolve_is_bounded) {
    struct server server;
    server_open(&server);
    uint32_t begun = 0;
    for (int i = 0; i < 3000; i++) {
        begun += sync_resolve(server.sync, "127.0.0.1") > 0;
    }
    CHECK(begun >= 1000);
    CHECK(begun < 3000);
    WAIT(&server, server_saw(&server, SYNC_RESOLVED, 0) == begun);
    CHECK(sync_resolve(server.sync, "127.0.0.1") > 0);
    server_close(&server);
}
