/* load.c: clients of an echo server that is replaced under them: each message that comes
 * back is compared with what was sent, in order.
 *
 *     load PORT TLS_PORT STREAMS WEBSOCKETS TLS_WEBSOCKETS SECONDS
 *
 * Each sends ten messages a second. WebSockets send theirs in two fragments, with a pause
 * between; every other one compresses, with a window that lasts. Prints one line, and
 * exits with 1 when something was lost, doubled, out of order, or closed. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

enum {
    ROOM = 64 * 1024,
    RING = 256,          /* messages whose time is known */
    EVERY_US = 100000,   /* between two messages of a client */
    PART_US = 40000,     /* between two fragments */
    SETTLE_US = 10000000 /* for what is under way at the end */
};

struct client {
    int fd;
    SSL *ssl;
    bool websocket, packs, waits; /* for room */
    uint32_t number, sent, seen;
    uint64_t due;
    char rest[1024]; /* the second fragment, once the first was sent */
    size_t rest_length;
    z_stream deflate, inflate;
    char *in, *out;
    size_t in_length, out_length;
    uint64_t times[RING];
};

static struct client *clients;
static int count, set;
static SSL_CTX *context;
static uint64_t received, longest, bad, closed;
static uint32_t latencies[4096]; /* by ms */

static uint64_t now_us(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

static void die(const char *what) {
    perror(what);
    exit(2);
}

static void fail(struct client *client, const char *what) {
    if (bad++ < 5) {
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
        struct epoll_event event = {.events = EPOLLIN | (waits ? EPOLLOUT : 0),
                                    .data.ptr = client};
        epoll_ctl(set, EPOLL_CTL_MOD, client->fd, &event);
    }
}

static void append(struct client *client, const char *bytes, size_t length) {
    if (client->out_length + length > ROOM) {
        fail(client, "the server takes nothing");
        return;
    }
    memcpy(client->out + client->out_length, bytes, length);
    client->out_length += length;
}

/* Masked with zeros. */
static void append_frame(struct client *client, unsigned char first, const char *bytes,
                         size_t length) {
    char head[8] = {(char)first, (char)(0x80 | length)};
    size_t size = 2;
    if (length > 125) {
        head[1] = (char)(0x80 | 126);
        head[2] = (char)(length >> 8);
        head[3] = (char)length;
        size = 4;
    }
    append(client, head, size);
    append(client, "\0\0\0\0", 4);
    append(client, bytes, length);
}

static size_t message(char *text, const struct client *client, uint32_t number) {
    int length =
        sprintf(text, "%u %u the same words again and again", client->number, number);
    for (uint32_t i = 0; i < 20 + number * 7 % 100; i++) {
        text[length++] = (char)('a' + (number + i * (client->number + 3)) % 26);
    }
    return (size_t)length;
}

static size_t pack(struct client *client, char *text, size_t length) {
    char packed[2048];
    client->deflate.next_in = (Bytef *)text;
    client->deflate.avail_in = (uInt)length;
    client->deflate.next_out = (Bytef *)packed;
    client->deflate.avail_out = sizeof(packed);
    deflate(&client->deflate, Z_SYNC_FLUSH);
    size_t size = sizeof(packed) - client->deflate.avail_out - 4;
    memcpy(text, packed, size);
    return size;
}

static void send_next(struct client *client, uint64_t now) {
    char text[2048];
    if (client->rest_length > 0) {
        append_frame(client, 0x80, client->rest, client->rest_length);
        client->rest_length = 0;
        client->due += EVERY_US - PART_US;
        flush(client);
        return;
    }
    size_t length = message(text, client, ++client->sent);
    client->times[client->sent % RING] = now;
    if (!client->websocket) {
        text[length++] = '\n';
        append(client, text, length);
        client->due += EVERY_US;
    } else {
        length = client->packs ? pack(client, text, length) : length;
        size_t part = length / 2;
        append_frame(client, client->packs ? 0x41 : 1, text, part);
        client->rest_length = length - part;
        memcpy(client->rest, text + part, client->rest_length);
        client->times[client->sent % RING] = now + PART_US;
        client->due += PART_US;
    }
    flush(client);
}

static void check(struct client *client, const char *text, size_t length) {
    char wanted[2048];
    uint32_t number = client->seen + 1;
    size_t size = message(wanted, client, number);
    if (size != length || memcmp(text, wanted, size) != 0) {
        char what[160];
        snprintf(what, sizeof(what), "wanted message %u, got %.*s", number,
                 (int)(length < 60 ? length : 60), text);
        fail(client, what);
        unsigned own;
        if (sscanf(text, "%u %u", &own, &number) != 2) {
            return;
        }
    }
    client->seen = number;
    received++;
    uint64_t now = now_us();
    uint64_t sent = client->times[number % RING];
    uint64_t took = now > sent ? now - sent : 0;
    longest = took > longest ? took : longest;
    latencies[took / 1000 < 4095 ? took / 1000 : 4095]++;
}

static size_t take_line(struct client *client) {
    char *end = memchr(client->in, '\n', client->in_length);
    if (!end) {
        return 0;
    }
    check(client, client->in, (size_t)(end - client->in));
    return (size_t)(end - client->in) + 1;
}

static size_t take_frame(struct client *client) {
    unsigned char *in = (unsigned char *)client->in;
    if (client->in_length < 4) {
        return 0;
    }
    size_t head = in[1] == 126 ? 4 : 2;
    size_t length = in[1] == 126 ? (size_t)in[2] << 8 | in[3] : in[1];
    if (client->in_length < head + length) {
        return 0;
    }
    if ((in[0] & 15) == 8) {
        fail(client, "a Close");
    } else if (in[0] & 0x40) {
        char text[4096];
        static const char tail[4] = {0, 0, (char)0xff, (char)0xff};
        client->inflate.next_in = in + head;
        client->inflate.avail_in = (uInt)length;
        client->inflate.next_out = (Bytef *)text;
        client->inflate.avail_out = sizeof(text);
        int one = inflate(&client->inflate, Z_SYNC_FLUSH);
        client->inflate.next_in = (Bytef *)tail;
        client->inflate.avail_in = sizeof(tail);
        inflate(&client->inflate, Z_SYNC_FLUSH);
        if (one != Z_OK && one != Z_BUF_ERROR) {
            fail(client, "it can't be inflated");
        }
        check(client, text, sizeof(text) - client->inflate.avail_out);
    } else if ((in[0] & 15) == 1) {
        check(client, client->in + head, length);
    }
    return head + length;
}

static void read_all(struct client *client) {
    for (;;) {
        ssize_t size =
            get(client, client->in + client->in_length, ROOM - client->in_length);
        if (size == 0 || (size < 0 && errno != EAGAIN)) {
            closed++;
            fail(client, size == 0 ? "it was closed" : strerror(errno));
            epoll_ctl(set, EPOLL_CTL_DEL, client->fd, NULL);
            return;
        }
        if (size < 0) {
            return;
        }
        client->in_length += (size_t)size;
        size_t at = 0;
        size_t used;
        do {
            client->in += at;
            client->in_length -= at;
            used = client->in_length == 0 ? 0
                   : client->websocket    ? take_frame(client)
                                          : take_line(client);
            client->in -= at;
            client->in_length += at;
            at += used;
        } while (used > 0);
        memmove(client->in, client->in + at, client->in_length - at);
        client->in_length -= at;
    }
}

static void shake_hands(struct client *client) {
    char text[1024];
    int length =
        snprintf(text, sizeof(text),
                 "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                 "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
                 client->packs ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : "");
    put(client, text, (size_t)length);
    size_t seen = 0;
    while (seen < 4 || memcmp(text + seen - 4, "\r\n\r\n", 4) != 0) {
        if (seen == sizeof(text) || get(client, text + seen, 1) != 1) {
            die("the handshake");
        }
        seen++;
    }
    if (memcmp(text, "HTTP/1.1 101", 12) != 0 ||
        (client->packs && !memmem(text, seen, "permessage-deflate", 18))) {
        fprintf(stderr, "%.*s\n", (int)seen, text);
        exit(2);
    }
}

static void open_client(struct client *client, int port, bool tls) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int on = 1;
    client->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (client->fd < 0 ||
        connect(client->fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        die("connect");
    }
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (tls) {
        client->ssl = SSL_new(context);
        SSL_set_fd(client->ssl, client->fd);
        if (SSL_connect(client->ssl) != 1) {
            die("TLS");
        }
    }
    client->in = malloc(ROOM);
    client->out = malloc(ROOM);
    deflateInit2(&client->deflate, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);
    inflateInit2(&client->inflate, -15);
    if (client->websocket) {
        shake_hands(client);
    }
    fcntl(client->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    epoll_ctl(set, EPOLL_CTL_ADD, client->fd, &event);
}

static bool is_settled(void) {
    for (int i = 0; i < count; i++) {
        if (clients[i].seen < clients[i].sent || clients[i].rest_length > 0) {
            return false;
        }
    }
    return true;
}

static void run(uint64_t until) {
    struct epoll_event events[512];
    uint64_t now = now_us();
    while (now < until + SETTLE_US && (now < until || !is_settled())) {
        int found = epoll_wait(set, events, 512, 2);
        for (int i = 0; i < found; i++) {
            struct client *client = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) {
                flush(client);
            }
            read_all(client);
        }
        now = now_us();
        for (int i = 0; i < count; i++) {
            bool goes_on = now < until || clients[i].rest_length > 0;
            if (goes_on && clients[i].due <= now) {
                send_next(&clients[i], now);
            }
        }
    }
}

static unsigned percentile(double share) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < 4096; i++) {
        sum += latencies[i];
        if ((double)sum >= share * (double)received) {
            return i;
        }
    }
    return 4095;
}

int main(int argc, char **argv) {
    if (argc != 7) {
        return 2;
    }
    int streams = atoi(argv[3]);
    int websockets = atoi(argv[4]);
    int encrypted = atoi(argv[5]);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    count = streams + websockets + encrypted;
    clients = calloc((size_t)count, sizeof(*clients));
    set = epoll_create1(0);
    context = SSL_CTX_new(TLS_client_method());
    for (int i = 0; i < count; i++) {
        bool tls = i >= streams + websockets;
        clients[i].number = (uint32_t)i + 1;
        clients[i].websocket = i >= streams;
        clients[i].packs = i >= streams && i % 2;
        open_client(&clients[i], atoi(argv[tls ? 2 : 1]), tls);
    }
    uint64_t begun = now_us();
    for (int i = 0; i < count; i++) {
        clients[i].due = begun + (uint64_t)i * EVERY_US / (uint64_t)count;
    }
    printf("begun\n");
    fflush(stdout);
    run(begun + (uint64_t)(atof(argv[6]) * 1e6));
    uint64_t lost = 0;
    for (int i = 0; i < count; i++) {
        lost += clients[i].sent - clients[i].seen;
    }
    printf("%d clients, %llu messages, %llu lost, %llu wrong, %llu closed; ms: p50 %u, "
           "p99 %u, longest %.1f\n",
           count, (unsigned long long)received, (unsigned long long)lost,
           (unsigned long long)bad, (unsigned long long)closed, percentile(0.5),
           percentile(0.99), (double)longest / 1000);
    return lost || bad || closed;
}
