/* watch_test.c: other libraries' descriptors as events. */
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "server.h"
#include "test.h"

TEST(watch_tells_what_a_descriptor_is_ready_for_as_long_as_it_is) {
    struct server server;
    int pair[2];
    server_open(&server);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    int32_t id = sync_watch_start(server.sync, pair[0], SYNC_READABLE);
    REQUIRE(id > 0);
    server_tick(&server, false);
    CHECK_INT(server.count, 0);
    CHECK_INT(write(pair[1], "ab", 2), 2);
    WAIT(&server, server.count == 2); /* in two ticks, as nobody reads */
    CHECK_INT(server.seen[0].value, SYNC_READABLE);
    CHECK(server.seen[0].tick != server.seen[1].tick);
    char bytes[2];
    CHECK_INT(read(pair[0], bytes, 2), 2);
    server_forget(&server);
    server_tick(&server, false);
    CHECK_INT(server.count, 0);
    CHECK_INT(sync_watch_change(server.sync, (uint32_t)id, SYNC_WRITABLE), 0);
    WAIT(&server, server_saw(&server, SYNC_WATCH, (uint32_t)id) == 1);
    CHECK_INT(server.seen[0].value, SYNC_WRITABLE);
    CHECK_INT(sync_watch_change(server.sync, (uint32_t)id, 0), 0);
    server_forget(&server);
    CHECK_INT(sync_poll(server.sync, 1), -1); /* one that watches nothing keeps nothing */
    CHECK_INT(sync_watch_change(server.sync, (uint32_t)id, SYNC_READABLE), 0);
    close(pair[1]);
    WAIT(&server,
         server_saw(&server, SYNC_WATCH, (uint32_t)id) >= 1); /* the end is read */
    sync_watch_stop(server.sync, (uint32_t)id);
    sync_watch_stop(server.sync, (uint32_t)id);
    CHECK_INT(sync_watch_change(server.sync, (uint32_t)id, 0), UV_EINVAL);
    server_forget(&server);
    CHECK_INT(sync_poll(server.sync, 1), -1);
    CHECK_INT(close(pair[0]), 0); /* it was left open */
    server_close(&server);
}

TEST(watch_keeps_its_id_until_nothing_of_it_comes) {
    enum { WATCHES = 3 };
    struct server server;
    int pair[2];
    server_open(&server);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    int32_t id = sync_watch_start(server.sync, pair[0], SYNC_READABLE);
    REQUIRE(id > 0);
    sync_watch_stop(server.sync, (uint32_t)id);
    int32_t other = sync_watch_start(server.sync, pair[1], SYNC_READABLE);
    CHECK(other > 0 && other != id);
    CHECK_INT(write(pair[0], "a", 1), 1);
    WAIT(&server, server_saw(&server, SYNC_WATCH, (uint32_t)other) == 1);
    CHECK_INT(server_saw(&server, SYNC_WATCH, (uint32_t)id), 0);
    for (int i = 0; i < WATCHES; i++) { /* ids are used again */
        int32_t third = sync_watch_start(server.sync, pair[0], SYNC_READABLE);
        CHECK_INT(third, id);
        sync_watch_stop(server.sync, (uint32_t)third);
        server_tick(&server, false);
    }
    server_close(&server);
    close(pair[0]);
    close(pair[1]);
}

TEST(watch_that_is_unheld_lets_the_loop_end) {
    struct server server;
    int pair[2];
    server_open(&server);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    uint32_t interest = SYNC_READABLE | SYNC_UNHELD;
    CHECK(sync_watch_start(server.sync, pair[0], interest) > 0);
    CHECK_INT(sync_poll(server.sync, 1), -1);
    CHECK_INT(write(pair[1], "a", 1), 1);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    CHECK(server_listen(&server, &options) > 0); /* which holds it */
    WAIT(&server, server_saw(&server, SYNC_WATCH, 0) == 1);
    server_close(&server);
    close(pair[0]);
    close(pair[1]);
}

/* A pair of TCP sockets of which the second sends bytes and then a reset. */
static void reset_behind(const char *bytes, size_t length, int *fd) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    REQUIRE(bind(listener, (struct sockaddr *)&address, size) == 0);
    REQUIRE(listen(listener, 1) == 0);
    REQUIRE(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    int reader = *fd = socket(AF_INET, SOCK_STREAM, 0);
    REQUIRE(connect(reader, (struct sockaddr *)&address, size) == 0);
    int writer = accept(listener, NULL, NULL);
    REQUIRE(write(writer, bytes, length) == (ssize_t)length);
    close(writer); /* and what is sent to it from now on is answered with a reset */
    REQUIRE(write(reader, "?", 1) == 1);
    close(listener);
}

TEST(watch_tells_of_a_broken_descriptor_until_it_is_taken) {
    struct server server;
    server_open(&server);
    int fd = -1;
    reset_behind("last", 4, &fd);
    int32_t id = sync_watch_start(server.sync, fd, SYNC_READABLE);
    REQUIRE(id > 0);
    WAIT(&server, server.count == 3); /* in three ticks: a library may read in parts */
    CHECK_INT(server.seen[0].value, SYNC_READABLE | SYNC_BROKEN);
    CHECK_INT(server.seen[2].value, SYNC_READABLE | SYNC_BROKEN);
    CHECK(server.seen[0].tick != server.seen[1].tick);
    sync_watch_stop(server.sync, (uint32_t)id);
    server_forget(&server);
    CHECK_INT(sync_poll(server.sync, 1), -1);
    close(fd);
    server_close(&server);
}

TEST(watch_of_no_descriptor_is_refused) {
    struct server server;
    server_open(&server);
    CHECK(sync_watch_start(server.sync, 99999, SYNC_READABLE) < 0);
    server_close(&server);
}

TEST(watch_ends_with_the_core) {
    struct server server;
    int pair[2];
    server_open(&server);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    CHECK(sync_watch_start(server.sync, pair[0], SYNC_WRITABLE) > 0);
    server_close(&server);
    close(pair[0]);
    close(pair[1]);
}
