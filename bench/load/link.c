/* link.c: the load generator's connections, all in one epoll. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "load.h"

enum { READ_SIZE = 256 * 1024, UNSENT_MOST = 64 * 1024 * 1024 };

int epoll_fd = -1;

/* Closing */

static void free_all(struct link *link) {
    tls_free(link);
    session_free(link->session);
    free(link->unsent);
    free(link->message);
    free(link->times);
    *link = (struct link){.fd = -1, .index = link->index, .state = link->state};
}

void link_reset(struct link *link) {
    struct linger linger = {1, 0};
    setsockopt(link->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(link->fd);
    links_ready -= link->ready;
    free_all(link);
}

void link_broke(struct link *link, const char *format, ...) {
    char why[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, sizeof(why), format, arguments);
    va_end(arguments);
    if (!plan.mode->broke) {
        fail("connection %d: %s", link->index, why);
    }
    if (link->fd >= 0) {
        close(link->fd);
    }
    links_ready -= link->ready;
    free_all(link);
    plan.mode->broke(link, why);
}

/* Connecting */

void link_watch(struct link *link, bool write) {
    struct epoll_event event = {.events = EPOLLIN | (write ? EPOLLOUT : 0),
                                .data.ptr = link};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, link->fd, &event) < 0) {
        fail("epoll: %s", strerror(errno));
    }
}

/* A Unix socket whose backlog is full says EAGAIN at once; one of TCP lets us wait. */
static bool begin_connecting(int fd, const struct target *target) {
    int64_t end = now_ns() + (int64_t)(plan.patience * 1e9);
    while (connect(fd, (const struct sockaddr *)&target->address, target->address_size) <
               0 &&
           errno != EINPROGRESS) {
        if (errno != EAGAIN || now_ns() > end) {
            return false;
        }
        usleep(1000);
    }
    return true;
}

static void broke_connecting(struct link *link, int error) {
    if (error == EADDRNOTAVAIL) {
        link_broke(link, "this machine has no more local ports");
        return;
    }
    link_broke(link, "connect to %s: %s; is the server running?",
               target_of(link->index)->text, strerror(error));
}

void link_open(struct link *link, int index) {
    const struct target *target = target_of(index);
    link->index = index;
    link->begun = now_ns();
    link->fd = socket(target->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (link->fd < 0) {
        link_broke(link,
                   "socket: %s; connections are bound by the file limit (ulimit -n)",
                   strerror(errno));
        return;
    }
    if (target_bind(link->fd, index) < 0) {
        link_broke(link, "this machine gives no source address: %s", strerror(errno));
        return;
    }
    int on = 1;
    setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (!begin_connecting(link->fd, target)) {
        broke_connecting(link, errno);
        return;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = link};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, link->fd, &event) < 0) {
        fail("epoll: %s", strerror(errno));
    }
}

/* Whether TCP's connection is there. */
static bool is_connected(struct link *link) {
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        broke_connecting(link, error);
        return false;
    }
    link->connected = true;
    link_watch(link, false);
    if (plan.tls) {
        tls_begin(link);
    }
    return true;
}

/* The handshakes, one in the other. */
static bool is_established(struct link *link) {
    if (!link->connected && !is_connected(link)) {
        return false;
    }
    if (link->tls && !tls_shaken(link)) {
        return false;
    }
    if (!wire_is_websocket()) {
        return true;
    }
    if (!link->session) {
        session_begin(link);
        return false;
    }
    return session_answered(link);
}

void link_establish(struct link *link) {
    if (!is_established(link)) {
        return;
    }
    link->ready = true;
    links_ready++;
    if (plan.mode->ready) {
        plan.mode->ready(link);
    }
}

/* Sending */

static void keep_unsent(struct link *link, const char *bytes, size_t length) {
    size_t needed = link->unsent_length + length;
    if (needed > UNSENT_MOST) {
        link_broke(link, "the server does not read, %zu bytes wait", needed);
        return;
    }
    if (link->unsent_start + needed > link->unsent_capacity) {
        char *larger = need(malloc(2 * needed));
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

/* As send; what the kernel has no room for is 0. Returns -1 when the link broke. */
static ssize_t transmit(struct link *link, const char *bytes, size_t length) {
    ssize_t sent = link->tls ? tls_send(link, bytes, length)
                             : send(link->fd, bytes, length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        link_broke(link, "write: %s", strerror(errno));
        return -1;
    }
    return sent < 0 ? 0 : sent;
}

void link_send(struct link *link, const char *bytes, size_t length) {
    ssize_t sent = link->unsent_length == 0 ? transmit(link, bytes, length) : 0;
    if (sent < 0 || (size_t)sent == length) {
        return;
    }
    keep_unsent(link, bytes + sent, length - (size_t)sent);
    if (link->fd >= 0) {
        link_watch(link, true);
    }
}

void link_write(struct link *link) {
    ssize_t sent = transmit(link, link->unsent + link->unsent_start, link->unsent_length);
    if (sent < 0) {
        return;
    }
    link->unsent_start += (size_t)sent;
    link->unsent_length -= (size_t)sent;
    if (link->unsent_length == 0) {
        link->unsent_start = 0;
        link_watch(link, false);
    }
}

void link_send_message(struct link *link, unsigned sender, unsigned number) {
    static char *message;
    if (!message) {
        message = need(malloc(wire_length()));
    }
    wire_write(message, sender, number);
    link_send(link, message, wire_length());
}

/* Receiving */

static void closed(struct link *link) {
    if (link->partial == 0) {
        link_broke(link, "the server closed it%s after %u messages",
                   link->session ? " without a Close frame" : "", link->received);
        return;
    }
    char known[40] = "";
    if (wire_answer_length() > 0) {
        snprintf(known, sizeof(known), " of %zu", wire_answer_length());
    }
    link_broke(link,
               "the server closed it in the middle of message %u, after %zu%s bytes",
               link->received, link->partial, known);
}

ssize_t link_receive(struct link *link, char *bytes, size_t room) {
    return link->tls ? tls_read(link, bytes, room) : recv(link->fd, bytes, room, 0);
}

size_t link_read(struct link *link, char **bytes) {
    static char buffer[READ_SIZE];
    ssize_t count = link_receive(link, buffer, sizeof(buffer));
    if (count == 0) {
        closed(link);
    } else if (count < 0 && errno != EAGAIN) {
        link_broke(link, "read after %u messages: %s", link->received, strerror(errno));
    }
    *bytes = buffer;
    return count < 0 ? 0 : (size_t)count;
}

bool link_pending(const struct link *link) {
    return link->tls && tls_pending(link);
}
