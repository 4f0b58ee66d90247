/* socket.c: the socket of one connection. */
#include "socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn.h"

static void on_ready(uv_poll_t *poll, int status, int events);

static void watch(struct socket *socket) {
    int events = (socket->paused ? 0 : UV_READABLE) | (socket->full ? UV_WRITABLE : 0);
    if (events) {
        uv_poll_start(&socket->poll, events,
                      on_ready); /* fails only when it is closing */
    } else {
        uv_poll_stop(&socket->poll);
    }
}

static void on_closed(uv_handle_t *handle) {
    conn_socket_closed(handle->data);
}

static void on_ready(uv_poll_t *poll, int status, int events) {
    struct conn *conn = poll->data;
    if (status < 0) {
        /* It broke, and libuv watches it no more. What came before is still read. */
        watch(&conn->socket);
        events = UV_READABLE;
    }
    if (events & UV_READABLE) {
        input_ready(conn);
    }
    if ((events & UV_WRITABLE) && conn->state != CONN_CLOSING) {
        output_ready(conn);
    }
}

int socket_open(struct socket *socket, uv_loop_t *loop, int fd) {
    int error = uv_poll_init(loop, &socket->poll, fd);
    if (error < 0) {
        close(fd);
        return error;
    }
    socket->fd = fd;
    watch(socket);
    return 0;
}

void socket_tune(int fd, uint32_t keepalive) {
    int on = 1;
    int seconds = (int)keepalive;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (keepalive > 0) {
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof(seconds));
    }
}

void socket_watch_room(struct socket *socket, bool full) {
    if (socket->full != full) {
        socket->full = full;
        watch(socket);
    }
}

void socket_watch_bytes(struct socket *socket, bool wanted) {
    if (socket->paused == wanted) {
        socket->paused = !wanted;
        watch(socket);
    }
}

ssize_t socket_read(struct socket *socket, char *bytes, size_t size) {
    ssize_t count;
    do {
        count = recv(socket->fd, bytes, size, 0);
    } while (count < 0 && errno == EINTR);
    if (count == 0) {
        return UV_EOF;
    }
    return count < 0 ? -errno : count;
}

ssize_t socket_write(struct socket *socket, const struct iovec *pieces, int count) {
    struct msghdr message = {.msg_iov = (struct iovec *)pieces,
                             .msg_iovlen = (size_t)count};
    ssize_t written;
    do {
        written = sendmsg(socket->fd, &message, MSG_NOSIGNAL);
    } while (written < 0 && errno == EINTR);
    return written < 0 ? -errno : written;
}

void socket_end(struct socket *socket) {
    shutdown(socket->fd, SHUT_WR);
}

void socket_close(struct socket *socket, bool reset) {
    if (reset) {
        struct linger linger = {.l_onoff = 1, .l_linger = 0};
        setsockopt(socket->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    }
    uv_close((uv_handle_t *)&socket->poll, on_closed);
    close(socket->fd);
}
