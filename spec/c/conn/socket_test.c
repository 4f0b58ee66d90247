/* socket_test.c: the core through real sockets: talking and going. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "server.h"
#include "test.h"

TEST(socket_messages_come_however_they_are_cut) {
    static const char bytes[] = "one\r\n\ntwo\nthree\n";
    for (size_t step = 1; step < sizeof(bytes); step += 3) {
        struct server server;
        uint32_t port = server_open_echo(&server, "127.0.0.1", SYNC_FRAMING_LINE);
        int fd = client_connect(port);
        REQUIRE(fd >= 0);
        for (size_t at = 0; at < sizeof(bytes) - 1; at += step) {
            size_t rest = sizeof(bytes) - 1 - at;
            CHECK(client_send(fd, bytes + at, step < rest ? step : rest));
            double wanted = (double)(at + (step < rest ? step : rest));
            WAIT(&server, server.sync->bytes_in == wanted);
        }
        CHECK(client_gets(&server, fd, "one\n\ntwo\nthree\n", 15));
        close(fd);
        server_close(&server);
    }
}

TEST(socket_half_close_gets_its_answer) {
    struct server server;
    uint32_t port = server_open_echo(&server, "127.0.0.1", SYNC_FRAMING_LINE);
    int fd = client_connect(port);
    REQUIRE(fd >= 0);
    CHECK(client_send(fd, "one\ntwo\nunfinished", 18));
    client_shut(fd);
    CHECK(client_gets(&server, fd, "one\ntwo\n", 8));
    CHECK(client_sees_end(&server, fd));
    WAIT(&server, server_close_reason(&server, 1) == SYNC_BY_CLIENT);
    server_wait_gone(&server);
    close(fd);
    server_close(&server);
}

/* More than a tick's messages, then the end: every one is answered. */
static void ask_much_and_end(struct server *server, int fd, bool whole_close) {
    enum { COUNT = 5000 };
    static char asked[COUNT * 2];
    for (size_t i = 0; i < sizeof(asked); i += 2) {
        asked[i] = (char)('a' + i % 26);
        asked[i + 1] = '\n';
    }
    REQUIRE(fd >= 0);
    CHECK(client_send(fd, asked, sizeof(asked)));
    if (whole_close) {
        close(fd);
    } else {
        client_shut(fd);
        CHECK(client_gets(server, fd, asked, sizeof(asked)));
        CHECK(client_sees_end(server, fd));
        close(fd);
    }
    WAIT(server, server_saw(server, SYNC_CLOSE, 1) == 1);
    CHECK_INT(server_saw(server, SYNC_DATA, 1), COUNT);
    server_wait_gone(server);
}

TEST(socket_half_close_after_many_messages_gets_every_answer) {
    struct server server;
    uint32_t port = server_open_echo(&server, "127.0.0.1", SYNC_FRAMING_LINE);
    ask_much_and_end(&server, client_connect(port), false);
    CHECK_INT(server_close_reason(&server, 1), SYNC_BY_CLIENT);
    server_close(&server);
}

TEST(socket_unix_half_close_after_many_messages_gets_every_answer) {
    struct server server;
    const char *path = client_unix_path();
    const char *host = client_unix_host();
    server_open_echo(&server, host, SYNC_FRAMING_LINE);
    ask_much_and_end(&server, client_connect_unix(path), false);
    server_close(&server);
}

TEST(socket_close_after_many_messages_loses_none) {
    struct server server;
    uint32_t port = server_open_echo(&server, "127.0.0.1", SYNC_FRAMING_LINE);
    server.handle = NULL; /* an answer would make the client's kernel reset */
    ask_much_and_end(&server, client_connect(port), true);
    CHECK_INT(server_close_reason(&server, 1), SYNC_BY_CLIENT);
    server_close(&server);
}

TEST(socket_unix_close_after_many_messages_loses_none) {
    struct server server;
    const char *path = client_unix_path();
    const char *host = client_unix_host();
    server_open_echo(&server, host, SYNC_FRAMING_LINE);
    server.handle = NULL;
    ask_much_and_end(&server, client_connect_unix(path), true);
    server_close(&server);
}

static void say_bye_and_end(struct server *server, const struct sync_event *event) {
    if (event->type == SYNC_DATA) {
        sync_send(server->sync, event->id, "bye", 3);
        sync_end(server->sync, event->id, 0, "", 0);
    }
}

TEST(socket_graceful_end_is_an_orderly_one_for_a_client_that_talks_on) {
    struct server server;
    uint32_t port = server_open_echo(&server, "127.0.0.1", SYNC_FRAMING_LINE);
    server.handle = say_bye_and_end;
    int fd = client_connect(port);
    REQUIRE(fd >= 0);
    CHECK(client_send(fd, "quit\nmore\n", 10));
    WAIT(&server, server_close_reason(&server, 1) == SYNC_BY_SERVER);
    for (int i = 0; i < 10; i++) {
        CHECK(client_send(fd, "and more\n", 9));
        server_tick(&server, false);
    }
    /* The handler only ended it at the first message; a host drops the rest. */
    CHECK(client_gets(&server, fd, "bye\n", 4));
    CHECK(client_sees_end(&server, fd));
    close(fd);
    server_wait_gone(&server);
    CHECK_INT(server_saw(&server, SYNC_CLOSE, 1), 1);
    server_close(&server);
}

TEST(socket_abort_resets) {
    struct server server;
    uint32_t port = server_open_echo(&server, "127.0.0.1", SYNC_FRAMING_LINE);
    int fd = client_connect(port);
    REQUIRE(fd >= 0);
    WAIT(&server, server_saw(&server, SYNC_CONNECT, 1) == 1);
    sync_send(server.sync, 1, "lost", 4);
    sync_abort(server.sync, 1);
    WAIT(&server, server_close_reason(&server, 1) == SYNC_BY_ABORT);
    CHECK(client_sees_reset(&server, fd));
    close(fd);
    server_wait_gone(&server);
    server_close(&server);
}

TEST(socket_peer_that_resets_is_told_as_such) {
    struct server server;
    uint32_t port = server_open_echo(&server, "127.0.0.1", SYNC_FRAMING_LINE);
    int fd = client_connect(port);
    REQUIRE(fd >= 0);
    CHECK(client_send(fd, "hi\n", 3));
    WAIT(&server, server_saw(&server, SYNC_DATA, 1) == 1);
    client_reset(fd);
    WAIT(&server, server_close_reason(&server, 1) == SYNC_RESET);
    server_wait_gone(&server);
    server_close(&server);
}

/* With no close_timeout, too, nothing of a client that broke may stay. */
TEST(socket_peer_that_resets_before_a_write_is_let_go) {
    for (int unix_socket = 0; unix_socket < 2; unix_socket++) {
        struct server server;
        const char *path = client_unix_path();
        const char *host = client_unix_host();
        server_open(&server);
        struct sync_options options = server_options(SYNC_FRAMING_LINE);
        int32_t id =
            sync_listen(server.sync, unix_socket ? host : "127.0.0.1", 0, &options);
        int fd = unix_socket
                     ? client_connect_unix(path)
                     : client_connect(sync_listener_port(server.sync, (uint32_t)id));
        REQUIRE(fd >= 0);
        WAIT(&server, server_saw(&server, SYNC_CONNECT, 1) == 1);
        client_reset(fd);
        sync_send(server.sync, 1, "to nobody", 9);
        sync_flush(server.sync); /* meets the reset before the poll does */
        WAIT(&server, server_saw(&server, SYNC_CLOSE, 1) == 1);
        CHECK_INT(server_close_reason(&server, 1), SYNC_RESET);
        server_wait_gone(&server);
        server_close(&server);
    }
}

TEST(socket_end_of_one_whose_write_broke_is_let_go) {
    struct server server;
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    int fd = client_connect(server_listen(&server, &options));
    REQUIRE(fd >= 0);
    WAIT(&server, server_saw(&server, SYNC_CONNECT, 1) == 1);
    client_reset(fd);
    sync_send(server.sync, 1, "to nobody", 9);
    sync_flush(server.sync);
    sync_end(server.sync, 1, 0, "", 0);
    WAIT(&server, server_saw(&server, SYNC_CLOSE, 1) == 1);
    CHECK_INT(server_close_reason(&server, 1), SYNC_RESET);
    server_wait_gone(&server);
    server_close(&server);
}

TEST(socket_what_a_client_said_before_a_write_to_it_broke_is_delivered) {
    struct server server;
    const char *path = client_unix_path();
    const char *host = client_unix_host();
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    sync_listen(server.sync, host, 0, &options);
    int fd = client_connect_unix(path);
    REQUIRE(fd >= 0);
    WAIT(&server, server_saw(&server, SYNC_CONNECT, 1) == 1);
    CHECK(client_send(fd, "last words\n", 11));
    close(fd);
    sync_send(server.sync, 1, "to nobody", 9);
    sync_flush(server.sync);
    WAIT(&server, server_saw(&server, SYNC_CLOSE, 1) == 1);
    CHECK_INT(server_saw(&server, SYNC_DATA, 1), 1);
    server_wait_gone(&server);
    server_close(&server);
}

TEST(socket_thousand_connects_and_closes) {
    enum { COUNT = 1000 };
    struct server server;
    uint32_t port = server_open_echo(&server, "127.0.0.1", SYNC_FRAMING_LINE);
    for (int i = 0; i < COUNT; i++) {
        int fd = client_connect(port);
        REQUIRE(fd >= 0);
        if (i % 4 == 0) {
            CHECK(client_send(fd, "hello\nhalf", 10));
        }
        if (i % 3 == 0) {
            client_reset(fd);
        } else {
            close(fd);
        }
        server_tick(&server, false);
    }
    WAIT(&server, server_saw(&server, SYNC_CLOSE, 0) == COUNT);
    server_wait_gone(&server);
    CHECK_INT(server_saw(&server, SYNC_CONNECT, 0), COUNT);
    CHECK_INT((int)server.sync->clients_accepted, COUNT);
    server_close(&server);
}

TEST(socket_hundreds_at_once_each_get_their_own) {
    enum { COUNT = 400 };
    struct server server;
    int fds[COUNT];
    char text[20];
    uint32_t port = server_open_echo(&server, "127.0.0.1", SYNC_FRAMING_LINE);
    for (int i = 0; i < COUNT; i++) {
        fds[i] = client_connect(port);
        REQUIRE(fds[i] >= 0);
        CHECK(client_send(fds[i], text, (size_t)snprintf(text, 20, "I am %d\n", i)));
    }
    WAIT(&server, server_saw(&server, SYNC_DATA, 0) == COUNT);
    CHECK_INT(server.sync->client_count, COUNT);
    for (int i = 0; i < COUNT; i++) {
        size_t length = (size_t)snprintf(text, 20, "I am %d\n", i);
        CHECK(client_gets(&server, fds[i], text, length));
        close(fds[i]);
    }
    server_wait_gone(&server);
    server_close(&server);
}

TEST(socket_many_to_many_as_a_broadcast) {
    enum { COUNT = 100, LENGTH = 5000 };
    struct server server;
    int fds[COUNT];
    static uint32_t slots[COUNT];
    static char message[LENGTH + 1];
    uint32_t port = server_open_echo(&server, "127.0.0.1", SYNC_FRAMING_LINE);
    for (uint32_t i = 0; i < COUNT; i++) {
        fds[i] = client_connect(port);
        slots[i] = i + 1;
    }
    WAIT(&server, server_saw(&server, SYNC_CONNECT, 0) == COUNT);
    memset(message, 'm', LENGTH);
    message[LENGTH] = '\n';
    for (int i = 0; i < COUNT; i += 2) {
        client_reset(fds[i]); /* half of them, in the middle of it */
    }
    sync_send_many(server.sync, slots, COUNT, 0, message, LENGTH);
    server_tick(&server, false);
    sync_send_many(server.sync, slots, COUNT, 0, "end", 3);
    for (int i = 1; i < COUNT; i += 2) {
        CHECK(client_gets(&server, fds[i], message, LENGTH + 1));
        CHECK(client_gets(&server, fds[i], "end\n", 4));
        close(fds[i]);
    }
    server_wait_gone(&server);
    server_close(&server);
}

TEST(socket_files_are_all_closed_at_the_end) {
    struct server server;
    int before = open("/dev/null", O_RDONLY);
    close(before);
    uint32_t port = server_open_echo(&server, "*", SYNC_FRAMING_LINE);
    int fds[20];
    for (int i = 0; i < 20; i++) {
        fds[i] = client_connect(port);
    }
    WAIT(&server, server_saw(&server, SYNC_CONNECT, 0) == 20);
    server_close(&server);
    for (int i = 0; i < 20; i++) {
        close(fds[i]);
    }
    int after = open("/dev/null", O_RDONLY);
    close(after);
    CHECK_INT(after, before);
}

static void end_at_once(struct server *server, const struct sync_event *event) {
    if (event->type == SYNC_CONNECT) {
        sync_end(server->sync, event->id, 0, "", 0);
    }
}

/* A client that has ended its side is waited for no longer than what it is sent takes. */
TEST(socket_client_that_ended_is_not_waited_for_when_the_server_ends_too) {
    struct server server;
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    options.transports = SYNC_STREAMS | SYNC_HTTP;
    options.close_timeout = 10000;
    server_open(&server);
    server.handle = end_at_once;
    int fd = client_connect(server_listen(&server, &options));
    client_shut(fd);
    double begin = sync_now();
    WAIT(&server, server_saw(&server, SYNC_CLOSE, 1) == 1);
    server_wait_gone(&server);
    CHECK(sync_now() - begin < 5);
    CHECK_INT(server_close_reason(&server, 1), SYNC_BY_SERVER);
    CHECK(client_sees_end(&server, fd));
    close(fd);
    server_close(&server);
}
