/* load.c: a room whose messages come at a fixed rate, over WebSocket, every byte checked.
 *
 *     scale sync|socketio PORT[,PORT...] CLIENTS SIZE RATE WARM_UP SECONDS
 *
 * The clients connect to the ports in turn. The first one sends RATE messages of SIZE
 * bytes a second whatever the servers do, and all get each: to SYNC a message is a frame
 * of text, to Socket.IO an event `m` with one string. Prints one JSON object: what was
 * delivered in the measured time, latencies from when a message was due, and the load's
 * own share of a core. Ends with 1 at the first message that is wrong, missing, twice or
 * out of order.
 *
 * One thread, one epoll. Before the rate begins, probes are sent until one has reached
 * everybody: servers may still be telling each other who is in the room. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "../load.h"
#include "../ws.h"

enum {
    PORTS_MOST = 64,
    CLIENTS_MOST = 20000,
    SIZE_LEAST = 16,
    SIZE_MOST = 60000,
    BURST_MOST = 1000,
    HEAD = 11, /* bytes of a message: its kind, and ten digits that number it */
    WRAP_MOST = 16,
    CONTROL_MOST = 4096, /* bytes of a message of Socket.IO's own */
    READ_MOST = 256 * 1024,
    EVENTS = 256,
    PATIENCE_S = 5,
    PROBE_S = 1,
    PROBES = 20
};

/* How a server wants its messages. */
struct dialect {
    const char *name, *path, *before, *after;
    bool greets; /* Engine.IO's and Socket.IO's handshakes come first */
};

static const struct dialect dialects[] = {
    {"sync", "/", "", "", false},
    {"socketio", "/socket.io/?EIO=4&transport=websocket", "42[\"m\",\"", "\"]", true}};

struct client {
    int fd;
    int index;
    bool ready;
    struct ws_reader reader;
    char *part; /* of a message that has come in part */
    size_t length;
    uint64_t next; /* the message that is due */
};

static const struct dialect *dialect;
static struct client clients[CLIENTS_MOST];
static int client_count;
static int epoll_of_all;
static size_t size, part_most;
static double rate;
static uint64_t burst;
static char filler[SIZE_MOST + 26]; /* of messages, each begins elsewhere in it */
static uint64_t sent, probe, probed;
static bool begun, measuring;
static int64_t begun_at, read_at;
static uint64_t deliveries;

static _Noreturn void end(const struct client *client, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("scale: ", stderr);
    if (client) {
        fprintf(stderr, "client %d: ", client->index);
    }
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static int64_t clock_read(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int64_t due(uint64_t number) {
    return begun_at + (int64_t)((double)(number - number % burst) / rate * 1e9);
}

/* Sending. What is sent is little, so a server that leaves no room for it is at its end.
 */

static void send_all(struct client *client, const char *bytes, size_t length) {
    ssize_t count = send(client->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count != (ssize_t)length) {
        end(client, "sending failed: %s",
            count < 0 ? strerror(errno) : "the server does not read");
    }
}

static void send_frame(struct client *client, unsigned opcode, const char *bytes,
                       size_t length) {
    static char frame[WS_HEAD_MOST + WRAP_MOST + SIZE_MOST];
    static uint32_t mask = 2463534242;
    mask = mask * 1664525 + 1013904223;
    size_t head = ws_head(frame, opcode, length, mask);
    ws_mask(frame + head, bytes, length, mask);
    send_all(client, frame, head + length);
}

static void send_text(struct client *client, const char *text) {
    send_frame(client, WS_TEXT, text, strlen(text));
}

/* Sends a message of a kind: m, or p for a probe. */
static void send_message(char kind, uint64_t number) {
    static char text[WRAP_MOST + SIZE_MOST];
    size_t length = (size_t)sprintf(text, "%s%c%010llu", dialect->before, kind,
                                    (unsigned long long)number);
    memcpy(text + length, filler + number % 26, size - HEAD);
    length += size - HEAD;
    length += (size_t)sprintf(text + length, "%s", dialect->after);
    send_frame(&clients[0], WS_TEXT, text, length);
}

/* What comes. */

static bool read_number(const char *digits, uint64_t *number) {
    *number = 0;
    for (int i = 0; i < HEAD - 1; i++) {
        if (digits[i] < '0' || digits[i] > '9') {
            return false;
        }
        *number = *number * 10 + (uint64_t)(digits[i] - '0');
    }
    return true;
}

/* Takes the dialect's wrapping off. Whether it is a message, and which. */
static bool unwrap(const char *text, size_t length, char *kind, uint64_t *number) {
    size_t before = strlen(dialect->before), after = strlen(dialect->after);
    if (length != before + size + after || memcmp(text, dialect->before, before) != 0 ||
        memcmp(text + before + size, dialect->after, after) != 0) {
        return false;
    }
    *kind = text[before];
    return (*kind == 'm' || *kind == 'p') && read_number(text + before + 1, number) &&
           memcmp(text + before + HEAD, filler + *number % 26, size - HEAD) == 0;
}

static void message_came(struct client *client, uint64_t number) {
    if (!begun || number >= sent) {
        end(client, "message %llu came, which was not sent", (unsigned long long)number);
    }
    if (number != client->next) {
        end(client, "message %llu came, and message %llu was due",
            (unsigned long long)number, (unsigned long long)client->next);
    }
    client->next++;
    if (measuring) {
        deliveries++;
        histogram_add(read_at - due(number));
    }
}

/* Engine.IO's and Socket.IO's own messages: open, ping, connected. */
static bool greet(struct client *client, const char *text, size_t length) {
    if (!dialect->greets || length == 0) {
        return false;
    }
    if (text[0] == '0' && !client->ready) {
        send_text(client, "40");
    } else if (length == 1 && text[0] == '2') {
        send_text(client, "3");
    } else if (length >= 2 && memcmp(text, "40", 2) == 0 && !client->ready) {
        client->ready = true;
    } else {
        return false;
    }
    return true;
}

static void take_text(struct client *client, const char *text, size_t length) {
    char kind;
    uint64_t number;
    if (!unwrap(text, length, &kind, &number)) {
        if (!greet(client, text, length)) {
            end(client, "this was not sent: %.*s", length < 200 ? (int)length : 200,
                text);
        }
    } else if (kind == 'm') {
        message_came(client, number);
    } else {
        probed += !begun && number == probe;
    }
}

/* Puts a message together that comes in parts. */
static void take_part(struct client *client, const char *bytes, size_t length,
                      bool is_whole) {
    if (client->length == 0 && is_whole) {
        take_text(client, bytes, length);
        return;
    }
    if (length > part_most - client->length) {
        end(client, "a message is longer than %zu bytes", part_most);
    }
    memcpy(client->part + client->length, bytes, length);
    client->length += length;
    if (is_whole) {
        size_t whole = client->length;
        client->length = 0;
        take_text(client, client->part, whole);
    }
}

static void take_frames(struct client *client, const char *bytes, size_t length) {
    while (length > 0) {
        struct ws_piece piece;
        const char *why;
        long taken = ws_read(&client->reader, bytes, length, &piece, &why);
        if (taken < 0) {
            end(client, "%s", why);
        }
        bytes += taken;
        length -= (size_t)taken;
        if (piece.kind == WS_TEXT) {
            take_part(client, piece.bytes, piece.length, piece.ends);
        } else if (piece.kind == WS_PING) {
            send_frame(client, WS_PONG, piece.bytes, piece.length);
        } else if (piece.kind != 0 && piece.kind != WS_PONG) {
            end(client, "a frame came that is no text: opcode %d", piece.kind);
        }
    }
}

static void client_read(struct client *client, int flags) {
    static char bytes[READ_MOST];
    ssize_t count = recv(client->fd, bytes, sizeof(bytes), flags);
    if (count < 0 && errno == EAGAIN && flags == MSG_DONTWAIT) {
        return;
    }
    if (count <= 0) {
        end(client, count == 0 ? "the server closed it" : "reading failed: %s",
            strerror(errno));
    }
    read_at = clock_read(CLOCK_MONOTONIC);
    take_frames(client, bytes, (size_t)count);
}

/* Connecting, while nothing is measured: one after the other, and waiting. */

static void handshake(struct client *client) {
    uint8_t random[WS_KEY_BYTES];
    char key[WS_KEY_SIZE], request[512], answer[WS_ANSWER_MOST], why[200];
    if (getrandom(random, sizeof(random), 0) != sizeof(random)) {
        end(client, "no random bytes for a key");
    }
    ws_key(key, random);
    size_t length = ws_request(request, sizeof(request), "localhost", dialect->path, key);
    send_all(client, request, length);
    size_t have = 0;
    long head = 0;
    while (head == 0) {
        ssize_t count = recv(client->fd, answer + have, sizeof(answer) - have, 0);
        if (count <= 0) {
            end(client, "the handshake was not answered");
        }
        have += (size_t)count;
        head = ws_answer(answer, have, key, why, sizeof(why));
    }
    if (head < 0) {
        end(client, "the answer to the handshake is wrong: %s", why);
    }
    client->ready = !dialect->greets;
    take_frames(client, answer + head, have - (size_t)head);
    while (!client->ready) {
        client_read(client, 0);
    }
}

static void client_open(struct client *client, int index, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int yes = 1;
    client->index = index;
    client->part = malloc(part_most);
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!client->part || client->fd < 0 ||
        setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
        setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)) ||
        connect(client->fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        end(client, "connecting to port %d failed: %s", port, strerror(errno));
    }
    handshake(client);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    if (epoll_ctl(epoll_of_all, EPOLL_CTL_ADD, client->fd, &event) != 0) {
        end(client, "epoll_ctl: %s", strerror(errno));
    }
}

/* Running. */

/* Reads what comes until that time, at most. Returns how many had something. */
static int receive(int64_t until) {
    struct epoll_event events[EVENTS];
    int64_t wait = until - clock_read(CLOCK_MONOTONIC);
    wait = wait > 0 ? wait : 0;
    struct timespec time = {wait / 1000000000, wait % 1000000000};
    int ready = epoll_pwait2(epoll_of_all, events, EVENTS, &time, NULL);
    if (ready < 0 && errno != EINTR) {
        end(NULL, "epoll_pwait2: %s", strerror(errno));
    }
    for (int i = 0; i < ready; i++) {
        client_read(events[i].data.ptr, MSG_DONTWAIT);
    }
    return ready;
}

static void probe_all(void) {
    for (probe = 0; probe < PROBES; probe++) {
        probed = 0;
        send_message('p', probe);
        int64_t until = clock_read(CLOCK_MONOTONIC) + PROBE_S * 1000000000LL;
        while (probed < (uint64_t)client_count && clock_read(CLOCK_MONOTONIC) < until) {
            receive(until);
        }
        if (probed == (uint64_t)client_count) {
            return;
        }
    }
    end(NULL, "a message reached %llu of %d clients", (unsigned long long)probed,
        client_count);
}

/* Sends what is due, and reads, until that time. */
static void run(int64_t until) {
    int64_t time;
    while ((time = clock_read(CLOCK_MONOTONIC)) < until) {
        while (due(sent) <= time) {
            send_message('m', sent++);
        }
        int64_t next = due(sent);
        receive(next < until ? next : until);
    }
}

/* Waits for what was sent, so that a message that was lost shows. */
static void wait_for_rest(void) {
    int64_t heard = clock_read(CLOCK_MONOTONIC);
    for (int i = 0; i < client_count; i++) {
        while (clients[i].next < sent) {
            int64_t until = heard + PATIENCE_S * 1000000000LL;
            if (receive(until) > 0) {
                heard = clock_read(CLOCK_MONOTONIC);
            } else if (clock_read(CLOCK_MONOTONIC) >= until) {
                end(&clients[i], "message %llu of %llu has not come for %d s",
                    (unsigned long long)clients[i].next, (unsigned long long)sent,
                    PATIENCE_S);
            }
        }
    }
}

static void measure(double warm_up, double seconds) {
    begun = true;
    begun_at = clock_read(CLOCK_MONOTONIC);
    run(begun_at + (int64_t)(warm_up * 1e9));
    measuring = true;
    int64_t from = clock_read(CLOCK_MONOTONIC);
    int64_t own = clock_read(CLOCK_PROCESS_CPUTIME_ID);
    run(from + (int64_t)(seconds * 1e9));
    measuring = false;
    double took = (double)(clock_read(CLOCK_MONOTONIC) - from);
    double used = (double)(clock_read(CLOCK_PROCESS_CPUTIME_ID) - own);
    wait_for_rest();
    if (deliveries == 0) {
        end(NULL, "nothing was delivered in %.2f s", took / 1e9);
    }
    printf("{\"messages\": %llu, \"per_second\": %.1f, \"seconds\": %.3f, "
           "\"latency_us\": {\"p50\": %.1f, \"p99\": %.1f}, \"load_busy\": %.4f}\n",
           (unsigned long long)deliveries, (double)deliveries / took * 1e9, took / 1e9,
           histogram_percentile(50) / 1e3, histogram_percentile(99) / 1e3, used / took);
}

/* The ports of a list; returns how many. */
static int read_ports(char *list, int *ports) {
    int count = 0;
    for (char *word = strtok(list, ","); word; word = strtok(NULL, ",")) {
        int port = atoi(word);
        if (port < 1 || port > 65535 || count == PORTS_MOST) {
            return 0;
        }
        ports[count++] = port;
    }
    return count;
}

static const struct dialect *find_dialect(const char *name) {
    for (size_t i = 0; i < sizeof(dialects) / sizeof(dialects[0]); i++) {
        if (strcmp(dialects[i].name, name) == 0) {
            return &dialects[i];
        }
    }
    return NULL;
}

static void raise_file_limit(void) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

/* Reads what the command line says of the work. Returns whether it can be done. */
static bool read_plan(char **arguments, int *ports, int *port_count) {
    dialect = find_dialect(arguments[1]);
    *port_count = read_ports(arguments[2], ports);
    client_count = atoi(arguments[3]);
    int bytes = atoi(arguments[4]);
    rate = atof(arguments[5]);
    int together = atoi(arguments[6]);
    size = (size_t)bytes;
    burst = (uint64_t)together;
    part_most = size + WRAP_MOST + CONTROL_MOST;
    return dialect && *port_count > 0 && client_count >= 1 &&
           client_count <= CLIENTS_MOST && bytes >= SIZE_LEAST && bytes <= SIZE_MOST &&
           rate > 0 && rate <= 1e6 && together >= 1 && together <= BURST_MOST;
}

int main(int count, char **arguments) {
    int ports[PORTS_MOST], port_count;
    if (count != 9 || !read_plan(arguments, ports, &port_count)) {
        fprintf(stderr,
                "usage: scale sync|socketio PORT[,PORT...] CLIENTS (at most %d) SIZE "
                "(%d to %d) RATE BURST (at most %d) WARM_UP SECONDS\n",
                CLIENTS_MOST, SIZE_LEAST, SIZE_MOST, BURST_MOST);
        return 2;
    }
    for (size_t i = 0; i < sizeof(filler); i++) {
        filler[i] = (char)('a' + i % 26);
    }
    raise_file_limit();
    epoll_of_all = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < client_count; i++) {
        client_open(&clients[i], i, ports[i % port_count]);
    }
    probe_all();
    measure(atof(arguments[7]), atof(arguments[8]));
    return 0;
}
