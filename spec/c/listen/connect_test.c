/* connect_test.c: connections that the core makes, to listeners of its own. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "client.h"
#include "server.h"
#include "test.h"

/* An echo server that is listener 1, and the listener without sockets whose settings
 * its own connections take. Returns that one's id. */
static uint32_t open_both(struct server *server, const char *host, uint32_t *port) {
    *port = server_open_echo(server, host, SYNC_FRAMING_LINE);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    return (uint32_t)sync_listen(server->sync, "memory:", 0, &options);
}

/* The slot of the connection that came by a listener, or 0. */
static uint32_t slot_of(const struct server *server, uint32_t listener) {
    for (size_t i = 0; i < server->count; i++) {
        const struct seen *seen = &server->seen[i];
        if (seen->type == SYNC_CONNECT && seen->value == listener) {
            return seen->id;
        }
    }
    return 0;
}

static uint32_t ours;

/* The echo server's clients get their messages back; ours don't. */
static void echo_theirs(struct server *server, const struct sync_event *event) {
    if (event->type == SYNC_DATA && sync_listener_of(server->sync, event->id) != ours) {
        sync_send(server->sync, event->id, event->data, event->length);
    }
}

static void check_round_trip(const char *host, const char *address) {
    struct server server;
    uint32_t port = 0;
    ours = open_both(&server, host, &port);
    server.handle = echo_theirs;
    REQUIRE(sync_connect(server.sync, ours, address, port) > 0);
    WAIT(&server, slot_of(&server, ours) != 0 && slot_of(&server, 1) != 0);
    uint32_t slot = slot_of(&server, ours);
    CHECK_INT(sync_send(server.sync, slot, "hello", 5), SYNC_SENT);
    sync_flush(server.sync);
    size_t length = 0;
    WAIT(&server, strcmp(server_messages(&server, slot, '|', &length), "hello|") == 0);
    char text[64];
    uint32_t peer = sync_peer(server.sync, slot, text, sizeof(text));
    CHECK_INT(peer, port);
    sync_end(server.sync, slot, 0, "", 0);
    WAIT(&server, server_close_reason(&server, slot) == SYNC_BY_SERVER);
    WAIT(&server, server_close_reason(&server, slot_of(&server, 1)) == SYNC_BY_CLIENT);
    server_close(&server);
}

TEST(connect_talks_to_an_ipv4_address) {
    check_round_trip("127.0.0.1", "127.0.0.1");
}

TEST(connect_talks_to_a_unix_socket) {
    check_round_trip(client_unix_host(), client_unix_host());
}

TEST(connect_adopts_a_socket_that_is_connected) {
    struct server server;
    uint32_t port = 0;
    ours = open_both(&server, "127.0.0.1", &port);
    server.handle = echo_theirs;
    int pair[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    int32_t slot = sync_adopt(server.sync, ours, pair[0]);
    REQUIRE(slot > 0);
    CHECK_INT((int)sync_transport(server.sync, (uint32_t)slot), SYNC_TRANSPORT_UNIX);
    REQUIRE(write(pair[1], "one\n", 4) == 4);
    size_t length = 0;
    WAIT(&server,
         strcmp(server_messages(&server, (uint32_t)slot, '|', &length), "one|") == 0);
    CHECK_INT((int)slot_of(&server, ours), slot);
    sync_send(server.sync, (uint32_t)slot, "two", 3);
    sync_flush(server.sync);
    char text[8];
    REQUIRE(read(pair[1], text, sizeof(text)) == 4);
    CHECK(memcmp(text, "two\n", 4) == 0);
    close(pair[1]);
    WAIT(&server, server_close_reason(&server, (uint32_t)slot) == SYNC_BY_CLIENT);
    CHECK_INT(sync_adopt(server.sync, ours, -1), UV_EBADF);
    CHECK_INT(sync_adopt(server.sync, 77, 0), UV_EINVAL);
    server_close(&server);
}

TEST(connect_tells_that_nobody_listens) {
    struct server server;
    uint32_t port = 0;
    uint32_t listener = open_both(&server, "127.0.0.1", &port);
    sync_listener_close(server.sync, 1);
    int32_t request = sync_connect(server.sync, listener, "127.0.0.1", port);
    REQUIRE(request > 0);
    WAIT(&server, server_saw(&server, SYNC_CONNECT_FAILED, (uint32_t)request) == 1);
    const struct seen *failed = server_find(&server, SYNC_CONNECT_FAILED, 0);
    REQUIRE(failed);
    CHECK_INT(-(int32_t)failed->value, UV_ECONNREFUSED);
    CHECK_INT(server_saw(&server, SYNC_CONNECT, 0), 0);
    server_close(&server);
}

TEST(connect_refuses_what_is_no_address) {
    struct server server;
    uint32_t port = 0;
    uint32_t listener = open_both(&server, "127.0.0.1", &port);
    CHECK_INT(sync_connect(server.sync, listener, "localhost", port), UV_EINVAL);
    CHECK_INT(sync_connect(server.sync, listener, "unix:", 0), UV_EINVAL);
    CHECK_INT(sync_connect(server.sync, 77, "127.0.0.1", port), UV_EINVAL);
    char path[200] = "unix:/";
    memset(path + 6, 'x', sizeof(path) - 7);
    path[sizeof(path) - 1] = '\0';
    CHECK_INT(sync_connect(server.sync, listener, path, 0), UV_EINVAL);
    CHECK_INT(sync_connect(server.sync, listener, "unix:/nowhere/at/all", 0), UV_ENOENT);
    server_close(&server);
}

/* A listening socket that accepts nobody, its backlog full: one more waits. */
static int full_socket(uint32_t *port, int *waiting) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    if (bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 0) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0) {
        close(fd);
        return -1;
    }
    *port = ntohs(address.sin_port);
    *waiting = client_connect(*port);
    return fd;
}

TEST(connect_can_be_given_up) {
    struct server server;
    uint32_t port = 0;
    uint32_t listener = open_both(&server, "127.0.0.1", &port);
    int waiting = -1;
    int full = full_socket(&port, &waiting);
    REQUIRE(full >= 0 && waiting >= 0);
    int32_t request = sync_connect(server.sync, listener, "127.0.0.1", port);
    REQUIRE(request > 0);
    for (int i = 0; i < 3; i++) {
        server_tick(&server, false);
    }
    CHECK_INT(server_saw(&server, SYNC_CONNECT_FAILED, 0), 0);
    CHECK_INT(server_saw(&server, SYNC_CONNECT, 0), 0);
    sync_connect_cancel(server.sync, (uint32_t)request);
    sync_connect_cancel(server.sync, (uint32_t)request); /* harmless */
    sync_listener_close(server.sync, 1);
    sync_listener_close(server.sync, listener); /* freed: nothing holds it any more */
    while (server_tick(&server, true) >= 0) {
    }
    CHECK_INT(server_saw(&server, SYNC_CONNECT_FAILED, 0), 0);
    close(waiting);
    close(full);
    server_close(&server);
}

TEST(connect_under_way_ends_with_the_core) {
    struct server server;
    uint32_t port = 0;
    uint32_t listener = open_both(&server, "127.0.0.1", &port);
    int waiting = -1;
    int full = full_socket(&port, &waiting);
    REQUIRE(full >= 0 && waiting >= 0);
    CHECK(sync_connect(server.sync, listener, "127.0.0.1", port) > 0);
    CHECK(sync_connect(server.sync, listener, "127.0.0.1", port) > 0);
    server_close(&server);
    close(waiting);
    close(full);
}

TEST(connect_outlives_its_listener) {
    struct server server;
    uint32_t port = 0;
    uint32_t listener = open_both(&server, "127.0.0.1", &port);
    REQUIRE(sync_connect(server.sync, listener, "127.0.0.1", port) > 0);
    sync_listener_close(server.sync, listener);
    WAIT(&server, slot_of(&server, listener) != 0);
    CHECK_INT(sync_connect(server.sync, listener, "127.0.0.1", port), UV_EINVAL);
    server_close(&server);
}
