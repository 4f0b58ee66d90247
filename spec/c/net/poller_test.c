/* The ways to the kernel: each tells, receives, sends and closes as the others do, and
 * io_uring's shares its buffers fairly. */
#include "net/poller.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

enum { MOST = 400, LIMIT = 64 * 1024 };

/* One side of a pair is a stream, the other ours. */
struct end {
    struct stream stream; /* first */
    int other;
    size_t room;  /* it reads so much when it is told of bytes */
    size_t got;   /* bytes */
    ssize_t last; /* what its last reading has returned */
    ssize_t sent;
    uint32_t told;  /* how often of bytes */
    uint32_t roomy; /* how often of room */
    uint32_t place; /* among those that were told of bytes first */
};

static struct poller poller;
static uv_loop_t loop;
static uint32_t places;
static char arena[1024 * 1024];

static void on_ready(struct stream *stream, uint32_t events) {
    struct end *end = (struct end *)(void *)stream;
    if (events & ~(uint32_t)POLLOUT) {
        end->told++;
        if (end->room > 0) {
            char *bytes = arena;
            end->last = stream_read(&poller, stream, &bytes, end->room);
            end->got += end->last > 0 ? (size_t)end->last : 0;
            if (end->place == 0) {
                end->place = ++places;
            }
        }
    }
    end->roomy += (events & POLLOUT) != 0;
}

static void on_sent(struct stream *stream, ssize_t sent) {
    ((struct end *)(void *)stream)->sent = sent;
}

static bool open_poller(const char *name) {
    bool threaded = strcmp(name, "threads") == 0;
    if (poller_choose(threaded ? "uring" : name) < 0 ||
        (threaded && poller_choose_threads(1) < 0)) {
        return false;
    }
    places = 0;
    return uv_loop_init(&loop) == 0 &&
           poller_open(&poller, &loop, on_ready, on_sent) == 0;
}

static void close_poller(void) {
    poller_close(&poller);
    while (uv_run(&loop, UV_RUN_DEFAULT)) {
    }
    CHECK_INT(uv_loop_close(&loop), 0);
    poller_choose("auto");
}

/* Waits, without sleeping, until something is so; for some seconds at most. A thread
 * that does the work has the core meanwhile. */
#define UNTIL(condition)                                                                 \
    do {                                                                                 \
        uint64_t end_ = uv_hrtime() + 5000000000;                                        \
        while (!(condition) && uv_hrtime() < end_) {                                     \
            poller_wait(&poller, false);                                                 \
            sched_yield();                                                               \
        }                                                                                \
        CHECK(condition);                                                                \
    } while (0)

static void open_end(struct end *end, size_t room) {
    int pair[2] = {-1, -1};
    *end = (struct end){.room = room};
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
              0);
    end->other = pair[1];
    CHECK_INT(stream_open(&poller, &end->stream, pair[0]), 0);
}

static void close_end(struct end *end) {
    stream_close(&poller, &end->stream, false);
    UNTIL(!end->stream.closing);
    close(end->other);
}

static const char *const ways[] = {"uring", "threads", "epoll", "poll"};

#define EACH_WAY(name)                                                                   \
    static void run_##name(void);                                                        \
    TEST(name) {                                                                         \
        for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {                      \
            if (open_poller(ways[i])) {                                                  \
                run_##name();                                                            \
                close_poller();                                                          \
            } else {                                                                     \
                printf("%s: not on %s: %s\n", #name, ways[i], poller_why());             \
            }                                                                            \
        }                                                                                \
    }                                                                                    \
    static void run_##name(void)

EACH_WAY(poller_tells_of_bytes_and_of_the_end) {
    struct end end;
    open_end(&end, LIMIT);
    CHECK_INT(write(end.other, "hello", 5), 5);
    UNTIL(end.got == 5);
    shutdown(end.other, SHUT_WR);
    UNTIL(end.last == UV_EOF);
    close_end(&end);
}

EACH_WAY(poller_tells_again_of_what_was_not_read) {
    struct end end;
    open_end(&end, 0);
    CHECK_INT(write(end.other, "hello", 5), 5);
    UNTIL(end.told >= 3);
    end.room = 2;
    UNTIL(end.got == 5);
    close_end(&end);
}

EACH_WAY(poller_tells_nothing_of_one_that_is_paused) {
    struct end end;
    open_end(&end, LIMIT);
    stream_watch_bytes(&poller, &end.stream, false);
    for (int i = 0; i < 5; i++) {
        poller_wait(&poller, false);
    }
    CHECK_INT(write(end.other, "hello", 5), 5);
    for (int i = 0; i < 5; i++) {
        poller_wait(&poller, false);
    }
    CHECK_INT(end.told, 0);
    stream_watch_bytes(&poller, &end.stream, true);
    UNTIL(end.got == 5);
    close_end(&end);
}

/* A uv_poll_t that is paused tells nothing. */
EACH_WAY(poller_tells_of_a_break_while_paused) {
    struct end end;
    if (strcmp(poller.backend->name, "poll") == 0) {
        return;
    }
    open_end(&end, 0);
    for (int i = 0; i < 5; i++) {
        stream_watch_bytes(&poller, &end.stream, i % 2 == 1);
        stream_watch_room(&poller, &end.stream, i == 3);
        poller_wait(&poller, false);
    }
    CHECK_INT(end.told, 0);
    close(end.other);
    UNTIL(end.told > 0);
    end.other = dup(STDERR_FILENO);
    close_end(&end);
}

EACH_WAY(poller_tells_of_room_when_there_is) {
    static char much[64 * 1024];
    struct end end;
    struct iovec piece = {much, sizeof(much)};
    open_end(&end, LIMIT);
    while (stream_write(&end.stream, &piece, 1) > 0) {
    }
    shutdown(end.other, SHUT_WR); /* half closed: that mustn't count as room */
    UNTIL(end.last == UV_EOF);
    stream_watch_bytes(&poller, &end.stream, false);
    stream_watch_room(&poller, &end.stream, true);
    for (int i = 0; i < 20; i++) {
        poller_wait(&poller, false);
    }
    CHECK_INT(end.roomy, 0);
    while (read(end.other, much, sizeof(much)) > 0) {
    }
    UNTIL(end.roomy > 0);
    close_end(&end);
}

EACH_WAY(poller_sends_what_was_gathered_before_it_closes) {
    char bytes[16] = {0};
    struct end end;
    struct iovec pieces[2] = {{"hello ", 6}, {"world", 5}};
    open_end(&end, LIMIT);
    poller_wait(&poller, false);
    poller_gather(&poller, true);
    if (!stream_send(&poller, &end.stream, pieces, 2)) {
        CHECK_INT(stream_write(&end.stream, pieces, 2), 11);
    }
    poller_gather(&poller, false);
    stream_close(&poller, &end.stream, false);
    UNTIL(!end.stream.closing);
    CHECK_INT(read(end.other, bytes, sizeof(bytes)), 11);
    CHECK_INT(end.sent, 0); /* nobody is told any more */
    close(end.other);
}

EACH_WAY(poller_closes_for_the_other_side_too) {
    char byte;
    struct end end;
    open_end(&end, LIMIT);
    poller_wait(&poller, false);
    stream_close(&poller, &end.stream, false);
    UNTIL(!end.stream.closing);
    CHECK_INT(read(end.other, &byte, 1), 0);
    close(end.other);
}

static void on_async(uv_async_t *async) {
    ++*(int *)async->data;
}

static void on_closed(uv_handle_t *handle) {
    (void)handle;
}

/* libuv may call it before it sleeps, with nothing left that would end that. */
static void on_timer(uv_timer_t *timer) {
    timer->data = NULL;
    uv_stop(timer->loop);
}

/* How often the poller sleeps until a timer of 20 ms has fired. */
static int waits_of_a_timer(void) {
    int waits = 0;
    uv_timer_t timer;
    uv_timer_init(&loop, &timer);
    timer.data = &poller;
    uv_timer_start(&timer, on_timer, 20, 0);
    while (timer.data) {
        poller_wait(&poller, true);
        waits++;
    }
    uv_close((uv_handle_t *)&timer, NULL);
    poller_wait(&poller, false);
    return waits;
}

/* libuv runs its loop for handles that keep it alive; what came for others, such as the
 * signals of children, made its descriptor readable for ever, and the ring never slept.
 */
EACH_WAY(poller_takes_what_came_for_handles_that_are_unref_ed) {
    struct end end;
    uv_async_t async;
    int called = 0;
    uv_async_init(&loop, &async, on_async);
    uv_unref((uv_handle_t *)&async);
    async.data = &called;
    open_end(&end, LIMIT);
    for (int i = 1; i <= 3; i++) {
        uv_async_send(&async);
        UNTIL(called == i);
    }
    CHECK(waits_of_a_timer() < 10); /* it sleeps */
    CHECK(poller_wait(&poller, false));
    close_end(&end);
    CHECK(!poller_wait(&poller, true)); /* it doesn't keep the poller, either */
    uv_close((uv_handle_t *)&async, on_closed);
    poller_wait(&poller, false);
}

/* What only io_uring's has. */

TEST(uring_says_what_a_gathered_send_has_left) {
    static char much[4 * 1024 * 1024];
    char bytes[6];
    struct end end;
    struct iovec piece = {"hello", 5};
    if (!open_poller("uring")) {
        test_skip(poller_why());
        return;
    }
    open_end(&end, LIMIT);
    poller_gather(&poller, true);
    CHECK(stream_send(&poller, &end.stream, &piece, 1));
    CHECK(end.stream.flying);
    poller_gather(&poller, false);
    poller_push(&poller);
    CHECK_INT(end.sent, 5);
    CHECK(!end.stream.flying);
    CHECK_INT(read(end.other, bytes, sizeof(bytes)), 5);
    piece = (struct iovec){much, sizeof(much)};
    poller_gather(&poller, true);
    CHECK(stream_send(&poller, &end.stream, &piece, 1));
    poller_wait(&poller, false);
    CHECK(end.sent > 5 && end.sent < (ssize_t)sizeof(much));
    CHECK(stream_send(&poller, &end.stream, &piece, 1));
    poller_wait(&poller, false);
    CHECK_INT(end.sent, UV_EAGAIN);
    close(end.other);
    CHECK(stream_send(&poller, &end.stream, &piece, 1));
    poller_wait(&poller, false);
    CHECK(end.sent < 0 && end.sent != UV_EAGAIN);
    end.other = dup(STDERR_FILENO);
    close_end(&end);
    close_poller();
}

/* A client that isn't read leaves the rest to the kernel, and others their buffers. */
TEST(uring_client_holds_at_most_64_kib) {
    static char much[4096];
    static struct end ends[MOST];
    if (!open_poller("uring")) {
        test_skip(poller_why());
        return;
    }
    for (int i = 0; i < MOST; i++) {
        open_end(&ends[i], i < MOST / 2 ? 0 : LIMIT);
        int size = 256 * 1024;
        setsockopt(ends[i].other, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    }
    size_t sent = 0;
    for (int i = 0; i < MOST / 2; i++) {
        ssize_t part;
        while ((part = write(ends[i].other, much, sizeof(much))) > 0) {
            sent += (size_t)part;
        }
    }
    for (int i = MOST / 2; i < MOST; i++) {
        CHECK_INT(write(ends[i].other, "x", 1), 1);
    }
    for (int i = 0; i < 20; i++) {
        poller_wait(&poller, false); /* the greedy take as much as they get */
    }
    for (int i = MOST / 2; i < MOST; i++) {
        CHECK_INT(ends[i].got, 1);
    }
    size_t taken = 0; /* what they may write again has been taken from the kernel */
    for (int i = 0; i < MOST / 2; i++) {
        ends[i].room = SIZE_MAX;
        ssize_t left = 0;
        char byte[4096];
        while ((left = recv(ends[i].stream.fd, byte, sizeof(byte), MSG_DONTWAIT)) > 0) {
            taken += (size_t)left;
        }
    }
    CHECK(sent - taken <= (size_t)LIMIT * (MOST / 2));
    for (int i = 0; i < 40; i++) {
        poller_wait(&poller, false);
    }
    size_t got = 0;
    for (int i = 0; i < MOST / 2; i++) {
        got += ends[i].got;
        CHECK(ends[i].got <= LIMIT);
    }
    CHECK_INT(got, sent - taken); /* and nothing is lost */
    for (int i = 0; i < MOST; i++) {
        close_end(&ends[i]);
    }
    close_poller();
}

/* When all buffers are used up by some who have ever more, who got none is first when
 * there are some again. */
TEST(uring_serves_those_first_who_had_nothing) {
    enum { GREEDY = 100, ROUNDS = 6 };
    static char much[LIMIT];
    static struct end ends[MOST];
    if (!open_poller("uring")) {
        test_skip(poller_why());
        return;
    }
    for (int i = 0; i < MOST; i++) {
        open_end(&ends[i], LIMIT);
    }
    uint32_t waits = 0;
    for (int round = 0; round < ROUNDS; round++) { /* the first make more buffers */
        size_t sent = 0;
        size_t got = 0;
        for (int i = 0; i < MOST; i++) {
            ssize_t part;
            ends[i].got = 0;
            while ((part = write(ends[i].other, much, i < GREEDY ? LIMIT : 1)) > 0) {
                sent += (size_t)part;
                if (i >= GREEDY) {
                    break;
                }
            }
        }
        uint32_t quiet = 0;
        for (waits = 0; quiet < MOST - GREEDY && waits < 1000; waits++) {
            poller_wait(&poller, false);
            quiet = 0;
            for (int i = GREEDY; i < MOST; i++) {
                quiet += ends[i].got == 1;
            }
        }
        CHECK_INT(quiet, MOST - GREEDY);
        for (int wait = 0; wait < 1000 && got < sent; wait++) {
            poller_wait(&poller, false);
            got = 0;
            for (int i = 0; i < MOST; i++) {
                got += ends[i].got;
            }
        }
        CHECK_INT(got, sent);
    }
    CHECK(waits <= 3);
    for (int i = 0; i < MOST; i++) {
        close_end(&ends[i]);
    }
    close_poller();
}

/* A system that forbids io_uring, as containers do. */
static bool forbid_io_uring(void) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(rules) / sizeof(*rules), .filter = rules};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void check_child(pid_t child) {
    int status = 0;
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 0);
}

TEST(poller_takes_io_uring_by_itself_where_it_works) {
    if (poller_choose("uring") < 0) {
        test_skip(poller_why());
    } else {
        poller_choose("auto");
        CHECK(strcmp(poller_name(), "uring") == 0);
        CHECK(strcmp(poller_why(), "it works here") == 0);
    }
    poller_choose("auto");
}

/* Returns 0 if a poller of this way, which has worked, can't be opened any more and so
 * becomes `then`; NULL: none, and no other. */
static int falls_back(const char *name, const char *then) {
    poller_choose(name);
    if (strcmp(poller_name(), "uring") != 0 || !forbid_io_uring() ||
        uv_loop_init(&loop) < 0) {
        return 1;
    }
    int error = poller_open(&poller, &loop, on_ready, on_sent);
    if (!then) {
        return error == UV_EPERM && strcmp(poller_name(), "uring") == 0 ? 0 : 2;
    }
    return error == 0 && strcmp(poller_name(), then) == 0 &&
                   strstr(poller_why(), "uring could not be opened: ")
               ? 0
               : 3;
}

TEST(poller_takes_the_next_when_io_uring_fails_later) {
    if (poller_choose("uring") < 0 || poller_choose("epoll") < 0) {
        test_skip("there are no two ways");
    } else {
        for (int i = 0; i < 2; i++) {
            pid_t child = fork();
            if (child == 0) {
                _exit(i == 0 ? falls_back("auto", "epoll") : falls_back("uring", NULL));
            }
            check_child(child);
        }
    }
    poller_choose("auto");
}

TEST(poller_says_that_io_uring_is_forbidden) {
    if (poller_choose("epoll") < 0) {
        test_skip("only one way is built in");
        return;
    }
    poller_choose("auto");
    pid_t child = fork();
    if (child == 0) {
        /* A fresh program: what was found out about io_uring is kept in a process. */
        if (!forbid_io_uring()) {
            _exit(77);
        }
        execl("/proc/self/exe", "test", "poller_forbidden_child", (char *)NULL);
        _exit(78);
    }
    check_child(child);
}

/* Run by the one above, in a process of its own; elsewhere the system decides. */
TEST(poller_forbidden_child) {
    if (prctl(PR_GET_SECCOMP) == 0) {
        poller_choose("auto");
        CHECK(poller_name()[0] != '\0');
        CHECK_INT(poller_choose("smoke"), UV_EINVAL);
        poller_choose("auto");
        return;
    }
    poller_choose("auto");
    CHECK(strcmp(poller_name(), "epoll") == 0);
    CHECK(strstr(poller_why(), "forbids io_uring"));
    CHECK(poller_choose("uring") < 0);
    poller_choose("auto");
}
