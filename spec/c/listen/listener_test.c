/* listener_test.c: where a core listens, and what it says when it can't. */
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "client.h"
#include "server.h"
#include "test.h"

static bool exists(const char *path) {
    struct stat status;
    return stat(path, &status) == 0;
}

static bool has_ipv6(void) {
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 address = {.sin6_family = AF_INET6,
                                   .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool works = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return works;
}

static void check_echo(struct server *server, int fd) {
    if (CHECK(fd >= 0)) {
        CHECK(client_send(fd, "hello\n", 6));
        CHECK(client_gets(server, fd, "hello\n", 6));
        close(fd);
    }
}

TEST(listen_echoes_on_ipv4) {
    struct server server;
    uint32_t port = server_open_echo(&server, "127.0.0.1", SYNC_FRAMING_LINE);
    REQUIRE(port > 0);
    int fd = client_connect(port);
    REQUIRE(fd >= 0);
    WAIT(&server, server_saw(&server, SYNC_CONNECT, 0) == 1);
    char text[46];
    struct sockaddr_in own;
    socklen_t size = sizeof(own);
    getsockname(fd, (struct sockaddr *)&own, &size);
    CHECK_INT(sync_peer(server.sync, 1, text, sizeof(text)), ntohs(own.sin_port));
    CHECK_TEXT(text, "127.0.0.1");
    CHECK_INT(sync_transport(server.sync, 1), SYNC_TRANSPORT_TCP);
    sync_listener_addresses(server.sync, 1, text, sizeof(text));
    check_echo(&server, fd);
    WAIT(&server, server_close_reason(&server, 1) == SYNC_BY_CLIENT);
    server_close(&server);
}

TEST(listen_echoes_on_ipv6) {
    if (!has_ipv6()) {
        test_skip("no IPv6 here");
        return;
    }
    struct server server;
    uint32_t port = server_open_echo(&server, "::1", SYNC_FRAMING_LINE);
    REQUIRE(port > 0);
    int fd = client_connect6(port);
    REQUIRE(fd >= 0);
    WAIT(&server, server_saw(&server, SYNC_CONNECT, 0) == 1);
    char text[46];
    CHECK(sync_peer(server.sync, 1, text, sizeof(text)) > 0);
    CHECK_TEXT(text, "::1");
    check_echo(&server, fd);
    CHECK_INT(client_connect(port), -1);
    server_close(&server);
}

TEST(listen_star_listens_on_every_address_with_one_port) {
    struct server server;
    uint32_t port = server_open_echo(&server, "*", SYNC_FRAMING_LINE);
    REQUIRE(port > 0);
    check_echo(&server, client_connect(port));
    char text[200];
    uint32_t length = sync_listener_addresses(server.sync, 1, text, sizeof(text));
    CHECK_INT(length, strlen(text));
    CHECK(strstr(text, "0.0.0.0"));
    if (has_ipv6()) {
        check_echo(&server, client_connect6(port));
        CHECK(strstr(text, "::"));
        CHECK(strstr(text, ", "));
    }
    server_close(&server);
}

TEST(listen_localhost_is_looked_up) {
    struct server server;
    uint32_t port = server_open_echo(&server, "localhost", SYNC_FRAMING_LINE);
    REQUIRE(port > 0);
    check_echo(&server, client_connect(port));
    server_close(&server);
}

TEST(listen_port_zero_gives_each_listener_its_own) {
    struct server server;
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    server_open(&server);
    uint32_t a = server_listen(&server, &options);
    uint32_t b = server_listen(&server, &options);
    CHECK(a > 0 && b > 0 && a != b);
    CHECK_INT(sync_listener_port(server.sync, 77), 0);
    sync_listener_close(server.sync, 1);
    CHECK_INT(sync_listener_port(server.sync, 1), 0);
    CHECK_INT(client_connect(a), -1);
    server_close(&server);
}

TEST(listen_says_that_a_port_is_taken) {
    struct server server;
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    server_open(&server);
    uint32_t port = server_listen(&server, &options);
    CHECK_INT(sync_listen(server.sync, "127.0.0.1", port, &options), UV_EADDRINUSE);
    CHECK_INT(sync_listen(server.sync, "*", port, &options), UV_EADDRINUSE);
    CHECK_TEXT(sync_error_name(UV_EADDRINUSE), "EADDRINUSE");
    CHECK_TEXT(sync_error_text(UV_EADDRINUSE), "address already in use");
    /* Free again at once, though a connection of it is still winding down. */
    int fd = client_connect(port);
    REQUIRE(fd >= 0);
    WAIT(&server, server_saw(&server, SYNC_CONNECT, 0) == 1);
    sync_end(server.sync, 1, 0, "", 0);
    WAIT(&server, server_close_reason(&server, 1) == SYNC_BY_SERVER);
    close(fd);
    sync_listener_close(server.sync, 1);
    CHECK(sync_listen(server.sync, "127.0.0.1", port, &options) > 0);
    server_close(&server);
}

TEST(listen_says_what_is_wrong_with_a_host) {
    struct server server;
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    server_open(&server);
    CHECK(sync_listen(server.sync, "no-such-host.invalid", 0, &options) < 0);
    CHECK_INT(sync_listen(server.sync, "192.0.2.1", 0, &options), UV_EADDRNOTAVAIL);
    CHECK(sync_listen(server.sync, "", 0, &options) < 0);
    CHECK_INT(sync_poll(server.sync, 1), -1); /* nothing of it stays */
    server_close(&server);
}

TEST(listen_unix_echoes_and_takes_its_file_away) {
    struct server server;
    const char *path = client_unix_path();
    const char *host = client_unix_host();
    server_open_echo(&server, host, SYNC_FRAMING_LINE);
    int fd = client_connect_unix(path);
    REQUIRE(fd >= 0);
    WAIT(&server, server_saw(&server, SYNC_CONNECT, 0) == 1);
    char text[200];
    CHECK_INT(sync_peer(server.sync, 1, text, sizeof(text)), 0);
    CHECK_TEXT(text, "");
    CHECK_INT(sync_transport(server.sync, 1), SYNC_TRANSPORT_UNIX);
    CHECK_INT(sync_listener_port(server.sync, 1), 0);
    sync_listener_addresses(server.sync, 1, text, sizeof(text));
    CHECK(strstr(text, path));
    check_echo(&server, fd);
    sync_listener_close(server.sync, 1);
    CHECK(!exists(path));
    server_close(&server);
}

TEST(listen_unix_file_goes_with_the_core) {
    struct server server;
    const char *path = client_unix_path();
    const char *host = client_unix_host();
    server_open_echo(&server, host, SYNC_FRAMING_LINE);
    CHECK(exists(path));
    server_close(&server);
    CHECK(!exists(path));
}

TEST(listen_unix_replaces_a_file_that_a_dead_server_left) {
    struct server server;
    const char *path = client_unix_path();
    const char *host = client_unix_host();
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    REQUIRE(bind(dead, (struct sockaddr *)&address, sizeof(address)) == 0);
    REQUIRE(listen(dead, 1) == 0);
    close(dead);
    REQUIRE(exists(path));
    server_open_echo(&server, host, SYNC_FRAMING_LINE);
    check_echo(&server, client_connect_unix(path));
    server_close(&server);
}

TEST(listen_unix_leaves_what_is_in_use_or_no_socket_alone) {
    struct server server;
    struct server other;
    const char *path = client_unix_path();
    const char *host = client_unix_host();
    server_open_echo(&server, host, SYNC_FRAMING_LINE);
    server_open(&other);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    CHECK_INT(sync_listen(other.sync, host, 0, &options), UV_EADDRINUSE);
    check_echo(&server, client_connect_unix(path));
    server_close(&server);

    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    REQUIRE(fd >= 0);
    close(fd);
    CHECK_INT(sync_listen(other.sync, host, 0, &options), UV_EADDRINUSE);
    CHECK(exists(path));
    unlink(path);
    CHECK_INT(sync_listen(other.sync, "unix:/no/such/folder/x", 0, &options), UV_ENOENT);
    CHECK(sync_listen(other.sync, "unix:", 0, &options) < 0);
    char longer[300] = "unix:/";
    memset(longer + 6, 'x', 200);
    CHECK_INT(sync_listen(other.sync, longer, 0, &options), UV_ENAMETOOLONG);
    server_close(&other);
}

TEST(listen_listener_that_closed_keeps_its_clients) {
    struct server server;
    uint32_t port = server_open_echo(&server, "127.0.0.1", SYNC_FRAMING_LINE);
    int fd = client_connect(port);
    WAIT(&server, server_saw(&server, SYNC_CONNECT, 1) == 1);
    sync_listener_close(server.sync, 1);
    sync_listener_close(server.sync, 1);
    CHECK_INT(client_connect(port), -1);
    check_echo(&server, fd);
    WAIT(&server, server_saw(&server, SYNC_CLOSE, 1) == 1);
    while (sync_poll(server.sync, 1) >= 0) { /* and then nothing is left */
        sync_flush(server.sync);
    }
    server_close(&server);
}

TEST(listen_renewed_keeps_its_socket_and_its_clients) {
    struct server server;
    uint32_t port = server_open_echo(&server, "127.0.0.1", SYNC_FRAMING_LINE);
    int before = client_connect(port);
    WAIT(&server, server_saw(&server, SYNC_CONNECT, 1) == 1);
    int waits = client_connect(port); /* not accepted yet */
    struct sync_options options = server_options(SYNC_FRAMING_NULL);
    CHECK_INT(sync_listener_renew(server.sync, 1, &options), 0);
    CHECK_INT(sync_listener_port(server.sync, 1), port);
    check_echo(&server, before); /* by lines, as it has begun */
    CHECK(client_send(waits, "new", 4));
    CHECK(client_gets(&server, waits, "new", 4));
    close(waits);
    sync_listener_close(server.sync, 1);
    CHECK_INT(sync_listener_renew(server.sync, 1, &options), UV_EINVAL);
    server_close(&server);
}

static int descriptors(void) {
    int count = 0;
    for (int fd = 0; fd < 256; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

TEST(listen_renewed_opens_no_more_folders_than_it_has) {
    struct server server;
    server_open_echo(&server, "127.0.0.1", SYNC_FRAMING_LINE);
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    CHECK_INT(sync_listener_root(server.sync, 1, "/tmp"), 0);
    CHECK_INT(sync_listener_root(server.sync, 1, "/usr"), 0);
    int open = descriptors();
    for (int i = 0; i < 3; i++) {
        CHECK_INT(sync_listener_renew(server.sync, 1, &options), 0);
        CHECK_INT(sync_listener_root(server.sync, 1, "/no/such/folder"), UV_ENOENT);
        CHECK_INT(sync_listener_root(server.sync, 1, "/usr"), 0);
        CHECK_INT(sync_listener_renew(server.sync, 1, &options), 0);
        CHECK_INT(sync_listener_root(server.sync, 1, "/etc"), 0);
        CHECK_INT(sync_listener_root(server.sync, 1, "/tmp"), 0);
    }
    CHECK_INT(descriptors(), open);
    server_close(&server);
}
