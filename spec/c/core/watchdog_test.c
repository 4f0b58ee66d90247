/* watchdog_test.c: what the log says of an event whose handling doesn't end. The handler
 * is this program's, so no Lua tells where it is. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "server.h"
#include "test.h"

#define STUCK "a handler is stuck, nobody is served: "
#define ENDED "the handler that was stuck has ended after about "

enum { TEXT = 16 * 1024, BOUND_S = 15 };

static char text[TEXT];
static char path[] = "/tmp/watchdog_test_XXXXXX";

/* What the log has, all of it written. */
static const char *log_text(void) {
    sync_log_flush(1000);
    FILE *file = fopen(path, "r");
    size_t length = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
    text[length] = 0;
    if (file) {
        fclose(file);
    }
    return text;
}

static int count_in_log(const char *what) {
    int count = 0;
    const char *place = log_text();
    while ((place = strstr(place, what)) != NULL) {
        count++;
        place++;
    }
    return count;
}

static void rest(int milliseconds) {
    usleep((useconds_t)milliseconds * 1000);
}

/* Waits for words in the log; the loop stands meanwhile where a handler calls this. */
static bool log_says(const char *what) {
    uint64_t end = uv_hrtime() + BOUND_S * UINT64_C(1000000000);
    while (!strstr(log_text(), what) && uv_hrtime() < end) {
        rest(5);
    }
    return strstr(text, what) != NULL;
}

/* A server with one client, whose number is 812, watched from now on. */
static void open_watched(struct server *server, uint32_t limit) {
    struct sync_options options = server_options(SYNC_FRAMING_NULL);
    char message[256];
    strcpy(path + strlen(path) - 6, "XXXXXX");
    close(mkstemp(path));
    CHECK_INT(sync_log_open(path), 0);
    server_open(server);
    uint32_t listener = server_memory(server, &options, 1);
    CHECK_INT(sync_listener_name(server->sync, listener, "Echo"), 0);
    sync_name(server->sync, 1, 812);
    struct sync_watchdog watchdog = {.limit = limit};
    CHECK_INT(sync_watchdog_start(server->sync, &watchdog, message, sizeof(message)), 0);
}

static void close_watched(struct server *server) {
    sync_watchdog_stop(server->sync);
    server_close(server);
    sync_log_flush(1000);
    unlink(path);
}

static void be_stuck(struct server *server, const struct sync_event *event) {
    (void)server;
    if (event->type == SYNC_DATA) {
        CHECK(log_says(STUCK));
    }
}

TEST(watchdog_names_the_class_the_client_and_the_event) {
    struct server server;
    open_watched(&server, 50);
    server.handle = be_stuck;
    server_feed(&server, 1, "x", 2);
    server_settle(&server);
    CHECK(log_says(STUCK "onData of Echo has not ended for "));
    CHECK(strstr(text, " client=812 in=\""));
    CHECK(log_says(ENDED));
    close_watched(&server);
}

static void fire_late(struct server *server, const struct sync_event *event) {
    (void)server;
    if (event->type == SYNC_TIMER) {
        CHECK(log_says(STUCK "a timer has not ended for "));
    }
}

TEST(watchdog_names_a_timer_that_is_nobodys) {
    struct server server;
    open_watched(&server, 50);
    server.handle = fire_late;
    sync_timer_start(server.sync, 1, 0);
    WAIT(&server, server_saw(&server, SYNC_TIMER, 0) > 0);
    close_watched(&server);
}

/* Long after the first line. */
static void be_stuck_for_long(struct server *server, const struct sync_event *event) {
    be_stuck(server, event);
    rest(400);
}

TEST(watchdog_says_of_a_handler_once_that_it_is_stuck_and_once_that_it_has_ended) {
    struct server server;
    open_watched(&server, 50);
    server.handle = be_stuck_for_long;
    server_feed(&server, 1, "x", 2);
    server_settle(&server);
    CHECK(log_says(ENDED));
    CHECK_INT(count_in_log(STUCK), 1);
    CHECK_INT(count_in_log(ENDED), 1);
    close_watched(&server);
}

/* Another process stops this one for longer than a handler may take, and lets it go on.
 * The watchdog sees the handler before, twice at least, and behind. */
enum { PAUSE_LIMIT_MS = 1600, PAUSE_MS = 1800, SEEN_MS = 450 };

static void be_paused(struct server *server, const struct sync_event *event) {
    (void)server;
    (void)event;
    pid_t self = getpid();
    rest(SEEN_MS);
    pid_t child = fork();
    if (child == 0) {
        kill(self, SIGSTOP);
        rest(PAUSE_MS);
        kill(self, SIGCONT);
        _exit(0);
    }
    CHECK(child > 0);
    CHECK_INT(waitpid(child, NULL, 0), child);
    rest(SEEN_MS);
}

TEST(watchdog_takes_a_pause_of_the_machine_for_no_stuck_handler) {
    struct server server;
    open_watched(&server, PAUSE_LIMIT_MS);
    server.handle = be_paused;
    server_feed(&server, 1, "x", 2);
    server_settle(&server);
    sync_watchdog_stop(server.sync); /* what it is about to say is said */
    CHECK_INT(count_in_log(STUCK), 0);
    close_watched(&server);
}

TEST(watchdog_says_nothing_of_a_loop_that_waits) {
    struct server server;
    open_watched(&server, 50);
    sync_timer_start(server.sync, 300, 0);
    WAIT(&server, server_saw(&server, SYNC_TIMER, 0) > 0);
    sync_watchdog_stop(server.sync); /* what it is about to say is said */
    CHECK_INT(count_in_log(STUCK), 0);
    close_watched(&server);
}

static void block_signals(bool blocked) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(blocked ? SIG_BLOCK : SIG_UNBLOCK, &all, NULL);
}

static void be_deaf(struct server *server, const struct sync_event *event) {
    (void)server;
    if (event->type == SYNC_DATA) {
        block_signals(true);
        CHECK(log_says(STUCK "its thread answers no signal"));
        block_signals(false);
    }
}

TEST(watchdog_says_so_where_the_thread_answers_no_signal) {
    struct server server;
    open_watched(&server, 50);
    server.handle = be_deaf;
    server_feed(&server, 1, "x", 2);
    server_settle(&server);
    CHECK_INT(count_in_log(STUCK), 1);
    close_watched(&server);
}

TEST(watchdog_is_one_in_a_process) {
    struct server server;
    struct sync_watchdog watchdog = {.limit = 1000};
    char message[256];
    open_watched(&server, 1000);
    int32_t again = sync_watchdog_start(server.sync, &watchdog, message, sizeof(message));
    CHECK_TEXT(sync_error_name(again), "EBUSY");
    close_watched(&server);
}
