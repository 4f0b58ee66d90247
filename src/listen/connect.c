/* connect.c: connections that this side makes. Once made they are as accepted ones. */
#include "listen/connect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "conn/conn.h"
#include "conn/plain.h"
#include "listen/detection.h"
#include "listen/listener.h"
#include "net/stream.h"
#include "tls/transport.h"
#include "workers/shares.h"

/* One that isn't made yet. */
struct attempt {
    uv_poll_t poll;            /* of the socket until that is connected */
    struct conn *conn;         /* from then on, during a TLS handshake */
    struct listener *listener; /* counts it as a client, so that it isn't freed */
    struct attempt *next;      /* of those under way */
    struct attempt **link;
    struct sockaddr_storage peer;
    uint32_t id;
    int fd;
    bool poll_closed;
    bool over;
};

static void free_if_done(struct attempt *attempt) {
    if (attempt->poll_closed && attempt->over) {
        free(attempt);
    }
}

static void on_poll_closed(uv_handle_t *handle) {
    struct attempt *attempt = handle->data;
    attempt->poll_closed = true;
    free_if_done(attempt);
}

static void forget(struct attempt *attempt) {
    *attempt->link = attempt->next;
    if (attempt->next) {
        attempt->next->link = attempt->link;
    }
    if (attempt->conn) {
        attempt->conn->protocol_data = NULL;
    }
    batch_unreserve(&attempt->listener->service.core->batch, 1);
    listener_client_left(attempt->listener);
    attempt->over = true;
    free_if_done(attempt);
}

static void fail(struct attempt *attempt, int error, const char *problem) {
    batch_push(&attempt->listener->service.core->batch, SYNC_CONNECT_FAILED, attempt->id,
               (uint32_t)-error, problem, strlen(problem));
    forget(attempt);
}

/* A connection whose TLS handshake is under way. */

static size_t take_nothing(struct conn *conn, char *bytes, size_t length) {
    (void)conn;
    (void)bytes;
    return length;
}

static bool settle(struct conn *conn) {
    conn_abort(conn, SYNC_REFUSED, false);
    return true;
}

static void secured(struct conn *conn) {
    forget(conn->protocol_data);
    detection_begin_stream(conn);
}

static void gone(struct conn *conn) {
    const char *problem = secure_problem(conn);
    if (!conn->protocol_data) {
        return; /* it was given up */
    }
    if (!conn->transport->secure) {
        problem = "out of memory";
    } else if (!problem) {
        problem = conn->reason == SYNC_UNFINISHED
                      ? "the server did not end the TLS handshake in time"
                      : "the server ended the connection in the TLS handshake; does it "
                        "speak TLS?";
    }
    fail(conn->protocol_data, UV_EPROTO, problem);
}

static const struct protocol handshaking = {
    .take = take_nothing, .settle = settle, .secured = secured, .gone = gone};

/* Making one. */

static uint8_t kind_of(const struct sockaddr_storage *peer) {
    return peer->ss_family == AF_UNIX ? SYNC_TRANSPORT_UNIX : SYNC_TRANSPORT_TCP;
}

/* Makes the socket a connection. Returns its slot, or an error code. */
static int hand_on(struct attempt *attempt) {
    struct service *service = &attempt->listener->service;
    const struct sockaddr *peer = (const struct sockaddr *)&attempt->peer;
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(attempt->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) {
        error = errno;
    }
    if (error != 0) {
        close(attempt->fd);
        return -error;
    }
    uint8_t kind = kind_of(&attempt->peer);
    if (!service->trusted_host) {
        return detection_open(service, attempt->fd, kind, peer);
    }
    int slot =
        conn_open(service, &handshaking, &plain_transport, attempt->fd, kind, peer);
    shares_tell(service->core);
    return slot;
}

static void on_writable(uv_poll_t *poll, int status, int events) {
    (void)status; /* the socket's own error says more */
    (void)events;
    struct attempt *attempt = poll->data;
    uv_close((uv_handle_t *)poll, on_poll_closed); /* a socket has one watcher */
    int slot = hand_on(attempt);
    if (slot < 0) {
        fail(attempt, slot, "");
    } else if (attempt->listener->service.trusted_host) {
        attempt->conn = core_conn(attempt->listener->service.core, (uint32_t)slot);
        attempt->conn->protocol_data = attempt;
        secure_connect(attempt->conn);
    } else {
        forget(attempt);
    }
}

/* Returns the address's size, or 0 when it is none. */
static socklen_t read_address(const char *text, uint32_t port,
                              struct sockaddr_storage *address) {
    if (strncmp(text, "unix:", 5) == 0) {
        struct sockaddr_un *file = (struct sockaddr_un *)(void *)address;
        size_t length = strlen(text + 5);
        if (length == 0 || length >= sizeof(file->sun_path)) {
            return 0;
        }
        file->sun_family = AF_UNIX;
        memcpy(file->sun_path, text + 5, length + 1);
        return sizeof(*file);
    }
    if (uv_ip4_addr(text, (int)port, (struct sockaddr_in *)(void *)address) == 0) {
        return sizeof(struct sockaddr_in);
    }
    if (uv_ip6_addr(text, (int)port, (struct sockaddr_in6 *)(void *)address) == 0) {
        return sizeof(struct sockaddr_in6);
    }
    return 0;
}

/* Returns a socket that connects, or an error code. */
static int begin(const struct sockaddr_storage *peer, socklen_t size,
                 uint32_t keepalive) {
    int fd = socket(peer->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    if (peer->ss_family != AF_UNIX) {
        stream_tune(fd, keepalive);
    }
    if (connect(fd, (const struct sockaddr *)peer, size) < 0 && errno != EINPROGRESS) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

/* Watches a socket that connects. Returns 0, or an error code; then fd is closed. */
static int watch(struct attempt *attempt, int fd) {
    struct core *core = attempt->listener->service.core;
    int error = batch_reserve(&core->batch, 1) < 0 ? UV_ENOMEM : 0;
    if (error == 0) {
        error = uv_poll_init(&core->loop, &attempt->poll, fd);
        if (error < 0) {
            batch_unreserve(&core->batch, 1);
        }
    }
    if (error < 0) {
        close(fd);
        return error;
    }
    attempt->poll.data = attempt;
    attempt->fd = fd;
    uv_poll_start(&attempt->poll, UV_WRITABLE, on_writable);
    return 0;
}

static void remember(struct attempt *attempt) {
    struct core *core = attempt->listener->service.core;
    attempt->listener->service.clients++;
    attempt->next = core->attempts;
    attempt->link = &core->attempts;
    if (attempt->next) {
        attempt->next->link = &attempt->next;
    }
    core->attempts = attempt;
    attempt->id = core_next_request(core);
}

int connect_start(struct listener *listener, const char *address, uint32_t port) {
    struct attempt *attempt = calloc(1, sizeof(*attempt));
    if (!attempt) {
        return UV_ENOMEM;
    }
    attempt->listener = listener;
    socklen_t size = read_address(address, port, &attempt->peer);
    int fd = size ? begin(&attempt->peer, size, listener->service.options.keepalive)
                  : UV_EINVAL;
    int error = fd < 0 ? fd : watch(attempt, fd);
    if (error < 0) {
        free(attempt);
        return error;
    }
    remember(attempt);
    return (int)attempt->id;
}

int connect_adopt(struct listener *listener, int fd) {
    struct sockaddr_storage peer = {0};
    socklen_t size = sizeof(peer);
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || getpeername(fd, (struct sockaddr *)&peer, &size) < 0 ||
        fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
        return -errno;
    }
    return detection_open(&listener->service, fd, kind_of(&peer),
                          (const struct sockaddr *)&peer);
}

static void cancel(struct attempt *attempt) {
    struct conn *conn = attempt->conn;
    if (!conn) {
        uv_close((uv_handle_t *)&attempt->poll, on_poll_closed);
        close(attempt->fd);
    }
    forget(attempt);
    if (conn) {
        conn_abort(conn, SYNC_BY_SERVER, false);
    }
}

void connect_cancel(struct core *core, uint32_t id) {
    for (struct attempt *a = core->attempts; a; a = a->next) {
        if (a->id == id) {
            cancel(a);
            return;
        }
    }
}

void connect_cancel_all(struct core *core) {
    struct attempt *next;
    for (struct attempt *a = core->attempts; a; a = next) {
        next = a->next;
        cancel(a);
    }
}
