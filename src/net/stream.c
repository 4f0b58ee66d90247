/* stream.c: the socket of one connection. */
#include "net/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn/conn.h"
#include "net/poller.h"

static uint32_t events_of(const struct socket *socket) {
    return (socket->paused ? 0 : EPOLLIN) | (socket->full ? EPOLLOUT : 0);
}

static void watch(struct socket *socket) {
    struct conn *conn = (struct conn *)(void *)socket; /* it is the first in it */
    poller_change(&conn->core->poller, socket->fd, events_of(socket), conn);
}

void socket_ready(struct conn *conn, uint32_t events) {
    /* What came before a connection broke is still read. */
    if ((events & ~(uint32_t)EPOLLOUT) && conn->state != CONN_CLOSING) {
        input_ready(conn);
    }
    if ((events & ~(uint32_t)EPOLLIN) && conn->socket.full &&
        conn->state != CONN_CLOSING) {
        output_ready(conn);
    }
}

int socket_open(struct conn *conn, int fd) {
    int error = poller_add(&conn->core->poller, fd, EPOLLIN, conn);
    if (error < 0) {
        close(fd);
        return error;
    }
    conn->socket.fd = fd;
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

void socket_bound_unsent(struct socket *socket, uint32_t bytes) {
    setsockopt(socket->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes));
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
        /* For one piece the kernel has less to copy and to check by send. */
        written = count == 1
                      ? send(socket->fd, pieces->iov_base, pieces->iov_len, MSG_NOSIGNAL)
                      : sendmsg(socket->fd, &message, MSG_NOSIGNAL);
    } while (written < 0 && errno == EINTR);
    return written < 0 ? -errno : written;
}

void socket_end(struct socket *socket) {
    shutdown(socket->fd, SHUT_WR);
}

void socket_close(struct conn *conn, bool reset) {
    struct socket *socket = &conn->socket;
    if (reset) {
        struct linger linger = {.l_onoff = 1, .l_linger = 0};
        setsockopt(socket->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    }
    poller_remove(&conn->core->poller, socket->fd);
    close(socket->fd);
    conn_socket_closed(conn);
}
