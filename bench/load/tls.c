/* secure.c: an echo load that speaks plain or TLS, so that the two can be compared.
 *
 *     secure plain|tls PORT CONNECTIONS DEPTH SIZE SECONDS
 *
 * One thread, epoll, closed loop: each connection keeps DEPTH messages of SIZE bytes (the
 * NUL that ends each included) under way. Every byte that comes back is compared. Prints
 * "MESSAGES SECONDS CPU" of the measured time (the first fifth is warm-up, not counted),
 * and ends with 1 when a byte is wrong or a connection breaks.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ_BYTES = 64 * 1024, EVENTS = 256 };

struct connection {
    int fd;
    SSL *ssl;       /* NULL: plain */
    size_t at;      /* bytes received, modulo the message's size */
    size_t to_send; /* bytes of the window that wait */
    size_t sent_at; /* where in a message the next of them is */
    bool writes;    /* is watched for room */
};

static size_t size;   /* of a message */
static size_t window; /* bytes that are sent at once: DEPTH messages */
static char *pattern; /* the window, and a read's length more of it */
static int epoll;

static void fail(const char *what) {
    fprintf(stderr, "secure: %s: %s\n", what,
            errno ? strerror(errno) : ERR_error_string(ERR_peek_last_error(), NULL));
    exit(1);
}

static double now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Returns bytes, 0 when it would block. */
static size_t receive(struct connection *c, char *bytes, size_t room) {
    errno = 0;
    ssize_t count =
        c->ssl ? SSL_read(c->ssl, bytes, (int)room) : recv(c->fd, bytes, room, 0);
    if (count > 0) {
        return (size_t)count;
    }
    bool again = c->ssl ? SSL_get_error(c->ssl, (int)count) == SSL_ERROR_WANT_READ
                        : count < 0 && errno == EAGAIN;
    if (!again) {
        fail("the connection broke");
    }
    return 0;
}

static size_t transmit(struct connection *c, const char *bytes, size_t length) {
    errno = 0;
    ssize_t count = c->ssl ? SSL_write(c->ssl, bytes, (int)length)
                           : send(c->fd, bytes, length, MSG_NOSIGNAL);
    if (count > 0) {
        return (size_t)count;
    }
    bool again = c->ssl ? SSL_get_error(c->ssl, (int)count) == SSL_ERROR_WANT_WRITE
                        : count < 0 && errno == EAGAIN;
    if (!again) {
        fail("sending failed");
    }
    return 0;
}

static void watch(struct connection *c, bool writes, int operation) {
    c->writes = writes;
    struct epoll_event event = {.events = writes ? EPOLLIN | EPOLLOUT : EPOLLIN,
                                .data.ptr = c};
    if (epoll_ctl(epoll, operation, c->fd, &event) < 0) {
        fail("epoll_ctl");
    }
}

static void send_waiting(struct connection *c) {
    while (c->to_send > 0) {
        size_t piece = c->to_send < window ? c->to_send : window;
        size_t count = transmit(c, pattern + c->sent_at, piece);
        if (count == 0) {
            break;
        }
        c->to_send -= count;
        c->sent_at = (c->sent_at + count) % size;
    }
    if (c->writes != (c->to_send > 0)) {
        watch(c, c->to_send > 0, EPOLL_CTL_MOD);
    }
}

/* Returns how many messages came back whole. */
static uint64_t take_echo(struct connection *c) {
    static char bytes[READ_BYTES];
    uint64_t messages = 0;
    size_t count;
    do {
        count = receive(c, bytes, sizeof(bytes));
        if (memcmp(bytes, pattern + c->at, count) != 0) {
            errno = 0;
            fprintf(stderr, "secure: a wrong byte came back\n");
            exit(1);
        }
        messages += (c->at + count) / size;
        c->at = (c->at + count) % size;
        /* What is left in the socket wakes us again. */
    } while (c->ssl ? SSL_has_pending(c->ssl) : count == sizeof(bytes));
    c->to_send += messages * size;
    return messages;
}

static void open_connection(struct connection *c, uint16_t port, SSL_CTX *context) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        fail("connect");
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (context) {
        c->ssl = SSL_new(context);
        if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1 || SSL_connect(c->ssl) != 1) {
            errno = 0;
            fail("TLS handshake");
        }
    }
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0) {
        fail("fcntl");
    }
    watch(c, false, EPOLL_CTL_ADD);
    c->to_send = window;
}

int main(int argc, char **argv) {
    if (argc != 7) {
        fprintf(stderr, "usage: secure plain|tls PORT CONNECTIONS DEPTH SIZE SECONDS\n");
        return 2;
    }
    bool encrypted = strcmp(argv[1], "tls") == 0;
    int count = atoi(argv[3]);
    size = (size_t)atoi(argv[5]);
    window = (size_t)atoi(argv[4]) * size;
    double seconds = atof(argv[6]);
    SSL_CTX *context = encrypted ? SSL_CTX_new(TLS_client_method()) : NULL;
    struct connection *connections = calloc((size_t)count, sizeof(*connections));
    size_t length = window + size + READ_BYTES;
    pattern = malloc(length);
    epoll = epoll_create1(0);
    if (!connections || !pattern || epoll < 0 || (encrypted && !context)) {
        fail("start");
    }
    if (context) {
        SSL_CTX_set_read_ahead(context, 1); /* one system call for a record, not two */
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
    for (size_t i = 0; i < length; i++) {
        pattern[i] = (char)(i % size == size - 1 ? '\0' : 'a' + (i % size) % 23);
    }
    for (int i = 0; i < count; i++) {
        open_connection(&connections[i], (uint16_t)atoi(argv[2]), context);
    }
    for (int i = 0; i < count; i++) {
        send_waiting(&connections[i]);
    }
    double begin = now(CLOCK_MONOTONIC), cpu = 0;
    double from = begin + seconds / 5, until = begin + seconds * 6 / 5;
    uint64_t messages = 0;
    bool measuring = false;
    double time;
    while ((time = now(CLOCK_MONOTONIC)) < until) {
        if (!measuring && time >= from) {
            measuring = true;
            messages = 0;
            from = time;
            cpu = now(CLOCK_PROCESS_CPUTIME_ID);
        }
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, 1000);
        if (ready == 0) {
            fprintf(stderr, "secure: nothing came for a second\n");
            return 1;
        }
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
                messages += take_echo(c);
            }
            send_waiting(c);
        }
    }
    printf("%llu %.6f %.6f\n", (unsigned long long)messages, time - from,
           now(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    return 0;
}
