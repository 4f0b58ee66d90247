/* target.c: the servers that are connected to, and where connections come from. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "load.h"

enum { TARGETS_MOST = 64 };

static struct target targets[TARGETS_MOST];
static int target_count;

static const char SHAPE[] = "a target is HOST:PORT, [IPV6]:PORT or unix:PATH";

struct target *target_new(void) {
    if (target_count == TARGETS_MOST) {
        fail("there are more than %d targets", TARGETS_MOST);
    }
    return &targets[target_count++];
}

const struct target *target_of(int index) {
    return &targets[index % target_count];
}

static void add_file(struct target *target, const char *path) {
    struct sockaddr_un *file = (struct sockaddr_un *)&target->address;
    if (strlen(path) >= sizeof(file->sun_path)) {
        fail("%s: the path of a Unix socket has at most %zu bytes", target->text,
             sizeof(file->sun_path) - 1);
    }
    file->sun_family = AF_UNIX;
    memcpy(file->sun_path, path, strlen(path) + 1);
    target->address_size = sizeof(*file);
    snprintf(target->host, sizeof(target->host),
             "localhost"); /* it has no name that HTTP could give */
}

void target_add(const char *text) {
    struct target *target = target_new();
    char host[256];
    char port[32];
    snprintf(target->text, sizeof(target->text), "%s", text);
    target->path = "/";
    if (strncmp(text, "unix:", 5) == 0) {
        add_file(target, text + 5);
        return;
    }
    const char *end = text + strcspn(text, "/"); /* a WebSocket's path */
    const char *colon = memrchr(text, ':', (size_t)(end - text));
    if (!colon || colon == text || (size_t)(colon - text) >= sizeof(host) ||
        (size_t)(end - colon) > sizeof(port)) {
        fail("%s: %s", text, SHAPE);
    }
    if (*end && !wire_is_websocket()) {
        fail("%s: only a WebSocket has a path; %s", text, SHAPE);
    }
    bool brackets = text[0] == '[' && colon[-1] == ']';
    snprintf(host, sizeof(host), "%.*s", (int)(colon - text) - 2 * brackets,
             text + brackets);
    snprintf(port, sizeof(port), "%.*s", (int)(end - colon) - 1, colon + 1);
    snprintf(target->host, sizeof(target->host), "%.*s", (int)(end - text), text);
    target->path = *end ? end : "/";
    const char *why = target_resolve(target, host, port, false);
    if (why) {
        fail("%s: %s", text, why);
    }
}

/* 0, or why that address takes no client. */
static int try_address(const struct addrinfo *info) {
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return errno;
    }
    int error = connect(fd, info->ai_addr, info->ai_addrlen) < 0 ? errno : 0;
    struct pollfd wait = {fd, POLLOUT, 0};
    if (error == EINPROGRESS) {
        socklen_t size = sizeof(error);
        error = ETIMEDOUT;
        if (poll(&wait, 1, (int)(plan.patience * 1000)) == 1) {
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
        }
    }
    struct linger reset = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fd);
    return error;
}

const char *target_resolve(struct target *target, const char *name, const char *port,
                           bool reach) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *all;
    int error = getaddrinfo(name, port, &hints, &all);
    if (error) {
        return gai_strerror(error);
    }
    const struct addrinfo *info = all;
    while (reach && info && (error = try_address(info)) != 0) {
        info = info->ai_next;
    }
    if (info) {
        memcpy(&target->address, info->ai_addr, info->ai_addrlen);
        target->address_size = info->ai_addrlen;
    }
    freeaddrinfo(all);
    return info ? NULL : strerror(error);
}

bool target_is_loopback4(const struct target *target) {
    const struct sockaddr_in *ipv4 = (const struct sockaddr_in *)&target->address;
    return ipv4->sin_family == AF_INET && ntohl(ipv4->sin_addr.s_addr) >> 24 == 127;
}

int target_bind(int fd, int index) {
    if (!target_is_loopback4(target_of(index)) || plan.connections <= TARGET_PORTS) {
        return 0;
    }
    int on = 1;
    struct sockaddr_in from = {.sin_family = AF_INET};
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(index / TARGET_PORTS));
    return bind(fd, (struct sockaddr *)&from, sizeof(from));
}
