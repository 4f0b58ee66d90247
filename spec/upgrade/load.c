/* load.c: clients of a server that is replaced under them: each message that comes back,
 * or is told to a room, is compared with what was sent, in order.
 *
 *     load PORT TLS_PORT SESSION_PORT STREAMS WEBSOCKETS TLS_WEBSOCKETS SECONDS
 *
 * Each sends ten messages a second. WebSockets send theirs in two fragments, with a pause
 * between; every other one compresses, with a window that lasts. Every eighth of those
 * without TLS has a session: it goes now and then, and resumes it. Every fiftieth client
 * reads slowly what is sent to it in large. Prints one line, and exits with 1 when
 * something was lost, doubled, out of order, or closed. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

enum {
    SETTLE_US = 10000000, /* for what is under way at the end */
    SLOW_EACH = 50,
    SESSION_EACH = 8,
    SMALL = 4096 /* bytes: a slow reader's buffer, so that the server's fills */
};

struct client *clients;
int count;
static int set;
static int ports[3]; /* plain, TLS, sessions */
static SSL_CTX *context;

uint64_t now_us(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

static void die(const char *what) {
    perror(what);
    exit(2);
}

void fail(struct client *client, const char *what) {
    if (tally.bad++ < 5) {
        fprintf(stderr, "client %u: %s (sent %u, seen %u)\n", client->number, what,
                client->sent, client->seen);
    }
}

static ssize_t get(struct client *client, char *bytes, size_t size) {
    if (!client->ssl) {
        return recv(client->fd, bytes, size, 0);
    }
    int count_read = SSL_read(client->ssl, bytes, (int)size);
    if (count_read > 0) {
        return count_read;
    }
    bool waits = SSL_get_error(client->ssl, count_read) == SSL_ERROR_WANT_READ;
    errno = waits ? EAGAIN : ECONNRESET;
    return waits ? -1 : 0;
}

static ssize_t put(struct client *client, const char *bytes, size_t length) {
    if (!client->ssl) {
        return send(client->fd, bytes, length, MSG_NOSIGNAL);
    }
    int written = SSL_write(client->ssl, bytes, (int)length);
    if (written > 0) {
        return written;
    }
    errno = EAGAIN;
    return -1;
}

/* Slow readers look by themselves. */
static void watch(struct client *client, int how) {
    struct epoll_event event = {.data.ptr = client};
    event.events = (client->slow ? 0 : EPOLLIN) | (client->waits ? EPOLLOUT : 0);
    epoll_ctl(set, how, client->fd, &event);
}

static void flush(struct client *client) {
    size_t at = 0;
    while (at < client->out_length) {
        ssize_t sent = put(client, client->out + at, client->out_length - at);
        if (sent <= 0) {
            break;
        }
        at += (size_t)sent;
    }
    memmove(client->out, client->out + at, client->out_length - at);
    client->out_length -= at;
    bool waits = client->out_length > 0;
    if (waits != client->waits) {
        client->waits = waits;
        watch(client, EPOLL_CTL_MOD);
    }
}

/* Returns whether there may be more. */
static bool read_some(struct client *client, size_t most) {
    size_t room = BUFFER - client->in_length;
    room = room < most ? room : most;
    ssize_t size = get(client, client->in + client->in_length, room);
    if (size == 0 || (size < 0 && errno != EAGAIN)) {
        tally.closed++;
        fail(client, size == 0 ? "it was closed" : strerror(errno));
        epoll_ctl(set, EPOLL_CTL_DEL, client->fd, NULL);
        client->phase = AWAY;
        client->back_at = UINT64_MAX;
        return false;
    }
    if (size > 0) {
        client->in_length += (size_t)size;
        wire_take(client);
    }
    return size > 0 && (client->ssl || (size_t)size == room);
}

static void shake_hands(struct client *client) {
    char text[1024];
    wire_ask(client);
    flush(client);
    size_t seen = 0;
    while (seen < 4 || memcmp(text + seen - 4, "\r\n\r\n", 4) != 0) {
        if (seen == sizeof(text) || get(client, text + seen, 1) != 1) {
            die("the handshake");
        }
        seen++;
    }
    if (!wire_agreed(client, text, seen)) {
        fprintf(stderr, "%.*s\n", (int)seen, text);
        exit(2);
    }
}

static int port_of(const struct client *client) {
    return ports[client->kind == SESSION ? 2 : client->ssl ? 1 : 0];
}

static void set_up(const struct client *client, int fd) {
    int on = 1;
    int small = SMALL;
    int segment = 1000;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (client->slow) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
        setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof(segment));
    }
}

static void dial(struct client *client, int type) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port_of(client)),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    client->fd = socket(AF_INET, SOCK_STREAM | type, 0);
    if (client->fd < 0) {
        die("socket");
    }
    set_up(client, client->fd);
    if (connect(client->fd, (struct sockaddr *)&address, sizeof(address)) < 0 &&
        errno != EINPROGRESS) {
        die("connect");
    }
}

static void open_client(struct client *client) {
    dial(client, 0);
    if (client->ssl) {
        SSL_set_fd(client->ssl, client->fd);
        if (SSL_connect(client->ssl) != 1) {
            die("TLS");
        }
    }
    client->in = malloc(BUFFER);
    client->out = malloc(BUFFER);
    deflateInit2(&client->deflate, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);
    inflateInit2(&client->inflate, -15);
    if (client->kind != STREAM) {
        shake_hands(client);
    }
    fcntl(client->fd, F_SETFL, O_NONBLOCK);
    watch(client, EPOLL_CTL_ADD);
}

/* A session loses its connection when nothing of its own is under way, and comes back. */
static void leave(struct client *client, uint64_t now) {
    close(client->fd);
    client->phase = AWAY;
    client->back_at = now + AWAY_US;
    client->leave_at = now + STAY_US;
    client->in_length = client->out_length = 0;
    client->waits = false;
}

static void come_back(struct client *client) {
    client->phase = OPENING;
    dial(client, SOCK_NONBLOCK);
    wire_ask(client);
    client->waits = true;
    watch(client, EPOLL_CTL_ADD);
}

static bool has_heard_all(const struct client *client) {
    return client->seen == client->sent && client->rest_length == 0;
}

static void act_slowly(struct client *client, uint64_t now, bool goes_on) {
    if (client->due > now && goes_on) {
        return;
    }
    client->due = now + SLOW_US;
    read_some(client, goes_on ? SLOW_BYTES : BUFFER);
    if (goes_on && (client->floods == 0 || client->flooded == FLOOD)) {
        talk_flood(client);
    }
    flush(client);
}

static void act(struct client *client, uint64_t now, bool goes_on) {
    if (client->phase == AWAY) {
        if (client->back_at <= now) {
            come_back(client);
        }
        return;
    }
    if (client->slow) {
        act_slowly(client, now, goes_on);
        return;
    }
    if (client->phase != OPEN) {
        client->due = now;
        return;
    }
    if (client->kind == SESSION && goes_on && client->leave_at <= now &&
        has_heard_all(client) && client->token[0]) {
        leave(client, now);
        return;
    }
    if ((goes_on || client->rest_length > 0) && client->due <= now) {
        talk_next(client, now);
        flush(client);
    }
}

static uint64_t count_lost(void) {
    uint64_t lost = 0;
    for (int i = 0; i < count; i++) {
        lost += talk_lost(&clients[i]) + (clients[i].phase != OPEN);
    }
    return lost;
}

static void run(uint64_t until) {
    struct epoll_event events[512];
    uint64_t now = now_us();
    while (now < until + SETTLE_US && (now < until || count_lost() > 0)) {
        int found = epoll_wait(set, events, 512, 2);
        for (int i = 0; i < found; i++) {
            struct client *client = events[i].data.ptr;
            if (client->phase != AWAY && events[i].events & EPOLLIN) {
                while (read_some(client, BUFFER)) {
                }
            }
            if (client->phase != AWAY) {
                flush(client);
            }
        }
        now = now_us();
        for (int i = 0; i < count; i++) {
            act(&clients[i], now, now < until);
        }
    }
}

static unsigned percentile(double share) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < 4096; i++) {
        sum += tally.latencies[i];
        if ((double)sum >= share * (double)tally.received) {
            return i;
        }
    }
    return 4095;
}

static void make(int streams, int websockets, int encrypted) {
    count = streams + websockets + encrypted;
    clients = calloc((size_t)count, sizeof(*clients));
    for (int i = 0; i < count; i++) {
        struct client *client = &clients[i];
        bool tls = i >= streams + websockets;
        bool session = i >= streams && !tls && i % SESSION_EACH == SESSION_EACH - 1;
        client->number = (uint32_t)i + 1;
        client->kind = i < streams ? STREAM : session ? SESSION : ECHO;
        client->packs = i >= streams && i % 2;
        client->slow = !tls && i % SLOW_EACH == 0;
        client->ssl = tls ? SSL_new(context) : NULL;
        open_client(client);
    }
}

int main(int argc, char **argv) {
    if (argc != 8) {
        return 2;
    }
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    set = epoll_create1(0);
    context = SSL_CTX_new(TLS_client_method());
    for (int i = 0; i < 3; i++) {
        ports[i] = atoi(argv[i + 1]);
    }
    make(atoi(argv[4]), atoi(argv[5]), atoi(argv[6]));
    uint64_t begun = now_us();
    for (int i = 0; i < count; i++) {
        clients[i].due = begun + (uint64_t)i * EVERY_US / (uint64_t)count;
        clients[i].leave_at = begun + (uint64_t)i * STAY_US / (uint64_t)count;
    }
    printf("begun\n");
    fflush(stdout);
    run(begun + (uint64_t)(atof(argv[7]) * 1e6));
    uint64_t lost = count_lost();
    printf(
        "%d clients, %llu messages, %llu to rooms, %llu large ones, %llu resumed; %llu "
        "lost, %llu wrong, %llu closed; ms: p50 %u, p99 %u, longest %.1f\n",
        count, (unsigned long long)tally.received, (unsigned long long)tally.told,
        (unsigned long long)tally.flooded, (unsigned long long)tally.resumed,
        (unsigned long long)lost, (unsigned long long)tally.bad,
        (unsigned long long)tally.closed, percentile(0.5), percentile(0.99),
        (double)tally.longest / 1000);
    return lost || tally.bad || tally.closed;
}
