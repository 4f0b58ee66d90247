/* spawn_test.c: the parent of workers: it starts processes, learns how they end, and
 * gives them its sockets. A worker here is a shell, or a fork of the test with a core of
 * its own. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "client.h"
#include "server.h"
#include "test.h"
#include "workers/broker.h"
#include "workers/shares.h"
#include "workers/spawn.h"

enum { MOST_FDS = 64 };

static int count_fds(void) {
    int count = 0;
    for (int fd = 0; fd < MOST_FDS; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

/* The core's two ends: requests go into *ask, and are answered by the server. */
static bool open_broker(struct server *server, int *ask) {
    int pair[2];
    server_open(server);
    sync_timer_start(server->sync, WAIT_MS, 0); /* a parent's loop has its workers */
    if (!CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0)) {
        return false;
    }
    *ask = pair[1];
    return CHECK_INT(broker_serve(core_of(server->sync), pair[0]), 0);
}

/* In a child: a core that asks its parent for its sockets. */
static struct sync *open_worker(int ask) {
    struct sync *sync = sync_open();
    if (!sync) {
        _exit(100);
    }
    ((struct core *)sync)->broker_fd = ask;
    return sync;
}

/* Runs `work` in a child, while the parent answers; returns its exit code. */
static int run_child(struct server *server, int ask, int (*work)(int ask, int hint),
                     int hint) {
    pid_t child = fork();
    if (child == 0) {
        alarm(WAIT_MS / 1000);
        _exit(work(ask, hint));
    }
    int status = 0;
    double until = sync_now() + WAIT_MS / 1000.0;
    pid_t ended = 0;
    while (ended == 0 && sync_now() < until) {
        server_tick(server, false);
        ended = waitpid(child, &status, WNOHANG);
        usleep(200);
    }
    return ended == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static uint32_t listen_on(struct sync *sync, const char *host, uint32_t port) {
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    int32_t id = sync_listen(sync, host, port, &options);
    return id > 0 ? sync_listener_port(sync, (uint32_t)id) : 0;
}

/* Codes of children: 0 is right, others name the check that failed. */

static int free_ports(int ask, int hint) {
    (void)hint;
    struct sync *first = open_worker(ask);
    uint32_t one = listen_on(first, "127.0.0.1", 0);
    uint32_t two = listen_on(first, "127.0.0.1", 0);
    if (one == 0 || two == 0 || one == two) {
        return 1;
    }
    /* Another worker that asks in the same order gets the same. */
    struct sync *second = open_worker(ask);
    if (listen_on(second, "127.0.0.1", 0) != one) {
        return 2;
    }
    if (listen_on(second, "127.0.0.1", 0) != two) {
        return 3;
    }
    return 0;
}

TEST(spawn_gives_all_workers_the_same_free_ports) {
    struct server server;
    int ask;
    REQUIRE(open_broker(&server, &ask));
    CHECK_INT(run_child(&server, ask, free_ports, 0), 0);
    close(ask);
    server_close(&server);
}

static int taken_port(int ask, int port) {
    struct sync *sync = open_worker(ask);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    if (sync_listen(sync, "127.0.0.1", (uint32_t)port, &options) != UV_EADDRINUSE) {
        return 1;
    }
    if (sync_listen(sync, "192.0.2.1", 0, &options) != UV_EADDRNOTAVAIL) {
        return 2;
    }
    if (sync_listen(sync, "unix:/no/such/folder", 0, &options) != UV_ENOENT) {
        return 3;
    }
    char host[400];
    memset(host, 'x', sizeof(host) - 1);
    host[sizeof(host) - 1] = '\0';
    if (sync_listen(sync, host, 0, &options) != UV_ENAMETOOLONG) {
        return 4;
    }
    return listen_on(sync, "127.0.0.1", 0) > 0 ? 0 : 5;
}

TEST(spawn_tells_why_a_port_cannot_be_had) {
    struct server server;
    struct server other;
    int ask;
    uint32_t port = server_open_echo(&other, "127.0.0.1", SYNC_FRAMING_LINE);
    REQUIRE(open_broker(&server, &ask));
    CHECK_INT(run_child(&server, ask, taken_port, (int)port), 0);
    close(ask);
    server_close(&server);
    server_close(&other);
}

static int same_port_twice(int ask, int hint) {
    (void)hint;
    struct sync *first = open_worker(ask);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    uint32_t port = listen_on(first, "127.0.0.1", 0);
    int32_t id = sync_listen(first, "localhost", port, &options);
    if (id != UV_EADDRINUSE) {
        return 1;
    }
    id = sync_listen(first, client_unix_host(), 0, &options);
    if (id < 0) {
        return 2;
    }
    int before = count_fds();
    if (sync_listen(first, client_unix_host(), 0, &options) != UV_EADDRINUSE) {
        return 3;
    }
    if (count_fds() != before) {
        return 4;
    }
    /* What was closed may be listened on again. */
    sync_listener_close(first, (uint32_t)id);
    return sync_listen(first, client_unix_host(), 0, &options) > 0 ? 0 : 5;
}

TEST(spawn_refuses_a_port_that_the_worker_has) {
    struct server server;
    int ask;
    REQUIRE(open_broker(&server, &ask));
    CHECK_INT(run_child(&server, ask, same_port_twice, 0), 0);
    close(ask);
    server_close(&server);
    CHECK(access(client_unix_path(), F_OK) < 0); /* the parent has removed it */
}

/* Listens, and ends without a word. The port is the exit code's: it is told by a pipe. */
static int told[2];
static int listen_and_die(int ask, int hint) {
    (void)hint;
    struct sync *sync = open_worker(ask);
    uint32_t port = listen_on(sync, "127.0.0.1", 0);
    return write(told[1], &port, sizeof(port)) == (ssize_t)sizeof(port) ? 0 : 1;
}

static int accept_waiting(int ask, int port) {
    struct sync *sync = open_worker(ask);
    if (listen_on(sync, "127.0.0.1", 0) != (uint32_t)port) {
        return 1;
    }
    while (sync->client_count == 0) {
        sync_poll(sync, true);
        sync_flush(sync);
    }
    return 0;
}

TEST(spawn_keeps_clients_that_wait_when_a_worker_dies) {
    struct server server;
    int ask;
    uint32_t port = 0;
    REQUIRE(pipe(told) == 0);
    REQUIRE(open_broker(&server, &ask));
    CHECK_INT(run_child(&server, ask, listen_and_die, 0), 0);
    REQUIRE(read(told[0], &port, sizeof(port)) == (ssize_t)sizeof(port));
    int client = client_connect(port); /* while nobody accepts */
    REQUIRE(client >= 0);
    CHECK_INT(run_child(&server, ask, accept_waiting, (int)port), 0);
    close(client);
    sync_shares_close(server.sync);
    CHECK_INT(client_connect(port), -1);
    close(ask);
    close(told[0]);
    close(told[1]);
    server_close(&server);
}

/* Listens on the port that the parent has, and gives it back. */
static int listen_and_end(int ask, int port) {
    struct sync *sync = open_worker(ask);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    int32_t id = sync_listen(sync, "127.0.0.1", 0, &options);
    if (id < 0 || sync_listener_port(sync, (uint32_t)id) != (uint32_t)port) {
        return 1;
    }
    sync_listener_end(sync, (uint32_t)id);
    sync_listener_end(sync, (uint32_t)id); /* gives back once */
    return 0;
}

static bool takes_clients(uint32_t port) {
    int client = client_connect(port);
    if (client >= 0) {
        close(client);
    }
    return client >= 0;
}

TEST(spawn_closes_a_port_that_no_worker_wants_any_more) {
    struct server server;
    int ask;
    int other[2];
    uint32_t port = 0;
    REQUIRE(pipe(told) == 0);
    REQUIRE(open_broker(&server, &ask));
    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, other) == 0);
    REQUIRE(broker_serve(core_of(server.sync), other[0]) == 0);
    CHECK_INT(run_child(&server, ask, listen_and_die, 0), 0);
    REQUIRE(read(told[0], &port, sizeof(port)) == (ssize_t)sizeof(port));
    CHECK_INT(run_child(&server, other[1], listen_and_end, (int)port), 0);
    server_tick(&server, false);
    CHECK(takes_clients(port)); /* the first one has it still */
    close(ask);
    server_tick(&server, false);
    CHECK(takes_clients(port)); /* it has died, and another may come for it */
    CHECK_INT(run_child(&server, other[1], listen_and_end, (int)port), 0);
    server_tick(&server, false);
    CHECK(!takes_clients(port));
    close(other[1]);
    close(told[0]);
    close(told[1]);
    server_close(&server);
}

/* A worker that says nonsense is forgotten, and others are served. */
TEST(spawn_survives_requests_that_are_none) {
    struct server server;
    int ask;
    int other[2];
    REQUIRE(open_broker(&server, &ask));
    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, other) == 0);
    REQUIRE(broker_serve(core_of(server.sync), other[0]) == 0);
    REQUIRE(send(other[1], "nonsense", 8, MSG_NOSIGNAL) == 8);
    server_tick(&server, false);
    char byte;
    CHECK_INT(recv(other[1], &byte, 1, MSG_DONTWAIT), 0); /* its end */
    CHECK_INT(run_child(&server, ask, free_ports, 0), 0);
    close(other[1]);
    close(ask);
    server_close(&server);
}

/* An error of broker_serve's is not one of the socket's owner: it is closed. */
TEST(spawn_closes_a_socket_that_cannot_be_watched) {
    struct server server;
    server_open(&server);
    char path[] = "/tmp/spawn_testXXXXXX";
    int file = mkstemp(path); /* files can't be polled */
    REQUIRE(file >= 0);
    unlink(path);
    CHECK(broker_serve(core_of(server.sync), file) < 0);
    CHECK(fcntl(file, F_GETFD) < 0);
    server_close(&server);
}

/* Processes. The program is the test itself, which then runs what a name says: a test
 * that only a worker runs. */

static const char *const WORKER[] = {"test", "as_a_worker", NULL};

/* In a worker: says on the bus who it is. What it says is the whole of the test. */
TEST(spawn_as_a_worker) {
    if (!getenv("SYNC_WORKER")) {
        return; /* of the parent's run */
    }
    struct sync *sync = sync_open();
    int32_t begun = sync_worker_begin(sync);
    bool gone = getenv("SYNC_WORKER") == NULL && sync_worker_begin(sync) == 0;
    char text[64];
    int length = snprintf(text, sizeof(text), "%d of %d, %s\n", begun % 65536,
                          begun / 65536, gone ? "alone" : "again");
    ssize_t ignored = write(3, text, (size_t)length);
    (void)ignored;
    char what[16] = {0};
    if (read(3, what, sizeof(what) - 1) <= 0) {
        _exit(9);
    }
    if (what[0] == 'k') {
        raise(SIGKILL);
    }
    _exit(what[0] - '0');
}

static uint32_t exited(const struct server *server, int32_t process) {
    const struct seen *seen = server_find(server, SYNC_EXITED, (uint32_t)process);
    return seen ? seen->value : UINT32_MAX;
}

/* Starts worker 2 of 3, hears from it, and tells it how to end; returns how it has. */
static uint32_t run_worker(const char *how) {
    struct server server;
    int32_t bus = -1;
    char text[64] = {0};
    server_open(&server);
    CHECK_INT(sync_shares_new(server.sync, 3), 0);
    int32_t process = sync_spawn(server.sync, WORKER, 2, 3, &bus);
    uint32_t value = UINT32_MAX;
    if (CHECK(process > 0)) {
        for (size_t length = 0;
             !memchr(text, '\n', length) && length < sizeof(text) - 1;) {
            ssize_t size = read(bus, text + length, sizeof(text) - 1 - length);
            if (size <= 0) {
                break;
            }
            length += (size_t)size;
        }
        CHECK_TEXT(text, "2 of 3, alone\n");
        CHECK(write(bus, how, strlen(how)) == (ssize_t)strlen(how));
        WAIT(&server, exited(&server, process) != UINT32_MAX);
        value = exited(&server, process);
        CHECK_INT(server_saw(&server, SYNC_EXITED, 0), 1);
    }
    close(bus);
    server_close(&server);
    return value;
}

TEST(spawn_tells_how_a_worker_has_ended) {
    CHECK_INT(run_worker("0"), 0);
    CHECK_INT(run_worker("7"), 7);
    CHECK_INT(run_worker("k"), SIGKILL * 256);
}

TEST(spawn_leaves_no_file_open) {
    run_worker("0"); /* libuv keeps a pipe for signals from its first loop on */
    int before = count_fds();
    run_worker("0");
    CHECK_INT(count_fds(), before);
}

TEST(spawn_refuses_counts_beyond_its_bounds) {
    struct server server;
    server_open(&server);
    CHECK_INT(sync_shares_new(server.sync, 0), UV_EINVAL);
    CHECK_INT(sync_shares_new(server.sync, SYNC_MOST_WORKERS + 1), UV_EINVAL);
    CHECK_INT(sync_worker_begin(server.sync), 0); /* it is none */
    CHECK(sync_core_count() >= 1);
    server_close(&server);
}

/* Who accepts: the one with the fewest clients always, others when they are not much
 * busier. */
TEST(spawn_counts_whose_turn_it_is) {
    struct server server;
    server_open(&server);
    struct core *core = core_of(server.sync);
    REQUIRE(shares_new(core, 3) == 0);
    CHECK_INT(shares_least(core), UINT32_MAX); /* all of them have gone */
    CHECK(!shares_is_busier(core));
    core->share = 1; /* as worker 2 */
    core->public.client_count = 1;
    shares_tell(core);
    CHECK_INT(shares_least(core), 1);
    CHECK(!shares_is_busier(core)); /* those that have gone don't count */
    core->shares[0] = 0;
    CHECK(shares_is_busier(core));
    core->shares[0] = 1;
    CHECK(!shares_is_busier(core));
    core->public.client_count = 1125;
    shares_tell(core);
    core->shares[0] = 1000;
    CHECK(!shares_is_busier(core));
    core->shares[0] = 999;
    CHECK(shares_is_busier(core));
    shares_leave(core, 1);
    CHECK(!shares_is_busier(core));
    shares_leave(core, 0); /* none of these is a worker */
    shares_leave(core, 4);
    core->public.client_count = 0; /* there were none */
    server_close(&server);
}
