/* bind.c: sockets bound to a name, an address or a file. */
#include "net/bind.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/stream.h"
#include "sync.h"

enum { PORT_TRIES = 16 /* for a port that is free on every address */ };

union address {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
    struct sockaddr_un file;
};

/* The address a socket is bound to; its family is AF_UNSPEC if that can't be told. */
static union address bound_address(int fd) {
    union address address = {.ipv6 = {.sin6_family = AF_UNSPEC}};
    socklen_t size = sizeof(address);
    if (getsockname(fd, &address.any, &size) < 0) {
        address.any.sa_family = AF_UNSPEC;
    }
    return address;
}

uint32_t bind_port(int fd) {
    union address address = bound_address(fd);
    switch (address.any.sa_family) {
    case AF_INET: return ntohs(address.ipv4.sin_port);
    case AF_INET6: return ntohs(address.ipv6.sin6_port);
    default: return 0;
    }
}

size_t bind_address(int fd, char *text, size_t size) {
    union address address = bound_address(fd);
    text[0] = '\0';
    switch (address.any.sa_family) {
    case AF_INET: uv_ip4_name(&address.ipv4, text, size); break;
    case AF_INET6: uv_ip6_name(&address.ipv6, text, size); break;
    case AF_UNIX: snprintf(text, size, "%s", address.file.sun_path); break;
    default: break;
    }
    return strlen(text);
}

/* Options of the listening socket; those of TCP are inherited by what it accepts, so
 * that a client costs no system call for them. */
static void set_options(int fd, bool only_ipv6, uint32_t keepalive) {
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (only_ipv6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    }
    stream_tune(fd, keepalive); /* accepted ones inherit it */
}

/* Returns a socket or an error code. */
static int bind_tcp(const struct addrinfo *info, uint32_t port, bool only_ipv6,
                    uint32_t keepalive) {
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    union address address = {.ipv6 = {.sin6_family = AF_UNSPEC}};
    memcpy(&address, info->ai_addr, info->ai_addrlen);
    if (info->ai_family == AF_INET6) {
        address.ipv6.sin6_port = htons((uint16_t)port);
    } else {
        address.ipv4.sin_port = htons((uint16_t)port);
    }
    set_options(fd, only_ipv6, keepalive);
    if (bind(fd, &address.any, info->ai_addrlen) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

static bool is_lacking(int error) {
    return error == UV_EADDRNOTAVAIL || error == UV_EAFNOSUPPORT;
}

/* A name may stand twice in the system's list of hosts. */
static bool came_before(const struct addrinfo *list, const struct addrinfo *info) {
    for (; list != info; list = list->ai_next) {
        if (list->ai_addrlen == info->ai_addrlen &&
            memcmp(list->ai_addr, info->ai_addr, info->ai_addrlen) == 0) {
            return true;
        }
    }
    return false;
}

/* Binds all addresses before the first is taken over, so that a busy one leaves
 * nothing behind. Returns how many, or an error code. */
static int bind_all(const struct addrinfo *list, uint32_t port, uint32_t keepalive,
                    int *fds, int most) {
    bool has_ipv4 = false;
    for (const struct addrinfo *info = list; info; info = info->ai_next) {
        has_ipv4 |= info->ai_family == AF_INET;
    }
    int count = 0;
    int lacking = UV_EADDRNOTAVAIL;
    for (const struct addrinfo *info = list; info && count < most; info = info->ai_next) {
        if (came_before(list, info)) {
            continue;
        }
        bool only_ipv6 = has_ipv4 && info->ai_family == AF_INET6;
        int fd = bind_tcp(info, port, only_ipv6, keepalive);
        if (fd >= 0) {
            fds[count++] = fd;
            port = port ? port : bind_port(fd);
        } else if (is_lacking(fd)) {
            lacking = fd;
        } else {
            while (count > 0) {
                close(fds[--count]);
            }
            return fd;
        }
    }
    return count > 0 ? count : lacking;
}

static int look_up(uv_loop_t *loop, const char *host, uv_getaddrinfo_t *request) {
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    bool any = strcmp(host, "*") == 0;
    return uv_getaddrinfo(loop, request, NULL, any ? NULL : host, any ? "0" : NULL,
                          &hints);
}

int bind_host(uv_loop_t *loop, const char *host, uint32_t port, uint32_t keepalive,
              bind_taker take, void *context) {
    uv_getaddrinfo_t request;
    int error = look_up(loop, host, &request);
    if (error < 0) {
        return error;
    }
    int fds[BIND_MOST];
    int tries = port == 0 ? PORT_TRIES : 1;
    int count;
    do {
        count = bind_all(request.addrinfo, port, keepalive, fds, BIND_MOST);
    } while (count == UV_EADDRINUSE && --tries > 0);
    uv_freeaddrinfo(request.addrinfo);
    if (count < 0) {
        return count;
    }
    for (int i = 0; i < count; i++) {
        if (error < 0) {
            close(fds[i]);
        } else {
            error = take(context, fds[i], SYNC_TRANSPORT_TCP);
        }
    }
    return error;
}

/* Whether a socket's file is there, but no process listens on it. */
static bool is_left_behind(const struct sockaddr_un *address) {
    struct stat status;
    if (stat(address->sun_path, &status) < 0 || !S_ISSOCK(status.st_mode)) {
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    bool dead = connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 &&
                errno == ECONNREFUSED;
    close(fd);
    return dead;
}

int bind_unix(const char *path, bind_taker take, void *context) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path[0] == '\0' || strlen(path) >= sizeof(address.sun_path)) {
        return path[0] ? UV_ENAMETOOLONG : UV_EINVAL;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int error = bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
    if (error == UV_EADDRINUSE && is_left_behind(&address)) {
        unlink(path);
        error = bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
    }
    if (error < 0) {
        close(fd);
        return error;
    }
    return take(context, fd, SYNC_TRANSPORT_UNIX);
}
