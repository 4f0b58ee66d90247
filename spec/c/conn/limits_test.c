/* limits_test.c: every bound holds, and what happens at it costs the others nothing. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "client.h"
#include "server.h"
#include "test.h"

static double cpu_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static const struct seen *find_notice(const struct server *server, uint32_t value) {
    for (size_t i = 0; i < server->count; i++) {
        const struct seen *seen = &server->seen[i];
        if (seen->type == SYNC_NOTICE && seen->value == value) {
            return seen;
        }
    }
    return NULL;
}

TEST(limits_max_clients_pauses_and_resumes) {
    struct server server;
    int fds[5];
    server_open(&server);
    server.handle = server_echo;
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    options.max_clients = 3;
    uint32_t port = server_listen(&server, &options);
    for (int i = 0; i < 5; i++) {
        fds[i] = client_connect(port);
        REQUIRE(fds[i] >= 0);
        CHECK(client_send(fds[i], "hi\n", 3));
    }
    WAIT(&server, server_saw(&server, SYNC_DATA, 0) == 3);
    WAIT(&server, find_notice(&server, SYNC_ACCEPT_PAUSED));
    CHECK_INT(server.sync->client_count, 3);
    CHECK_INT(find_notice(&server, SYNC_ACCEPT_PAUSED)->id, 1);
    for (int i = 0; i < 2; i++) { /* one goes, one of those who wait comes */
        close(fds[i]);
        WAIT(&server, server_saw(&server, SYNC_DATA, 0) == 4 + (uint32_t)i);
        CHECK_INT(server.sync->client_count, 3);
    }
    CHECK(client_gets(&server, fds[4], "hi\n", 3));
    CHECK_INT(server_saw(&server, SYNC_CONNECT, 0), 5);
    CHECK_INT(server_saw(&server, SYNC_NOTICE, 0), 1); /* it was full all the time */
    for (int i = 2; i < 5; i++) {
        close(fds[i]);
    }
    WAIT(&server, find_notice(&server, SYNC_ACCEPT_RESUMED));
    server_wait_gone(&server);
    CHECK_INT(server_saw(&server, SYNC_NOTICE, 0), 2);
    server_close(&server);
}

TEST(limits_of_the_whole_core_pause_and_resume) {
    struct server server;
    int fds[4];
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    uint32_t ports[] = {server_listen(&server, &options),
                        server_listen(&server, &options)};
    sync_limit_clients(server.sync, 2);
    CHECK_INT(server.sync->client_limit, 2);
    for (int i = 0; i < 4; i++) {
        fds[i] = client_connect(ports[i % 2]);
        REQUIRE(fds[i] >= 0);
    }
    WAIT(&server, server_saw(&server, SYNC_CONNECT, 0) == 2);
    WAIT(&server, find_notice(&server, SYNC_ACCEPT_PAUSED));
    CHECK_INT(server.sync->client_count, 2);
    sync_limit_clients(server.sync, 4);
    WAIT(&server, server_saw(&server, SYNC_CONNECT, 0) == 4);
    for (int i = 0; i < 4; i++) {
        close(fds[i]);
    }
    server_close(&server);
}

TEST(limits_resumed_is_told_at_once) {
    struct server server;
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    uint32_t port = server_listen(&server, &options);
    sync_limit_clients(server.sync, 1);
    int fd = client_connect(port);
    WAIT(&server, find_notice(&server, SYNC_ACCEPT_PAUSED));
    server_settle(&server);
    sync_limit_clients(server.sync, 10); /* and nothing else happens */
    double begin = sync_now();
    WAIT(&server, find_notice(&server, SYNC_ACCEPT_RESUMED));
    CHECK(sync_now() - begin < 2);
    close(fd);
    server_close(&server);
}

/* Uses up every file but `left`, and gives them back. */
struct hoard {
    struct rlimit before;
    int fds[1100];
    int count;
};

static void hoard_files(struct hoard *hoard, int left) {
    getrlimit(RLIMIT_NOFILE, &hoard->before);
    struct rlimit limit = hoard->before;
    limit.rlim_cur = 1024;
    setrlimit(RLIMIT_NOFILE, &limit);
    hoard->count = 0;
    int fd;
    while (hoard->count < 1100 && (fd = open("/dev/null", O_RDONLY)) >= 0) {
        hoard->fds[hoard->count++] = fd;
    }
    while (left-- > 0) {
        close(hoard->fds[--hoard->count]);
    }
}

static void hoard_release(struct hoard *hoard) {
    while (hoard->count > 0) {
        close(hoard->fds[--hoard->count]);
    }
    setrlimit(RLIMIT_NOFILE, &hoard->before);
}

TEST(limits_no_file_left_neither_spins_nor_sheds_who_waits) {
    struct server server;
    struct hoard hoard;
    int fds[4];
    server_open(&server);
    server.handle = server_echo;
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    uint32_t port = server_listen(&server, &options);
    server_tick(&server, false);
    hoard_files(&hoard, 6); /* four here, and one or two of them there */
    for (int i = 0; i < 4; i++) {
        fds[i] = client_connect(port);
        CHECK(fds[i] >= 0);
        CHECK(client_send(fds[i], "hi\n", 3));
    }
    WAIT(&server, find_notice(&server, SYNC_ACCEPT_FILES));
    WAIT(&server, server_saw(&server, SYNC_DATA, 0) > 0);
    uint32_t served = server_saw(&server, SYNC_CONNECT, 0);
    CHECK(served < 3);

    /* For a second there is nothing to do but to try again now and then. */
    uint32_t ticks = server.ticks;
    double cpu = cpu_seconds();
    int32_t timer = sync_timer_start(server.sync, 1000, 0);
    CHECK(timer > 0);
    WAIT(&server, server_saw(&server, SYNC_TIMER, (uint32_t)timer) == 1);
    CHECK(server.ticks - ticks < 100);
    CHECK(cpu_seconds() - cpu < 0.5);
    CHECK_INT(server_saw(&server, SYNC_CONNECT, 0), served);
    CHECK_INT(server_saw(&server, SYNC_NOTICE, 0), 1); /* said once */

    /* Those who are served notice nothing. */
    CHECK(client_gets(&server, fds[0], "hi\n", 3));
    CHECK(client_send(fds[0], "still there\n", 12));
    CHECK(client_gets(&server, fds[0], "still there\n", 12));

    /* One leaves, and who waits is served; then files are free again. */
    close(fds[0]);
    WAIT(&server, server_saw(&server, SYNC_CONNECT, 0) > served);
    hoard_release(&hoard);
    WAIT(&server, server_saw(&server, SYNC_CONNECT, 0) == 4);
    for (int i = 1; i < 4; i++) {
        CHECK(client_gets(&server, fds[i], "hi\n", 3));
        close(fds[i]);
    }
    server_wait_gone(&server);
    server_close(&server);
}

TEST(limits_a_paused_listener_costs_nothing) {
    struct server server;
    int fds[3];
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    options.max_clients = 1;
    uint32_t port = server_listen(&server, &options);
    for (int i = 0; i < 3; i++) {
        fds[i] = client_connect(port);
    }
    WAIT(&server, find_notice(&server, SYNC_ACCEPT_PAUSED));
    uint32_t ticks = server.ticks;
    int32_t timer = sync_timer_start(server.sync, 300, 0);
    WAIT(&server, server_saw(&server, SYNC_TIMER, (uint32_t)timer) == 1);
    CHECK(server.ticks - ticks < 20);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
    server_close(&server);
}

/* What a time-out test begins with: one client of a server with these options. */
static int open_with_client(struct server *server, const struct sync_options *options) {
    server_open(server);
    int fd = client_connect(server_listen(server, options));
    CHECK(fd >= 0);
    WAIT(server, server_saw(server, SYNC_CONNECT, 1) == 1);
    return fd;
}

/* Seconds until the client is closed, which must be for that reason. */
static double seconds_to_close(struct server *server, uint32_t reason) {
    double begin = sync_now();
    WAIT(server, server_saw(server, SYNC_CLOSE, 1) == 1);
    CHECK_INT(server_close_reason(server, 1), reason);
    return sync_now() - begin;
}

TEST(limits_idle_client_is_closed) {
    struct server server;
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    options.idle_timeout = 200;
    int fd = open_with_client(&server, &options);
    double took = seconds_to_close(&server, SYNC_IDLE);
    CHECK(took > 0.15);
    CHECK(took < 1.5);
    CHECK(client_sees_reset(&server, fd));
    close(fd);
    server_close(&server);
}

TEST(limits_client_that_talks_is_not_idle) {
    struct server server;
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    options.idle_timeout = 300;
    int fd = open_with_client(&server, &options);
    int32_t timer = sync_timer_start(server.sync, 50, 50);
    CHECK(timer > 0);
    double begin = sync_now();
    for (uint32_t i = 1; sync_now() - begin < 0.8; i++) {
        WAIT(&server, server_saw(&server, SYNC_TIMER, (uint32_t)timer) >= i);
        CHECK(client_send(fd, "a", 1)); /* a byte is enough */
    }
    CHECK_INT(server_saw(&server, SYNC_CLOSE, 1), 0);
    seconds_to_close(&server, SYNC_IDLE);
    close(fd);
    server_close(&server);
}

TEST(limits_unfinished_first_message) {
    struct server server;
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    options.first_timeout = 200;
    options.message_timeout = 60000;
    int fd = open_with_client(&server, &options);
    CHECK(client_send(fd, "begun", 5));
    double took = seconds_to_close(&server, SYNC_UNFINISHED);
    CHECK(took > 0.15);
    CHECK(took < 1.5);
    close(fd);
    server_close(&server);
}

TEST(limits_drip_does_not_keep_an_unfinished_message_alive) {
    struct server server;
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    options.first_timeout = 400;
    options.idle_timeout = 60000;
    int fd = open_with_client(&server, &options);
    int32_t timer = sync_timer_start(server.sync, 0, 50);
    double begin = sync_now();
    for (uint32_t i = 1; !server_saw(&server, SYNC_CLOSE, 1) && i < 100; i++) {
        WAIT(&server, server_saw(&server, SYNC_TIMER, (uint32_t)timer) >= i);
        send(fd, "x", 1, MSG_NOSIGNAL);
    }
    CHECK_INT(server_close_reason(&server, 1), SYNC_UNFINISHED);
    CHECK(sync_now() - begin < 2);
    close(fd);
    server_close(&server);
}

TEST(limits_unfinished_later_message) {
    struct server server;
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    options.first_timeout = 60000;
    options.message_timeout = 200;
    int fd = open_with_client(&server, &options);
    CHECK(client_send(fd, "whole\nbegun", 11));
    double took = seconds_to_close(&server, SYNC_UNFINISHED);
    CHECK(took > 0.15);
    CHECK(took < 1.5);
    CHECK_INT(server_saw(&server, SYNC_DATA, 1), 1);
    close(fd);
    server_close(&server);
}

TEST(limits_finished_messages_and_silence_are_no_unfinished_ones) {
    struct server server;
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    options.first_timeout = 100;
    options.message_timeout = 100;
    int fd = open_with_client(&server, &options);
    int32_t timer = sync_timer_start(server.sync, 400, 400);
    WAIT(&server, server_saw(&server, SYNC_TIMER, (uint32_t)timer) == 1); /* silent */
    CHECK(client_send(fd, "half", 4));
    WAIT(&server, server.sync->bytes_in == 4);
    CHECK(client_send(fd, "way\n", 4));
    WAIT(&server, server_saw(&server, SYNC_DATA, 1) == 1);
    WAIT(&server, server_saw(&server, SYNC_TIMER, (uint32_t)timer) == 2);
    CHECK_INT(server_saw(&server, SYNC_CLOSE, 1), 0);
    close(fd);
    server_close(&server);
}

TEST(limits_close_timeout_ends_a_reader_that_never_reads) {
    struct server server;
    static char bytes[8 * 1024 * 1024];
    struct sync_options options = server_options(SYNC_FRAMING_RAW);
    options.max_queue = sizeof(bytes);
    options.high_water = sizeof(bytes);
    options.close_timeout = 200;
    server_open(&server);
    int fd = client_connect_slow(server_listen(&server, &options), 4096);
    REQUIRE(fd >= 0);
    WAIT(&server, server_saw(&server, SYNC_CONNECT, 1) == 1);
    CHECK_INT(sync_send(server.sync, 1, bytes, sizeof(bytes)), SYNC_SENT);
    double begin = sync_now();
    server_tick(&server, false); /* time is counted from a tick's begin */
    sync_end(server.sync, 1, 0, "", 0);
    WAIT(&server, server_saw(&server, SYNC_CLOSE, 1) == 1);
    CHECK(sync_now() - begin > 0.15);
    CHECK(sync_now() - begin < 1.5);
    /* Not SYNC_BY_SERVER, which says that everything was written. */
    CHECK_INT(server_close_reason(&server, 1), SYNC_RESET);
    server_wait_gone(&server);
    CHECK(client_sees_reset(&server, fd));
    close(fd);
    server_close(&server);
}

TEST(limits_close_timeout_ends_a_client_that_stays) {
    struct server server;
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    options.close_timeout = 200;
    int fd = open_with_client(&server, &options);
    sync_send(server.sync, 1, "bye", 3);
    sync_end(server.sync, 1, 0, "", 0);
    WAIT(&server, server_saw(&server, SYNC_CLOSE, 1) == 1);
    CHECK_INT(server_close_reason(&server, 1), SYNC_BY_SERVER);
    CHECK_INT(server.sync->client_count, 1); /* it lingers */
    server_wait_gone(&server);
    CHECK(client_gets(&server, fd, "bye\n", 4));
    CHECK(client_sees_end(&server, fd));
    close(fd);
    server_close(&server);
}

TEST(limits_reader_that_never_reads_has_a_queue_of_at_most_max_queue) {
    for (uint32_t overflow = SYNC_OVERFLOW_CLOSE; overflow <= SYNC_OVERFLOW_DROP;
         overflow++) {
        enum { READERS = 4, MOST = 200 * 1024, COUNT = 2000 };
        struct server server;
        int fds[READERS];
        uint32_t slots[READERS];
        static char message[10000];
        static char read_bytes[65536];
        struct sync_options options = server_options(SYNC_FRAMING_RAW);
        options.max_queue = MOST;
        options.high_water = MOST / 2;
        options.overflow = overflow;
        server_open(&server);
        uint32_t port = server_listen(&server, &options);
        for (uint32_t i = 0; i < READERS; i++) {
            fds[i] = i ? client_connect(port) : client_connect_slow(port, 4096);
            REQUIRE(fds[i] >= 0);
            WAIT(&server, server_saw(&server, SYNC_CONNECT, 0) == i + 1);
            slots[i] = i + 1;
        }
        size_t read_length[READERS] = {0};
        for (int n = 0; n < COUNT; n++) {
            sync_send_many(server.sync, slots, READERS, 0, message, sizeof(message));
            CHECK(sync_queued(server.sync, 1) <= MOST);
            server_tick(&server, false);
            for (int i = 1; i < READERS; i++) {
                long got;
                while ((got = client_poll(fds[i], read_bytes, sizeof(read_bytes))) > 0) {
                    read_length[i] += (size_t)got;
                }
            }
        }
        for (int i = 1; i < READERS; i++) {
            double until = sync_now() + 5;
            while (read_length[i] < COUNT * sizeof(message) && sync_now() < until) {
                server_tick(&server, false);
                long got = client_poll(fds[i], read_bytes, sizeof(read_bytes));
                read_length[i] += got > 0 ? (size_t)got : 0;
            }
            CHECK_INT(read_length[i], COUNT * sizeof(message));
            CHECK_INT(server_saw(&server, SYNC_CLOSE, (uint32_t)i + 1), 0);
        }
        if (overflow == SYNC_OVERFLOW_CLOSE) {
            CHECK_INT(server_close_reason(&server, 1), SYNC_QUEUE_FULL);
        } else {
            CHECK_INT(server_saw(&server, SYNC_CLOSE, 1), 0);
            CHECK_INT(server_saw(&server, SYNC_OVERFLOW, 1), 1);
            CHECK(server.sync->messages_dropped > COUNT / 2);
            /* It reads after all, and is told how much it missed. */
            while (!server_saw(&server, SYNC_DRAIN, 1)) {
                while (client_poll(fds[0], read_bytes, sizeof(read_bytes)) > 0) {
                }
                server_tick(&server, false);
            }
            CHECK_INT(server_find(&server, SYNC_DRAIN, 1)->value,
                      (int64_t)server.sync->messages_dropped);
        }
        for (int i = 0; i < READERS; i++) {
            close(fds[i]);
        }
        server_close(&server);
    }
}

TEST(limits_much_in_one_tick_is_no_overflow_for_one_who_reads) {
    /* 40 MB in a tick's handler, as long as the kernel takes it. */
    struct server server;
    static char bytes[65536];
    struct sync_options options = server_options(SYNC_FRAMING_RAW);
    options.max_queue = 256 * 1024;
    options.high_water = 128 * 1024;
    int fd = open_with_client(&server, &options);
    for (int i = 0; i < 600; i++) {
        CHECK_INT(sync_send(server.sync, 1, bytes, sizeof(bytes)), SYNC_SENT);
        CHECK(sync_queued(server.sync, 1) <= options.high_water);
        size_t length = sizeof(bytes);
        while (length > 0 && i > 0) {
            long got = client_poll(fd, bytes, length);
            if (got <= 0) {
                break;
            }
            length -= (size_t)got;
        }
    }
    close(fd);
    server_close(&server);
}

TEST(limits_memory_of_clients_that_left_is_given_back) {
    struct server server;
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    server_memory(&server, &options, 20000);
    for (uint32_t slot = 1; slot <= 20000; slot++) {
        sync_send(server.sync, slot, "hello", 5);
        sync_abort(server.sync, slot);
    }
    server_settle(&server);
    CHECK_INT(server.sync->client_count, 0);
    CHECK(server_saw(&server, SYNC_FREED, 0) > 0);
    sync_trim(server.sync);
    server_settle(&server);
    server_forget(&server);
    server_close(&server);
}

/* Twelve lines at once to a server that takes 50 a second, three of them at once. */
static const char lines[] = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\n";

static struct sync_options rated(uint32_t flood) {
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    options.message_interval = 20000;
    options.message_burst = 3;
    options.flood = flood;
    return options;
}

static bool got(struct server *server, const char *wanted) {
    size_t length;
    return strcmp(server_messages(server, 1, '|', &length), wanted) == 0;
}

TEST(limits_client_that_floods_is_closed_after_its_burst) {
    struct server server;
    struct sync_options options = rated(SYNC_FLOOD_CLOSE);
    int fd = open_with_client(&server, &options);
    CHECK(client_send(fd, lines, sizeof(lines) - 1));
    seconds_to_close(&server, SYNC_FLOODED);
    CHECK(got(&server, "a|b|c|"));
    CHECK(client_sees_end(&server, fd));
    close(fd);
    server_close(&server);
}

TEST(limits_client_within_its_rate_is_not_closed) {
    struct server server;
    struct sync_options options = rated(SYNC_FLOOD_CLOSE);
    int fd = open_with_client(&server, &options);
    int32_t timer = sync_timer_start(server.sync, 30, 30);
    for (uint32_t i = 1; i <= 20; i++) {
        CHECK(client_send(fd, "x\nbegun ", 8)); /* only what is whole counts */
        WAIT(&server, server_saw(&server, SYNC_TIMER, (uint32_t)timer) >= i);
    }
    CHECK_INT(server_saw(&server, SYNC_DATA, 1), 20);
    CHECK_INT(server_saw(&server, SYNC_CLOSE, 1), 0);
    close(fd);
    server_close(&server);
}

TEST(limits_client_that_floods_is_read_no_faster) {
    struct server server;
    struct sync_options options = rated(SYNC_FLOOD_PAUSE);
    int fd = open_with_client(&server, &options);
    double begin = sync_now();
    CHECK(client_send(fd, lines, sizeof(lines) - 1));
    WAIT(&server, got(&server, "a|b|c|"));
    CHECK_INT(sync_send(server.sync, 1, "hello", 5), SYNC_SENT); /* it still hears */
    CHECK(client_gets(&server, fd, "hello\n", 6));
    double cpu = cpu_seconds();
    WAIT(&server, got(&server, "a|b|c|d|e|f|g|h|i|j|k|l|"));
    CHECK(cpu_seconds() - cpu < 0.1); /* it isn't asked again and again */
    CHECK(sync_now() - begin > 9 * 0.02);
    CHECK_INT(server_saw(&server, SYNC_CLOSE, 1), 0);
    CHECK(client_send(fd, "m\n", 2));
    WAIT(&server, got(&server, "a|b|c|d|e|f|g|h|i|j|k|l|m|"));
    close(fd);
    WAIT(&server, server_close_reason(&server, 1) == SYNC_BY_CLIENT);
    server_close(&server);
}

/* What a client has sent before it ends is taken first, at its rate. */
TEST(limits_client_that_floods_and_ends_is_heard_out) {
    struct server server;
    struct sync_options options = rated(SYNC_FLOOD_PAUSE);
    int fd = open_with_client(&server, &options);
    CHECK(client_send(fd, lines, sizeof(lines) - 1));
    close(fd);
    WAIT(&server, server_close_reason(&server, 1) == SYNC_BY_CLIENT);
    CHECK(got(&server, "a|b|c|d|e|f|g|h|i|j|k|l|"));
    server_close(&server);
}

TEST(limits_client_that_floods_can_be_closed) {
    struct server server;
    struct sync_options options = rated(SYNC_FLOOD_PAUSE);
    options.message_interval = 60000000; /* it isn't read for a minute */
    int fd = open_with_client(&server, &options);
    CHECK(client_send(fd, lines, sizeof(lines) - 1));
    WAIT(&server, got(&server, "a|b|c|"));
    for (int i = 0; i < 3; i++) {
        server_tick(&server, false);
    }
    CHECK_INT(sync_send(server.sync, 1, "bye", 3), SYNC_SENT);
    sync_end(server.sync, 1, 0, "", 0);
    CHECK(client_gets(&server, fd, "bye\n", 4));
    close(fd);
    double took = seconds_to_close(&server, SYNC_BY_SERVER);
    CHECK(took < 2);
    CHECK(got(&server, "a|b|c|"));
    server_close(&server);
}

/* Ends its side and reads nothing, while a queue that no kernel takes waits for it. */
TEST(limits_client_that_is_owed_data_and_ends_costs_nothing) {
    struct server server;
    static char bytes[16 * 1024 * 1024];
    struct sync_options options = server_options(SYNC_FRAMING_RAW);
    options.max_queue = sizeof(bytes);
    options.high_water = sizeof(bytes);
    options.close_timeout = 1000;
    server_open(&server);
    int fd = client_connect_slow(server_listen(&server, &options), 4096);
    REQUIRE(fd >= 0);
    WAIT(&server, server_saw(&server, SYNC_CONNECT, 1) == 1);
    CHECK_INT(sync_send(server.sync, 1, bytes, sizeof(bytes)), SYNC_SENT);
    client_shut(fd);
    WAIT(&server, server_close_reason(&server, 1) == SYNC_BY_CLIENT);
    uint32_t ticks = server.ticks;
    double cpu = cpu_seconds();
    int32_t timer = sync_timer_start(server.sync, 500, 0);
    WAIT(&server, server_saw(&server, SYNC_TIMER, (uint32_t)timer) == 1);
    CHECK(server.ticks - ticks < 20);
    CHECK(cpu_seconds() - cpu < 0.05);
    CHECK_INT(server.sync->client_count, 1); /* it may still read */
    server_wait_gone(&server);
    CHECK(client_sees_reset(&server, fd));
    close(fd);
    server_close(&server);
}

static struct sync_options for_http(void) {
    struct sync_options options = server_options(SYNC_FRAMING_RAW);
    options.transports = SYNC_HTTP;
    options.max_head = 1024;
    options.max_headers = 10;
    return options;
}

static const char get[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/* It isn't read until its request is answered; then what it sent behind that is thrown
 * away, and its end is seen. */
TEST(limits_client_that_ended_behind_its_last_request_is_not_waited_for) {
    struct server server;
    static char more[200 * 1024];
    struct sync_options options = for_http();
    options.close_timeout = 10000;
    server_open(&server);
    int fd = client_connect(server_listen(&server, &options));
    static const char request[] = "GET / HTTP/1.0\r\n\r\n";
    static const char answer[] = "HTTP/1.1 204 No Content\r\n\r\n";
    CHECK(client_send(fd, request, sizeof(request) - 1));
    WAIT(&server, server_saw(&server, SYNC_REQUEST, 1) == 1);
    CHECK(client_send(fd, more, sizeof(more)));
    client_shut(fd);
    int32_t timer = sync_timer_start(server.sync, 1, 1);
    WAIT(&server, server_saw(&server, SYNC_TIMER, (uint32_t)timer) > 3);
    double begin = sync_now();
    CHECK_INT(sync_respond(server.sync, 1, answer, sizeof(answer) - 1, 0), SYNC_SENT);
    server_wait_gone(&server);
    CHECK(sync_now() - begin < 5);
    CHECK(client_gets(&server, fd, answer, sizeof(answer) - 1));
    CHECK(client_sees_end(&server, fd));
    close(fd);
    server_close(&server);
}

/* Answers each request with 16 KiB. */
static void answer_much(struct server *server, const struct sync_event *event) {
    static char answer[16 * 1024] = "HTTP/1.1 200 OK\r\nContent-Length: 16338\r\n\r\n";
    if (event->type == SYNC_REQUEST) {
        sync_respond(server->sync, event->id, answer, sizeof(answer), 1);
    }
}

TEST(limits_requests_in_a_row_wait_while_their_answers_are_not_read) {
    enum { REQUESTS = 100, MOST = 80 * 1024 };
    struct server server;
    static char answers[MOST];
    struct sync_options options = for_http();
    server_open(&server);
    server.handle = answer_much;
    uint32_t listener = server_memory(&server, &options, 0);
    CHECK_INT(sync_memory_connect(server.sync, listener), 1);
    for (int i = 0; i < REQUESTS; i++) {
        server_feed(&server, 1, get, sizeof(get) - 1);
    }
    server_settle(&server);
    CHECK(sync_queued(server.sync, 1) > MOST / 2);
    CHECK(sync_queued(server.sync, 1) <= MOST);
    for (int i = 0; i < REQUESTS && server_saw(&server, SYNC_REQUEST, 1) < REQUESTS;
         i++) {
        server_take(&server, 1, answers, sizeof(answers));
        server_settle(&server);
    }
    CHECK_INT(server_saw(&server, SYNC_REQUEST, 1), REQUESTS);
    server_close(&server);
}

/* Answers a request with the file that it names. */
static void answer_file(struct server *server, const struct sync_event *event) {
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n";
    if (event->type == SYNC_REQUEST) {
        CHECK_INT(sync_file_open(server->sync, event->id, "big", 0, 0), 0);
    } else if (event->type == SYNC_FILE) {
        CHECK_INT(event->value, 0);
        sync_respond_file(server->sync, event->id, head, sizeof(head) - 1, 0, 5000000, 1);
    }
}

/* A file takes the place of a connection, for both are descriptors. */
TEST(limits_files_count_as_connections) {
    struct server server;
    char byte;
    struct sync_options options = for_http();
    server_open(&server);
    uint32_t port = server_listen(&server, &options);
    CHECK_INT(sync_listener_root(server.sync, 1, "/etc"), 0);
    sync_limit_clients(server.sync, 1);
    int fd = client_connect(port);
    CHECK(client_send(fd, get, sizeof(get) - 1));
    WAIT(&server, server_saw(&server, SYNC_REQUEST, 1) == 1);
    CHECK_INT(sync_file_open(server.sync, 1, "passwd", 0, 0), UV_EMFILE);
    sync_limit_clients(server.sync, 2);
    CHECK_INT(sync_file_open(server.sync, 1, "passwd", 0, 0), 0);
    WAIT(&server, server_saw(&server, SYNC_FILE, 1) == 1);
    int other = client_connect(port);
    CHECK(client_send(other, get, sizeof(get) - 1));
    CHECK(client_gets(&server, other, "HTTP/1.1 503", 12));
    CHECK_INT(sync_respond(server.sync, 1, "no", 2, 1), SYNC_SENT);
    close(other);
    other = client_connect(port);
    CHECK(client_send(other, get, sizeof(get) - 1));
    WAIT(&server, server_saw(&server, SYNC_REQUEST, 0) == 2);
    CHECK(client_gets(&server, fd, "no", 2));
    CHECK(client_poll(other, &byte, 1) == -1);
    close(fd);
    close(other);
    server_close(&server);
}

/* Its place is another's again, and nothing is left of the request. */
TEST(limits_file_of_a_request_that_is_upgraded_is_let_go) {
    struct server server;
    struct sync_options options = for_http();
    struct sync_websocket settings = {.mode = SYNC_WEBSOCKET_MESSAGES};
    server_open(&server);
    uint32_t port = server_listen(&server, &options);
    CHECK_INT(sync_listener_root(server.sync, 1, "/etc"), 0);
    sync_limit_clients(server.sync, 2);
    int fd = client_connect(port);
    CHECK(client_send(fd, get, sizeof(get) - 1));
    WAIT(&server, server_saw(&server, SYNC_REQUEST, 1) == 1);
    CHECK_INT(sync_file_open(server.sync, 1, "passwd", 0, 0), 0);
    WAIT(&server, server_saw(&server, SYNC_FILE, 1) == 1);
    CHECK_INT(sync_upgrade(server.sync, 1, "101\r\n\r\n", 7, &settings), SYNC_SENT);
    CHECK(client_gets(&server, fd, "101\r\n\r\n", 7));
    int other = client_connect(port);
    CHECK(client_send(other, get, sizeof(get) - 1));
    WAIT(&server, server_saw(&server, SYNC_REQUEST, 0) == 2);
    close(fd);
    close(other);
    server_close(&server);
}

/* What the kernel has of a file that isn't read: less than it would take. */
TEST(limits_slow_reader_of_a_file_holds_little_of_it) {
    struct server server;
    char folder[] = "/tmp/sync-test-XXXXXX";
    char path[64];
    REQUIRE(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/big", folder);
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    CHECK(file >= 0 && ftruncate(file, 5000000) == 0);
    close(file);
    struct sync_options options = for_http();
    server_open(&server);
    server.handle = answer_file;
    uint32_t port = server_listen(&server, &options);
    CHECK_INT(sync_listener_root(server.sync, 1, folder), 0);
    int fd = client_connect_slow(port, 4096);
    CHECK(client_send(fd, get, sizeof(get) - 1));
    WAIT(&server, server.sync->bytes_out > 64 * 1024);
    double before; /* until it gets no more */
    do {
        before = server.sync->bytes_out;
        int32_t timer = sync_timer_start(server.sync, 100, 0);
        WAIT(&server, server_saw(&server, SYNC_TIMER, (uint32_t)timer) == 1);
        server_forget(&server);
    } while (server.sync->bytes_out > before);
    CHECK(before < 512 * 1024);
    close(fd);
    server_close(&server);
    unlink(path);
    rmdir(folder);
}

static struct sync_options with_ping(uint32_t pong_timeout) {
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    options.ping_interval = 20;
    options.pong_timeout = pong_timeout;
    return options;
}

/* One that has sent nothing yet, and one that has. */
TEST(limits_silent_byte_streams_are_pinged_and_stay_when_they_answer) {
    struct server server;
    struct sync_options options = with_ping(60000);
    server_open(&server);
    uint32_t port = server_listen(&server, &options);
    CHECK_INT(sync_listener_ping(server.sync, 1, "there?", 6), 0);
    int fd = client_connect(port);
    for (int i = 0; i < 3; i++) {
        CHECK(client_gets(&server, fd, "there?\n", 7));
        CHECK(client_send(fd, "yes\n", 4));
        WAIT(&server, server_saw(&server, SYNC_DATA, 1) == (uint32_t)i + 1);
    }
    CHECK_INT(server_close_reason(&server, 1), 0);
    close(fd);
    server_close(&server);
}

TEST(limits_byte_stream_that_answers_no_ping_is_closed) {
    struct server server;
    struct sync_options options = with_ping(20);
    server_open(&server);
    uint32_t port = server_listen(&server, &options);
    CHECK_INT(sync_listener_ping(server.sync, 1, "there?", 6), 0);
    int fd = client_connect(port);
    CHECK(client_gets(&server, fd, "there?\n", 7));
    CHECK(client_sees_reset(&server, fd));
    CHECK_INT(server_close_reason(&server, 1), SYNC_NO_PONG);
    close(fd);
    server_close(&server);
}

/* A client that counts as a byte stream because it's silent. */
TEST(limits_silent_client_of_any_kind_is_pinged) {
    struct server server;
    struct sync_options options = with_ping(20);
    options.transports = SYNC_STREAMS | SYNC_HTTP;
    options.detect_timeout = 10;
    server_open(&server);
    uint32_t port = server_listen(&server, &options);
    CHECK_INT(sync_listener_ping(server.sync, 1, "there?", 6), 0);
    int fd = client_connect(port);
    CHECK(client_gets(&server, fd, "there?\n", 7));
    CHECK(client_sees_reset(&server, fd));
    CHECK_INT(server_close_reason(&server, 1), SYNC_NO_PONG);
    close(fd);
    server_close(&server);
}
