/* stream.h: one connected socket, read and written directly. Knows no connection, and not
 * by what it's watched: see poller.h.
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

struct stream {
    int fd;
    bool full;    /* the kernel took no more: the socket is being watched for room */
    bool paused;  /* the socket isn't being watched for bytes */
    bool flying;  /* it's being sent bytes, which lie where they are until that's told */
    bool closing; /* it's closed, but the kernel hasn't done with it */
};

/* Small messages go out at once (TCP_NODELAY), and after so many seconds of silence TCP
 * asks three times, within half of that time again (at least 3 s), whether the other side
 * is still there (0: never). Without an answer, or a receipt for what was sent, for both
 * times together the connection is broken. */
void stream_tune(int fd, uint32_t keepalive);

/* The kernel takes no more while it has so many bytes that it hasn't begun to send. */
void stream_bound_unsent(struct stream *stream, uint32_t bytes);

/* Reads once, for backends. Returns the bytes, UV_EOF, UV_EAGAIN, or an error code. */
ssize_t stream_read_now(const struct stream *stream, char *bytes, size_t size);

/* Writes once. Returns how many bytes were taken, UV_EAGAIN, or an error code. */
ssize_t stream_write(struct stream *stream, const struct iovec *pieces, int count);

/* Ends our side: the client sees the end of the stream. */
void stream_end(struct stream *stream);
