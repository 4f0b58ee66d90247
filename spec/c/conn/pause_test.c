/* pause_test.c: a client that the program wants no more of for a while. */
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "server.h"
#include "test.h"

/* Pauses a client at each of its messages. */
static void pause_each(struct server *server, const struct sync_event *event) {
    if (event->type == SYNC_DATA) {
        sync_pause(server->sync, event->id, 1);
    }
}

static void open_pausing(struct server *server, struct sync_options *options) {
    server_open(server);
    server->handle = pause_each;
    *options = server_options(SYNC_FRAMING_LINE);
}

TEST(pause_gives_nothing_until_it_is_over) {
    struct server server;
    struct sync_options options;
    open_pausing(&server, &options);
    uint32_t port = server_listen(&server, &options);
    int fd = client_connect(port);
    REQUIRE(fd >= 0);
    CHECK(client_send(fd, "one\n", 4));
    WAIT(&server, server_saw(&server, SYNC_DATA, 1) == 1);
    CHECK(client_send(fd, "two\n", 4));
    /* Another client's message comes later than this one's would. */
    int other = client_connect(port);
    CHECK(client_send(other, "other\n", 6));
    WAIT(&server, server_saw(&server, SYNC_DATA, 2) == 1);
    server_tick(&server, false);
    CHECK_INT(server_saw(&server, SYNC_DATA, 1), 1);
    sync_pause(server.sync, 1, 0);
    WAIT(&server, server_saw(&server, SYNC_DATA, 1) == 2);
    close(fd);
    close(other);
    server_close(&server);
}

TEST(pause_slows_the_client_down) {
    struct server server;
    struct sync_options options;
    open_pausing(&server, &options);
    uint32_t port = server_listen(&server, &options);
    int fd = client_connect(port);
    REQUIRE(fd >= 0);
    CHECK(client_send(fd, "one\n", 4));
    WAIT(&server, server_saw(&server, SYNC_DATA, 1) == 1);
    double before = server.sync->bytes_in;
    static char much[256 * 1024];
    memset(much, 'x', sizeof(much));
    CHECK(client_send(fd, much, 100 * 1000)); /* the kernel keeps it */
    int other = client_connect(port);
    CHECK(client_send(other, "other\n", 6));
    WAIT(&server, server_saw(&server, SYNC_DATA, 2) == 1);
    CHECK_INT(server.sync->bytes_in - before, 6);
    CHECK_INT(sync_held(server.sync, 1), 0);
    close(fd);
    close(other);
    server_close(&server);
}

TEST(pause_stops_the_clocks) {
    struct server server;
    struct sync_options options;
    open_pausing(&server, &options);
    options.idle_timeout = 20;
    options.message_timeout = 20;
    uint32_t port = server_listen(&server, &options);
    int fd = client_connect(port);
    REQUIRE(fd >= 0);
    CHECK(client_send(fd, "one\ntw", 6)); /* the second is begun */
    WAIT(&server, server_saw(&server, SYNC_DATA, 1) == 1);
    sync_timer_start(server.sync, 200, 0);
    WAIT(&server, server_saw(&server, SYNC_TIMER, 0) == 1);
    CHECK_INT(server_saw(&server, SYNC_CLOSE, 1), 0);
    sync_pause(server.sync, 1, 0);
    WAIT(&server, server_close_reason(&server, 1) != 0); /* now they run again */
    close(fd);
    server_close(&server);
}

TEST(pause_hears_of_a_reset) {
    struct server server;
    struct sync_options options;
    open_pausing(&server, &options);
    int fd = client_connect(server_listen(&server, &options));
    REQUIRE(fd >= 0);
    CHECK(client_send(fd, "one\n", 4));
    WAIT(&server, server_saw(&server, SYNC_DATA, 1) == 1);
    client_reset(fd);
    WAIT(&server, server_close_reason(&server, 1) == SYNC_RESET);
    server_close(&server);
}

TEST(pause_keeps_the_end_behind_what_waits) {
    struct server server;
    struct sync_options options;
    open_pausing(&server, &options);
    int fd = client_connect(server_listen(&server, &options));
    REQUIRE(fd >= 0);
    CHECK(client_send(fd, "one\n", 4));
    WAIT(&server, server_saw(&server, SYNC_DATA, 1) == 1);
    CHECK(client_send(fd, "two\n", 4));
    client_shut(fd);
    server_tick(&server, false);
    server_tick(&server, false);
    CHECK_INT(server_saw(&server, SYNC_CLOSE, 1), 0);
    sync_pause(server.sync, 1, 0);
    WAIT(&server, server_saw(&server, SYNC_DATA, 1) == 2);
    CHECK_INT(sync_send(server.sync, 1, "yes", 3), SYNC_SENT);
    sync_pause(server.sync, 1, 0);
    CHECK(client_gets(&server, fd, "yes\n", 4));
    WAIT(&server, server_close_reason(&server, 1) == SYNC_BY_CLIENT);
    close(fd);
    server_close(&server);
}

TEST(pause_goes_with_a_rate) {
    struct server server;
    struct sync_options options;
    open_pausing(&server, &options);
    options.message_interval = 1000;
    options.message_burst = 1;
    options.flood = SYNC_FLOOD_PAUSE;
    int fd = client_connect(server_listen(&server, &options));
    REQUIRE(fd >= 0);
    CHECK(client_send(fd, "one\ntwo\nthree\n", 14));
    WAIT(&server, server_saw(&server, SYNC_DATA, 1) == 1);
    sync_timer_start(server.sync, 100, 0); /* the rate would let it on */
    WAIT(&server, server_saw(&server, SYNC_TIMER, 0) == 1);
    CHECK_INT(server_saw(&server, SYNC_DATA, 1), 1);
    for (uint32_t i = 2; i <= 3; i++) {
        sync_pause(server.sync, 1, 0);
        WAIT(&server, server_saw(&server, SYNC_DATA, 1) == i);
    }
    close(fd);
    server_close(&server);
}

TEST(pause_lets_the_server_close) {
    struct server server;
    struct sync_options options;
    open_pausing(&server, &options);
    int fd = client_connect(server_listen(&server, &options));
    REQUIRE(fd >= 0);
    CHECK(client_send(fd, "one\ntwo\n", 8));
    WAIT(&server, server_saw(&server, SYNC_DATA, 1) >= 1);
    CHECK_INT(sync_send(server.sync, 1, "bye", 3), SYNC_SENT);
    sync_end(server.sync, 1, 0, "", 0);
    CHECK(client_gets(&server, fd, "bye\n", 4));
    CHECK(client_sees_end(&server, fd));
    close(fd);
    WAIT(&server, server_close_reason(&server, 1) == SYNC_BY_SERVER);
    server_close(&server);
}
