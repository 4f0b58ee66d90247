/* client.c: plain sockets. */
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int connect_to(int family, const void *address, socklen_t size, int buffer) {
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    if (buffer > 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
    }
    if (connect(fd, address, size) < 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    if (family != AF_UNIX) {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    return fd;
}

int client_connect_slow(uint32_t port, int receive_buffer) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return connect_to(AF_INET, &address, sizeof(address), receive_buffer);
}

int client_connect(uint32_t port) {
    return client_connect_slow(port, 0);
}

int client_connect6(uint32_t port) {
    struct sockaddr_in6 address = {.sin6_family = AF_INET6,
                                   .sin6_port = htons((uint16_t)port),
                                   .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    return connect_to(AF_INET6, &address, sizeof(address), 0);
}

int client_connect_unix(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
    return connect_to(AF_UNIX, &address, sizeof(address), 0);
}

bool client_send(int fd, const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent < 0) {
            return false;
        }
        bytes += sent;
        length -= (size_t)sent;
    }
    return true;
}

void client_shut(int fd) {
    shutdown(fd, SHUT_WR);
}

void client_reset(int fd) {
    struct linger linger = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd);
}

long client_poll(int fd, char *bytes, size_t size) {
    ssize_t got = recv(fd, bytes, size, MSG_DONTWAIT);
    if (got < 0) {
        return errno == EAGAIN || errno == EINTR ? -1 : -2;
    }
    return got;
}

size_t client_read(struct server *server, int fd, char *bytes, size_t size, int *ended) {
    size_t length = 0;
    double until = sync_now() + WAIT_MS / 1000.0;
    *ended = 0;
    while (length < size && sync_now() < until) {
        long got = client_poll(fd, bytes + length, size - length);
        if (got > 0) {
            length += (size_t)got;
        } else if (got == 0 || got == -2) {
            *ended = got == 0 ? 1 : -1;
            break;
        } else {
            server_tick(server, false);
            poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 1);
        }
    }
    return length;
}

bool client_gets(struct server *server, int fd, const char *bytes, size_t length) {
    char seen[4096];
    while (length > 0) {
        int ended;
        size_t part = length < sizeof(seen) ? length : sizeof(seen);
        if (client_read(server, fd, seen, part, &ended) != part ||
            memcmp(seen, bytes, part) != 0) {
            return false;
        }
        bytes += part;
        length -= part;
    }
    return true;
}

bool client_sees_end(struct server *server, int fd) {
    char byte;
    int ended;
    return client_read(server, fd, &byte, 1, &ended) == 0 && ended == 1;
}

bool client_sees_reset(struct server *server, int fd) {
    char bytes[4096];
    int ended;
    while (client_read(server, fd, bytes, sizeof(bytes), &ended) == sizeof(bytes)) {
    }
    return ended == -1;
}

const char *client_unix_path(void) {
    static char path[64];
    if (!path[0]) {
        snprintf(path, sizeof(path), "/tmp/sync-test-%ld.socket", (long)getpid());
    }
    return path;
}

const char *client_unix_host(void) {
    static char host[80];
    snprintf(host, sizeof(host), "unix:%s", client_unix_path());
    return host;
}
