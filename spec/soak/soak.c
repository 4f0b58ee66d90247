/* soak.c: puts a whole server under loads that specs are too short for.
 *
 *     soak SYNC_LUA SERVER_LUA
 *
 * Every client checks that the messages it gets are numbered without a gap. Prints a line
 * for each claim and ends with "N passed, N failed".
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

enum { DIGITS = 10, CROWD = 10000, ROOM = 100, HALF = 500 };
enum { DEPARTED = 2000, FILLS = 16, RESUME_SECONDS = 5 }; /* see server.lua */

struct client {
    int fd;
    unsigned next;  /* number that the next message must have */
    size_t partial; /* bytes of an unfinished message */
    char head[DIGITS + 1];
    bool closed;
    bool broken; /* a message was missing, or its bytes wrong */
};

struct server {
    pid_t pid;
    int port;
    char log[64];
};

static int passed, failed;
static const char *program, *script;
static char certificate[] = "/tmp/sync-soak-XXXXXX"; /* and its key; empty without TLS */

static void claim(bool holds, const char *text, double figure, const char *unit) {
    printf("%s %s (%.1f %s)\n", holds ? "ok    " : "NOT OK", text, figure, unit);
    fflush(stdout);
    passed += holds;
    failed += !holds;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void die(const char *what) {
    perror(what);
    exit(2);
}

static struct server start_serving(const char *overflow, const char *what,
                                   const char *max_message) {
    struct server server = {.log = "/tmp/sync-soak-XXXXXX"};
    int log = mkstemp(server.log);
    int pipes[2];
    if (log < 0 || pipe(pipes) < 0) {
        die("soak");
    }
    server.pid = fork();
    if (server.pid == 0) {
        dup2(pipes[1], 1);
        dup2(log, 2);
        close(pipes[0]);
        bool tls = access(certificate, R_OK) == 0;
        execl(program, program, script, overflow, what, max_message,
              tls ? certificate : (char *)NULL, (char *)NULL);
        die(program);
    }
    close(pipes[1]);
    close(log);
    char text[16] = {0};
    if (read(pipes[0], text, sizeof(text) - 1) <= 0) {
        die("the server does not say its port");
    }
    close(pipes[0]);
    server.port = atoi(text);
    return server;
}

static struct server start_server(const char *overflow) {
    return start_serving(overflow, "all", "65536");
}

/* Stops it and returns how many lines of its log are errors. */
static int stop_server(struct server *server) {
    kill(server->pid, SIGTERM);
    waitpid(server->pid, NULL, 0);
    int errors = 0;
    char line[4096];
    FILE *log = fopen(server->log, "r");
    while (log && fgets(line, sizeof(line), log)) {
        if (strstr(line, "ERROR")) {
            errors++;
            fputs(line, stdout);
        }
    }
    if (log) {
        fclose(log);
    }
    unlink(server->log);
    return errors;
}

static double resident_kib(const struct server *server) {
    char path[64], line[256];
    double kib = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)server->pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof(line), file)) {
        sscanf(line, "VmRSS: %lf", &kib);
    }
    if (file) {
        fclose(file);
    }
    return kib;
}

static void connect_client(struct client *client, const struct server *server, int i) {
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)server->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (uint32_t)(i % 4));
    *client = (struct client){.fd = socket(AF_INET, SOCK_STREAM, 0)};
    if (client->fd < 0 || bind(client->fd, (struct sockaddr *)&from, sizeof(from)) < 0 ||
        connect(client->fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
        die("connect");
    }
}

static struct client *connect_many(const struct server *server, int count) {
    struct client *clients = calloc((size_t)count, sizeof(*clients));
    for (int i = 0; i < count; i++) {
        connect_client(&clients[i], server, i);
    }
    return clients;
}

static void close_many(struct client *clients, int count) {
    for (int i = 0; i < count; i++) {
        close(clients[i].fd);
    }
    free(clients);
}

static void send_all(int fd, const char *bytes, size_t length) {
    for (size_t sent = 0; sent < length;) {
        ssize_t part = write(fd, bytes + sent, length - sent);
        if (part <= 0) {
            die("write");
        }
        sent += (size_t)part;
    }
}

static void send_message(int fd, unsigned number, size_t size) {
    static char message[64 * 1024];
    snprintf(message, sizeof(message), "%010u", number);
    memset(message + DIGITS, 'a' + (int)(number % 26), size - DIGITS);
    message[size] = '\0';
    send_all(fd, message, size + 1);
}

/* Checks bytes: each message is its number and then letters that follow from it. */
static void check_bytes(struct client *client, const char *bytes, size_t length) {
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] == '\0') {
            client->partial = 0;
            client->next++;
        } else if (client->partial < DIGITS) {
            client->head[client->partial++] = bytes[i];
            if (client->partial == DIGITS &&
                strtoul(client->head, NULL, 10) != client->next) {
                client->broken = true;
            }
        } else if (bytes[i] != (char)('a' + (int)(client->next % 26))) {
            client->broken = true;
        }
    }
}

static void read_client(struct client *client) {
    char bytes[64 * 1024];
    ssize_t count = recv(client->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (count > 0) {
        check_bytes(client, bytes, (size_t)count);
    } else if (count == 0 || errno != EAGAIN) {
        client->closed = true;
    }
}

static int watch(struct client *clients, int count) {
    int epoll = epoll_create1(0);
    for (int i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &clients[i]};
        epoll_ctl(epoll, EPOLL_CTL_ADD, clients[i].fd, &event);
    }
    return epoll;
}

static void read_ready(int epoll, int wait_ms) {
    struct epoll_event events[256];
    int count = epoll_wait(epoll, events, 256, wait_ms);
    for (int i = 0; i < count; i++) {
        struct client *client = events[i].data.ptr;
        read_client(client);
        if (client->closed) {
            epoll_ctl(epoll, EPOLL_CTL_DEL, client->fd, NULL);
        }
    }
}

/* How many clients got exactly `messages` messages, all right. */
static int complete(const struct client *clients, int count, unsigned messages) {
    int n = 0;
    for (int i = 0; i < count; i++) {
        n += clients[i].next == messages && clients[i].partial == 0 && !clients[i].broken;
    }
    return n;
}

static int read_until_complete(int epoll, const struct client *clients, int count,
                               unsigned messages, double seconds) {
    double end = now() + seconds;
    int n;
    while ((n = complete(clients, count, messages)) < count && now() < end) {
        read_ready(epoll, 20);
    }
    return n;
}

/* Says a message and waits until everybody has it: then all were accepted. */
static void greet(int epoll, struct client *clients, int count) {
    double end = now() + 20;
    for (unsigned number = 0; now() < end; number++) {
        for (int i = 0; i < count; i++) {
            clients[i].next = 0;
            clients[i].partial = 0;
        }
        send_message(clients[0].fd, 0, 64);
        if (read_until_complete(epoll, clients, count, 1, 1) == count) {
            return;
        }
    }
    fprintf(stderr, "soak: not every client was accepted\n");
    exit(2);
}

static void come_and_go(const struct server *server, int count, const char *claimed) {
    struct client *clients = connect_many(server, count);
    int epoll = watch(clients, count);
    greet(epoll, clients, count);
    send_message(clients[count - 1].fd, 1, 64);
    int got = read_until_complete(epoll, clients, count, 2, 20);
    if (claimed) {
        claim(got == count, claimed, got, "clients");
    }
    close(epoll);
    close_many(clients, count);
}

static void crowd(void) {
    struct server server = start_server("close");
    come_and_go(&server, 200, NULL); /* so that its code is loaded and compiled */
    sleep(3);
    double before = resident_kib(&server);
    come_and_go(&server, CROWD, "a broadcast reaches each of 10,000 clients");
    double end = now() + 20;
    double after;
    while ((after = resident_kib(&server)) > before * 1.1 && now() < end) {
        usleep(100000);
    }
    claim(after <= before * 1.1, "when they have left, memory is back within 10 %",
          after / before * 100, "% of before");
    int errors = stop_server(&server);
    claim(errors == 0, "nothing is logged as an error", errors, "errors");
}

static void never_reads(const char *overflow) {
    struct server server = start_server(overflow);
    struct client *clients = connect_many(&server, ROOM);
    int epoll = watch(clients, ROOM);
    greet(epoll, clients, ROOM);
    struct client *deaf = &clients[ROOM - 1];
    epoll_ctl(epoll, EPOLL_CTL_DEL, deaf->fd, NULL);
    double start_kib = resident_kib(&server), most_kib = start_kib;
    double start = now();
    unsigned number = 1;
    bool reset = false;
    while (now() - start < 12) {
        while (number - 1 < (now() - start) * 1000) { /* 1,000 times 1,000 bytes */
            send_message(clients[0].fd, number++, 1000);
        }
        read_ready(epoll, 1);
        double kib = resident_kib(&server);
        most_kib = kib > most_kib ? kib : most_kib;
        struct pollfd deaf_poll = {.fd = deaf->fd, .events = POLLRDHUP};
        reset = poll(&deaf_poll, 1, 0) > 0 && (deaf_poll.revents & (POLLERR | POLLHUP));
    }
    int got = read_until_complete(epoll, clients, ROOM - 1, number, 10);
    bool closes = strcmp(overflow, "close") == 0;
    printf("       overflow = \"%s\", %u messages\n", overflow, number);
    claim(got == ROOM - 1, "the 99 that read get every byte", got, "clients");
    claim(reset == closes,
          closes ? "the one that never reads is closed"
                 : "the one that never reads stays connected",
          reset, "resets");
    claim(most_kib - start_kib <= 4096, "memory rises by at most 4 MiB",
          most_kib - start_kib, "KiB");
    close(epoll);
    close_many(clients, ROOM);
    int errors = stop_server(&server);
    claim(errors == 0, "nothing is logged as an error", errors, "errors");
}

/* Joins as many rooms as a client may be in, under names as long as a message. */
static void join_rooms(int fd, int client) {
    static char name[60000];
    for (int room = 0; room < 64; room++) {
        memset(name, 'x', sizeof(name) - 1);
        int length = snprintf(name, sizeof(name), "j%d %d", client, room);
        name[length] = ' ';
        send_all(fd, name, sizeof(name));
    }
}

static void long_names(void) {
    struct server server = start_server("close");
    struct client *clients = connect_many(&server, ROOM);
    int epoll = watch(clients, ROOM);
    greet(epoll, clients, ROOM);
    double before = resident_kib(&server);
    double most = before;
    unsigned said = 1;
    for (int i = 0; i < ROOM; i++) {
        join_rooms(clients[i].fd, i);
        send_message(clients[i].fd, said++,
                     64); /* when all have it the names were taken */
        read_until_complete(epoll, clients, ROOM, said, 20);
        double kib = resident_kib(&server);
        most = kib > most ? kib : most;
    }
    int got = complete(clients, ROOM, said);
    claim(got == ROOM, "100 clients with 64 long names each hear each other", got,
          "clients");
    claim(most - before <= 16384,
          "their names are not kept: memory rises by at most 16 MiB", most - before,
          "KiB");
    close(epoll);
    close_many(clients, ROOM);
    int errors = stop_server(&server);
    claim(errors == 0, "nothing is logged as an error", errors, "errors");
}

/* Connects HALF clients, says so, and reads until all messages have come. */
static void half(const struct server *server, int ready, unsigned messages) {
    struct client *clients = connect_many(server, HALF);
    int epoll = watch(clients, HALF);
    greet(epoll, clients, HALF);
    for (int i = 0; i < HALF; i++) {
        clients[i].next = 1;
    }
    if (write(ready, "x", 1) != 1) {
        _exit(2);
    }
    int got = read_until_complete(epoll, clients, HALF, messages, 30);
    _exit(got == HALF ? 0 : 1);
}

static void killed(void) {
    struct server server = start_server("close");
    enum { MESSAGES = 2000 };
    int ready[2];
    if (pipe(ready) < 0) {
        die("pipe");
    }
    pid_t halves[2];
    for (int i = 0; i < 2; i++) {
        halves[i] = fork();
        if (halves[i] == 0) {
            half(&server, ready[1], MESSAGES);
        }
        char byte; /* one after the other, so that their greetings don't mix */
        if (read(ready[0], &byte, 1) != 1) {
            die("a half of the clients");
        }
    }
    struct client speaker;
    connect_client(&speaker, &server, 0);
    int epoll = watch(&speaker, 1);
    speaker.next = 1;
    for (unsigned number = 1; number < MESSAGES; number++) {
        send_message(speaker.fd, number, 1000);
        read_ready(epoll, 0);
        if (number == MESSAGES / 2) {
            kill(halves[0], SIGKILL);
        }
    }
    int status = 0;
    waitpid(halves[0], NULL, 0);
    read_until_complete(epoll, &speaker, 1, MESSAGES, 20);
    waitpid(halves[1], &status, 0);
    claim(WIFEXITED(status) && WEXITSTATUS(status) == 0,
          "kill -9 of half of 1,000 clients costs the others nothing",
          WEXITSTATUS(status), "exit code");
    close(speaker.fd);
    close(epoll);
    int errors = stop_server(&server);
    claim(errors == 0, "nothing is logged as an error", errors, "errors");
}

/* Seconds of a processor that the server has used. */
static double cpu_seconds(const struct server *server) {
    char path[64];
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)server->pid);
    FILE *file = fopen(path, "r");
    if (!file ||
        fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
               &user, &system) != 2) {
        die(path);
    }
    fclose(file);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

/* Clients that read nothing of what all are sent, and end their side. */
static void ended(void) {
    enum { CLIENTS = 50, MESSAGES = 101, SECONDS = 3 };
    struct server server = start_server("drop");
    struct client *clients = connect_many(&server, CLIENTS);
    int epoll = watch(clients, CLIENTS);
    greet(epoll, clients, CLIENTS);
    int speaker = watch(clients, 1);
    for (unsigned number = 1; number < MESSAGES; number++) {
        send_message(clients[0].fd, number, 60 * 1000);
        read_until_complete(speaker, clients, 1, number + 1, 20);
    }
    for (int i = 0; i < CLIENTS; i++) {
        shutdown(clients[i].fd, SHUT_WR);
    }
    double cpu = cpu_seconds(&server);
    sleep(SECONDS);
    double share = (cpu_seconds(&server) - cpu) / SECONDS * 100;
    close(speaker);
    claim(share < 2, "clients that are owed data and end their side cost nothing", share,
          "% of a processor");
    close(epoll);
    close_many(clients, CLIENTS);
    int errors = stop_server(&server);
    claim(errors == 0, "nothing is logged as an error", errors, "errors");
}

/* What OpenSSL's client sends first. Returns its length. */
static size_t read_hello(char *hello, size_t size) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, 1) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) < 0) {
        die("a port for OpenSSL");
    }
    char to[32];
    snprintf(to, sizeof(to), "127.0.0.1:%d", ntohs(address.sin_port));
    pid_t client = fork();
    if (client == 0) {
        execlp("openssl", "openssl", "s_client", "-connect", to, (char *)NULL);
        die("openssl");
    }
    int peer = accept(fd, NULL, NULL);
    ssize_t got = recv(peer, hello, 5, MSG_WAITALL);
    size_t rest =
        got == 5 ? (size_t)(unsigned char)hello[3] << 8 | (unsigned char)hello[4] : size;
    if (rest > size - 5 || recv(peer, hello + 5, rest, MSG_WAITALL) != (ssize_t)rest) {
        die("OpenSSL's hello");
    }
    kill(client, SIGKILL);
    waitpid(client, NULL, 0);
    close(peer);
    close(fd);
    return 5 + rest;
}

/* Connects clients that stop behind the answer to their hello. */
static struct client *half_handshakes(const struct server *server, int count,
                                      const char *hello, size_t length) {
    struct client *clients = connect_many(server, count);
    char byte;
    for (int i = 0; i < count; i++) {
        if (send(clients[i].fd, hello, length, 0) != (ssize_t)length ||
            recv(clients[i].fd, &byte, 1, 0) != 1) {
            die("a TLS handshake");
        }
    }
    return clients;
}

static void handshakes(void) {
    enum { HALVES = 2000 };
    char command[256], hello[4096];
    close(mkstemp(certificate));
    snprintf(command, sizeof(command),
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
             "-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout %s -out - "
             "2>/dev/null >>%s",
             certificate, certificate);
    if (system(command) != 0) {
        die("openssl req");
    }
    struct server server = start_server("close");
    size_t length = read_hello(hello, sizeof(hello));
    close_many(half_handshakes(&server, 20, hello, length), 20);
    double before = resident_kib(&server);
    struct client *clients = half_handshakes(&server, HALVES, hello, length);
    struct client *last = half_handshakes(&server, 1, hello, length);
    claim(resident_kib(&server) > 3 * before, "2,000 half TLS handshakes take memory",
          resident_kib(&server) / before * 100, "% of before");
    close_many(clients, HALVES);
    double end = now() + 10, after;
    while ((after = resident_kib(&server)) > before * 1.2 && now() < end) {
        usleep(100000);
    }
    claim(after <= before * 1.2, "ten seconds after it is back within 20 %",
          after / before * 100, "% of before");
    close_many(last, 1);
    int errors = stop_server(&server);
    claim(errors == 0, "nothing is logged as an error", errors, "errors");
    unlink(certificate);
}

/* Connects clients one after the other, has each sent what would be kept for it, and
 * leaves. */
static void depart(const struct server *server, int count) {
    static const char call[] = "{\"jsonrpc\":\"2.0\",\"method\":\"fill\"}";
    for (int i = 0; i < count; i++) {
        struct client client;
        connect_client(&client, server, i);
        if (write(client.fd, call, sizeof(call)) != sizeof(call)) {
            die("write");
        }
        static char bytes[64 * 1024];
        for (int messages = 0; messages < FILLS + 1;) { /* and a greeting */
            ssize_t length = recv(client.fd, bytes, sizeof(bytes), 0);
            if (length <= 0) {
                die("recv");
            }
            for (ssize_t at = 0; at < length; at++) {
                messages += bytes[at] == '\0';
            }
        }
        close(client.fd);
    }
}

static void departed(void) {
    struct server server = start_serving("close", "sessions", "65536");
    depart(&server, 200); /* so that its code is loaded and compiled */
    sleep(RESUME_SECONDS + 5);
    double before = resident_kib(&server);
    depart(&server, DEPARTED);
    double most = resident_kib(&server);
    claim(most - before <= 192 * 1024,
          "what 2,000 clients left, who may come back, has a bound",
          (most - before) / 1024, "MiB");
    double end = now() + RESUME_SECONDS + 10;
    double after;
    while ((after = resident_kib(&server)) > before * 1.2 && now() < end) {
        usleep(100000);
    }
    claim(after <= before * 1.2,
          "ten seconds after the last could, memory is back within 20 %",
          after / before * 100, "% of before");
}

/* Messages of 'a' in compressed frames, as many as 63,000 bytes hold. */
static size_t pack_frames(char *frames, size_t message) {
    static char text[1 << 20], packed[1 << 16];
    memset(text, 'a', message);
    z_stream stream = {.next_in = (Bytef *)text,
                       .avail_in = (uInt)message,
                       .next_out = (Bytef *)packed,
                       .avail_out = sizeof(packed)};
    if (deflateInit2(&stream, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK ||
        deflate(&stream, Z_SYNC_FLUSH) != Z_OK) {
        die("deflate");
    }
    size_t size = sizeof(packed) - stream.avail_out - 4; /* the tail isn't sent */
    deflateEnd(&stream);
    unsigned char head[8] = {0xc1, (unsigned char)(0x80 | (size > 125 ? 126 : size)),
                             (unsigned char)(size >> 8), (unsigned char)size};
    size_t head_size = size > 125 ? 4 : 2;
    size_t total = 0;
    while (total + head_size + 4 + size <= 63000) {
        memcpy(frames + total, head, head_size);
        memset(frames + total + head_size, 0, 4); /* the mask */
        memcpy(frames + total + head_size + 4, packed, size);
        total += head_size + 4 + size;
    }
    return total;
}

static void upgrade(int fd) {
    static const char request[] = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                                  "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                                  "Sec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                                  "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    char answer[1024];
    if (write(fd, request, sizeof(request) - 1) != sizeof(request) - 1 ||
        read(fd, answer, sizeof(answer)) < 12 || memcmp(answer + 9, "101", 3) != 0) {
        die("a WebSocket");
    }
}

/* Sends from all clients as fast as they take it, and reads what is answered. */
static void send_packed(const struct server *server, size_t message, double seconds) {
    enum { ATTACKERS = 20 };
    static char frames[64 * 1024], answers[64 * 1024];
    struct client *clients = connect_many(server, ATTACKERS);
    size_t length = pack_frames(frames, message);
    size_t sent[ATTACKERS] = {0};
    struct pollfd polls[ATTACKERS];
    for (int i = 0; i < ATTACKERS; i++) {
        upgrade(clients[i].fd);
        polls[i] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN | POLLOUT};
    }
    for (double end = now() + seconds; now() < end;) {
        poll(polls, ATTACKERS, 10);
        for (int i = 0; i < ATTACKERS; i++) {
            ssize_t part = send(polls[i].fd, frames + sent[i], length - sent[i],
                                MSG_DONTWAIT | MSG_NOSIGNAL);
            sent[i] = part > 0 ? (sent[i] + (size_t)part) % length : sent[i];
            if (recv(polls[i].fd, answers, sizeof(answers), MSG_DONTWAIT) == 0) {
                _exit(1);
            }
        }
    }
    _exit(0);
}

/* The time until a message has come back, in ms. */
static double echo_ms(int fd) {
    char answer[8];
    double begin = now();
    if (write(fd, "hello", 6) != 6 || recv(fd, answer, 6, MSG_WAITALL) != 6) {
        die("an echo");
    }
    return (now() - begin) * 1000;
}

/* Twenty clients send 63 KB of messages at a time that each become `message` bytes. */
static void inflaters(size_t message) {
    struct server server = start_serving("close", "self", "1048576");
    struct client honest;
    connect_client(&honest, &server, 0);
    double most_ms = 0, most_kib = 0;
    echo_ms(honest.fd);
    pid_t attack = fork();
    if (attack == 0) {
        send_packed(&server, message, 5);
    }
    int status = -1;
    while (waitpid(attack, &status, WNOHANG) == 0) {
        double ms = echo_ms(honest.fd), kib = resident_kib(&server);
        most_ms = ms > most_ms ? ms : most_ms;
        most_kib = kib > most_kib ? kib : most_kib;
        usleep(2000);
    }
    printf("       20 clients, 63 KB of messages of %zu bytes, deflated\n", message);
    claim(status == 0, "nobody of those who send is closed", status, "status");
    claim(most_ms < 50, "an honest echo takes less than 50 ms", most_ms, "ms");
    claim(most_kib < 64 * 1024, "memory stays below 64 MiB", most_kib / 1024, "MiB");
    close(honest.fd);
    int errors = stop_server(&server);
    claim(errors == 0, "nothing is logged as an error", errors, "errors");
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: soak SYNC_LUA SERVER_LUA\n");
        return 2;
    }
    program = argv[1];
    script = argv[2];
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    crowd();
    never_reads("close");
    never_reads("drop");
    long_names();
    killed();
    ended();
    handshakes();
    departed();
    inflaters(65000);
    inflaters(1 << 20);
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0;
}
