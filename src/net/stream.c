/* stream.c: one connected socket. */
#include "net/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

/* The kernel's own times are two hours for a silent client, and 15 minutes for one that
 * is sent to. */
static void find_dead_end(int fd, uint32_t keepalive) {
    int on = 1;
    int silence = (int)keepalive;
    int probes = 3;
    int between = (silence + 2 * probes - 1) / (2 * probes);
    unsigned most = 1000U * (unsigned)(silence + probes * between);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &silence, sizeof(silence));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &between, sizeof(between));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &most, sizeof(most));
}

void stream_tune(int fd, uint32_t keepalive) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (keepalive > 0) {
        find_dead_end(fd, keepalive);
    }
}

void stream_bound_unsent(struct stream *stream, uint32_t bytes) {
    setsockopt(stream->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes));
}

ssize_t stream_read_now(const struct stream *stream, char *bytes, size_t size) {
    ssize_t count;
    do {
        count = recv(stream->fd, bytes, size, 0);
    } while (count < 0 && errno == EINTR);
    if (count == 0) {
        return UV_EOF;
    }
    return count < 0 ? -errno : count;
}

ssize_t stream_write(struct stream *stream, const struct iovec *pieces, int count) {
    struct msghdr message = {.msg_iov = (struct iovec *)pieces,
                             .msg_iovlen = (size_t)count};
    ssize_t written;
    do {
        /* For one piece the kernel has less to copy and to check by send. */
        written = count == 1
                      ? send(stream->fd, pieces->iov_base, pieces->iov_len, MSG_NOSIGNAL)
                      : sendmsg(stream->fd, &message, MSG_NOSIGNAL);
    } while (written < 0 && errno == EINTR);
    return written < 0 ? -errno : written;
}

void stream_end(struct stream *stream) {
    shutdown(stream->fd, SHUT_WR);
}
