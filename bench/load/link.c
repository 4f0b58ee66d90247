/* link.c: the load generator's connections, all in one epoll. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

enum {
    READ_SIZE = 256 * 1024,
    PORTS = 20000, /* connections from one source address of the loopback network */
    UNSENT_MOST = 64 * 1024 * 1024,
    CONNECTING_MOST = 256
};

int epoll_fd = -1;

static union {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
    struct sockaddr_un file;
} target;
static socklen_t target_size;

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

int64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static const char *const SHAPE = "a target is HOST:PORT, [IPV6]:PORT or unix:PATH";

void target_parse(const char *text) {
    if (strncmp(text, "unix:", 5) == 0) {
        target.file.sun_family = AF_UNIX;
        if (strlen(text + 5) >= sizeof(target.file.sun_path)) {
            fail("%s: the path of a Unix socket has at most %zu bytes", text,
                 sizeof(target.file.sun_path) - 1);
        }
        strcpy(target.file.sun_path, text + 5);
        target_size = sizeof(target.file);
        return;
    }
    char host[256];
    char port[32];
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
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    int error = getaddrinfo(host, port, &hints, &found);
    if (error) {
        fail("%s: %s", text, gai_strerror(error));
    }
    memcpy(&target, found->ai_addr, found->ai_addrlen);
    target_size = found->ai_addrlen;
    freeaddrinfo(found);
}

/* More connections than one address has ports come from several. */
static void bind_source(int fd, int index) {
    struct sockaddr_in from = {.sin_family = AF_INET};
    bool loopback = target.any.sa_family == AF_INET &&
                    (ntohl(target.ipv4.sin_addr.s_addr) >> 24) == 127;
    if (!loopback || plan.connections <= PORTS) {
        return;
    }
    int on = 1;
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(index / PORTS));
    if (bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0) {
        fail("bind: %s", strerror(errno));
    }
}

void link_watch(struct link *link, bool write) {
    struct epoll_event event = {.events = EPOLLIN | (write ? EPOLLOUT : 0),
                                .data.ptr = link};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, link->fd, &event) < 0) {
        fail("epoll: %s", strerror(errno));
    }
}

/* A Unix socket whose backlog is full says EAGAIN at once; one of TCP lets us wait. */
static void begin_connecting(int fd) {
    int64_t end = now_ns() + (int64_t)(plan.patience * 1e9);
    while (connect(fd, &target.any, target_size) < 0 && errno != EINPROGRESS) {
        if (errno != EAGAIN || now_ns() > end) {
            fail("connect to %s: %s; is the server running?", plan.target,
                 strerror(errno));
        }
        usleep(1000);
    }
}

void link_open(struct link *link, int index) {
    link->index = index;
    link->fd = socket(target.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (link->fd < 0) {
        fail("socket: %s; connections are bound by the file limit (ulimit -n)",
             strerror(errno));
    }
    bind_source(link->fd, index);
    int on = 1;
    setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    begin_connecting(link->fd);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = link};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, link->fd, &event) < 0) {
        fail("epoll: %s", strerror(errno));
    }
}

bool link_establish(struct link *link) {
    if (link->connected) {
        return session_answered(link);
    }
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        fail("connect to %s: %s", plan.target, strerror(error));
    }
    link->connected = true;
    link_watch(link, false);
    if (!wire_is_websocket()) {
        return true;
    }
    session_begin(link);
    return false;
}

struct link *links_open(int count) {
    struct link *links = calloc((size_t)count, sizeof(*links));
    if (!links) {
        fail("not enough memory");
    }
    int opened = 0;
    int established = 0;
    while (established < count && !interrupted) {
        while (opened < count && opened - established < CONNECTING_MOST) {
            link_open(&links[opened], opened);
            opened++;
        }
        struct epoll_event events[256];
        int ready = epoll_wait(epoll_fd, events, 256, (int)(plan.patience * 1000));
        if (ready == 0) {
            fail("%d of %d connections were %s, and then none for %g s", established,
                 count,
                 wire_is_websocket() ? "made and their handshake answered" : "made",
                 plan.patience);
        }
        for (int i = 0; i < ready; i++) {
            struct link *link = events[i].data.ptr;
            if (link >= links && link < links + count) { /* others are there already */
                established += link_establish(link);
            }
        }
    }
    return links;
}

static void keep_unsent(struct link *link, const char *bytes, size_t length) {
    size_t needed = link->unsent_length + length;
    if (needed > UNSENT_MOST) {
        fail("connection %d: the server does not read, %zu bytes wait", link->index,
             needed);
    }
    if (link->unsent_start + needed > link->unsent_capacity) {
        char *larger = malloc(2 * needed);
        if (!larger) {
            fail("not enough memory");
        }
        if (link->unsent_length > 0) {
            memcpy(larger, link->unsent + link->unsent_start, link->unsent_length);
        }
        free(link->unsent);
        link->unsent = larger;
        link->unsent_start = 0;
        link->unsent_capacity = 2 * needed;
    }
    memcpy(link->unsent + link->unsent_start + link->unsent_length, bytes, length);
    link->unsent_length = needed;
}

void link_send(struct link *link, const char *bytes, size_t length) {
    ssize_t sent = 0;
    if (link->unsent_length == 0) {
        sent = send(link->fd, bytes, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) {
            fail("connection %d: write: %s", link->index, strerror(errno));
        }
        sent = sent < 0 ? 0 : sent;
    }
    if ((size_t)sent < length) {
        keep_unsent(link, bytes + sent, length - (size_t)sent);
        link_watch(link, true);
    }
}

void link_write(struct link *link) {
    ssize_t sent = send(link->fd, link->unsent + link->unsent_start, link->unsent_length,
                        MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        fail("connection %d: write: %s", link->index, strerror(errno));
    }
    if (sent > 0) {
        link->unsent_start += (size_t)sent;
        link->unsent_length -= (size_t)sent;
    }
    if (link->unsent_length == 0) {
        link->unsent_start = 0;
        link_watch(link, false);
    }
}

void link_send_message(struct link *link, unsigned sender, unsigned number) {
    static char *message;
    if (!message && !(message = malloc(wire_length()))) {
        fail("not enough memory");
    }
    wire_write(message, sender, number);
    link_send(link, message, wire_length());
}

void link_reset(struct link *link) {
    struct linger linger = {1, 0};
    setsockopt(link->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(link->fd);
    free(link->unsent);
    free(link->session);
}

static _Noreturn void closed(const struct link *link) {
    if (link->session && !link->partial) {
        fail(
            "connection %d: the server closed it without a Close frame after %u messages",
            link->index, link->received);
    }
    if (link->partial) {
        fail("connection %d: the server closed it in the middle of message %u, after "
             "%zu of %zu bytes",
             link->index, link->received, link->partial, wire_answer_length());
    }
    fail("connection %d: the server closed it after %u messages", link->index,
         link->received);
}

size_t link_read(struct link *link, char **bytes) {
    static char buffer[READ_SIZE];
    ssize_t count = recv(link->fd, buffer, sizeof(buffer), 0);
    if (count == 0) {
        closed(link);
    }
    if (count < 0 && errno != EAGAIN) {
        fail("connection %d: read after %u messages: %s", link->index, link->received,
             strerror(errno));
    }
    *bytes = buffer;
    return count < 0 ? 0 : (size_t)count;
}
