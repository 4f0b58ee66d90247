/* stream.h: the socket of one connection: watched by the poller, read and written
 * directly.
 *
 * What the kernel doesn't take stays in our own queue, where with a uv_tcp_t there would
 * be a second one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <uv.h>

struct conn;

struct socket {
    int fd;
    bool full;   /* the kernel took no more: it's being watched for room */
    bool paused; /* it isn't being watched for bytes */
};

/* Takes over an accepted socket that doesn't block, and watches it for bytes: input_ready
 * and output_ready are told. Returns 0, or an error code; then fd is closed. */
int socket_open(struct conn *conn, int fd);

/* For the poller: what epoll has found. */
void socket_ready(struct conn *conn, uint32_t events);

/* Small messages go out at once (TCP_NODELAY), and after so many seconds of silence TCP
 * asks whether the other side is still there (0: never). */
void socket_tune(int fd, uint32_t keepalive);

/* The kernel takes no more while it has so many bytes that it hasn't begun to send. */
void socket_bound_unsent(struct socket *socket, uint32_t bytes);

/* Begins or ends to watch for room to write, or for bytes to read. */
void socket_watch_room(struct socket *socket, bool full);
void socket_watch_bytes(struct socket *socket, bool wanted);

/* Reads once. Returns the bytes, UV_EOF, UV_EAGAIN, or an error code. */
ssize_t socket_read(struct socket *socket, char *bytes, size_t size);

/* Writes once. Returns how many bytes were taken, UV_EAGAIN, or an error code. */
ssize_t socket_write(struct socket *socket, const struct iovec *pieces, int count);

/* Ends our side: the client sees the end of the stream. */
void socket_end(struct socket *socket);

/* Closes, and calls conn_socket_closed; with `reset` a TCP client sees a reset and
 * nothing of it stays. */
void socket_close(struct conn *conn, bool reset);
