/* passed.c: listening sockets that systemd has passed to this process. */
#include "listen/passed.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "listen/inherit.h"

enum { FIRST = 3, MOST = 64 };

union address {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
    struct sockaddr_un file;
};

static struct inherited *find(struct core *core, const char *host, uint32_t port) {
    struct inherited *inherited = core->inherited;
    while (inherited && (inherited->port != port || strcmp(inherited->host, host) != 0)) {
        inherited = inherited->next;
    }
    return inherited;
}

/* Those of one port belong together. */
static void add(struct core *core, int fd, const char *host, uint32_t port) {
    struct inherited *same = find(core, host, port);
    if (same && same->count < BIND_MOST) {
        same->transports[same->count] = same->transports[0];
        same->fds[same->count++] = fd;
    } else if (same || inherit_add(core, host, port, &fd, 1) < 0) {
        close(fd);
    }
}

static void take(struct core *core, int fd) {
    union address address = {.any.sa_family = AF_UNSPEC};
    socklen_t size = sizeof(address) - 1; /* a path may have no NUL */
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || getsockname(fd, &address.any, &size) < 0) {
        return;
    }
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    char host[sizeof(address) + sizeof("unix:")];
    switch (address.any.sa_family) {
    case AF_INET: add(core, fd, INHERITED_ANY_HOST, ntohs(address.ipv4.sin_port)); break;
    case AF_INET6:
        add(core, fd, INHERITED_ANY_HOST, ntohs(address.ipv6.sin6_port));
        break;
    case AF_UNIX:
        snprintf(host, sizeof(host), "unix:%s", address.file.sun_path);
        add(core, fd, host, 0);
        break;
    default: break;
    }
}

void passed_begin(struct core *core) {
    const char *process = getenv("LISTEN_PID");
    const char *text = getenv("LISTEN_FDS");
    if (!process || !text || strtol(process, NULL, 10) != getpid()) {
        return;
    }
    long count = strtol(text, NULL, 10);
    for (int i = 0; i < count && i < MOST; i++) {
        take(core, FIRST + i);
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}
