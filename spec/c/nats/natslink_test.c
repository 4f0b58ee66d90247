/* natslink_test.c: a link alone, with a nats-server of its own. `make check-nats` runs it
 * under sanitizers and valgrind, which see whether all is freed. */
#include "nats/natslink.h"

#include <arpa/inet.h>
#include <nats/nats.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(what)                                                                      \
    do {                                                                                 \
        if (!(what)) {                                                                   \
            fprintf(stderr, "FAILED: %s:%d: %s\n", __FILE__, __LINE__, #what);           \
            kill(server, SIGKILL);                                                       \
            exit(1);                                                                     \
        }                                                                                \
    } while (0)

enum { PATIENCE = 30 }; /* seconds until something that doesn't come is missing */

static pid_t server;
static int port;

struct frame {
    char type;
    uint32_t number, length;
    char *bytes; /* until the next one is read */
};

static int dial(void) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int code = connect(fd, (struct sockaddr *)&address, sizeof(address));
    close(fd);
    return code;
}

static void find_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(fd, (struct sockaddr *)&address, size) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    port = ntohs(address.sin_port);
    close(fd);
}

static void start_server(void) {
    char text[16];
    snprintf(text, sizeof(text), "%d", port);
    server = fork();
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("nats-server", "nats-server", "-a", "127.0.0.1", "-p", text, "-l",
               "/dev/null", (char *)NULL);
        _exit(127);
    }
    for (int i = 0; dial() < 0; i++) {
        CHECK(i < PATIENCE * 100);
        usleep(10000);
    }
}

static void kill_server(void) {
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
}

static int open_link(uint32_t most_waiting, uint32_t pending_limit) {
    char url[64], message[256];
    snprintf(url, sizeof(url), "nats://127.0.0.1:%d", port);
    struct natslink_options options = {.servers = url,
                                       .timeout = 5000,
                                       .ping_interval = 5000,
                                       .most_waiting = most_waiting,
                                       .pending_limit = pending_limit};
    int fd = natslink_open(&options, message, sizeof(message));
    CHECK(fd >= 0);
    struct timeval patience = {PATIENCE, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

static void write_all(int fd, const void *bytes, size_t length) {
    CHECK(send(fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length);
}

static void tell(int fd, char type, uint32_t number, const char *bytes, uint32_t length) {
    uint32_t size = htonl(length + 5), big = htonl(number);
    char head[9];
    memcpy(head, &size, 4);
    head[4] = type;
    memcpy(head + 5, &big, 4);
    write_all(fd, head, sizeof(head));
    write_all(fd, bytes, length);
}

/* Reads a frame. Returns false at the end. */
static bool hear(int fd, struct frame *frame) {
    static char bytes[2 * 1024 * 1024];
    char head[9];
    ssize_t count = recv(fd, head, sizeof(head), MSG_WAITALL);
    if (count == 0) {
        return false;
    }
    CHECK(count == sizeof(head));
    uint32_t size, number;
    memcpy(&size, head, 4);
    memcpy(&number, head + 5, 4);
    *frame = (struct frame){head[4], ntohl(number), ntohl(size) - 5, bytes};
    CHECK(frame->length < sizeof(bytes));
    CHECK(frame->length == 0 ||
          recv(fd, bytes, frame->length, MSG_WAITALL) == (ssize_t)frame->length);
    bytes[frame->length] = 0;
    return true;
}

static struct frame expect(int fd, char type) {
    struct frame frame;
    CHECK(hear(fd, &frame));
    CHECK(frame.type == type);
    return frame;
}

static int open_connected(uint32_t most_waiting, uint32_t pending_limit) {
    int fd = open_link(most_waiting, pending_limit);
    CHECK(strncmp(expect(fd, 'U').bytes, "nats://", 7) == 0);
    return fd;
}

/* Waits until the server has done what it was told before. */
static void settle(int fd) {
    tell(fd, 'R', 4000000000u, "nobody\0\0", 8);
    struct frame frame = expect(fd, 'R');
    CHECK(frame.number == 4000000000u && strcmp(frame.bytes, "503") == 0);
}

static void test_decode(void) {
    char bytes[64];
    CHECK(natslink_decode("", 0, bytes) == 0);
    CHECK(natslink_decode("TWFu", 4, bytes) == 3 && memcmp(bytes, "Man", 3) == 0);
    CHECK(natslink_decode("TWE=", 4, bytes) == 2 && memcmp(bytes, "Ma", 2) == 0);
    CHECK(natslink_decode("TQ==", 4, bytes) == 1 && bytes[0] == 'M');
    CHECK(natslink_decode("AP+/", 4, bytes) == 3 && memcmp(bytes, "\0\xff\xbf", 3) == 0);
    CHECK(natslink_decode("TWF", 3, bytes) == -1);
    CHECK(natslink_decode("TW-u", 4, bytes) == -1);
    CHECK(natslink_decode("T===", 4, bytes) == -1);
    CHECK(natslink_decode("TQ==TQ==", 8, bytes) == -1);
}

static void test_order(void) {
    int a = open_connected(1 << 24, 65536), b = open_connected(1 << 24, 65536);
    tell(b, 'S', 7, "one.*", 6);
    tell(b, 'S', 70000, "two", 4);
    settle(b);
    for (int i = 0; i < 5000; i++) {
        char text[32];
        int length = snprintf(text, sizeof(text), i % 2 ? "two" : "one.%d", i) + 1;
        memcpy(text + length, &i, sizeof(i));
        tell(a, 'P', 0, text, (uint32_t)length + sizeof(i));
    }
    for (int i = 0; i < 5000; i++) {
        struct frame frame = expect(b, 'M');
        CHECK(frame.number == frame.length - sizeof(i));
        CHECK(memcmp(frame.bytes + frame.number, &i, sizeof(i)) == 0);
        CHECK(strncmp(frame.bytes, i % 2 ? "two" : "one.", i % 2 ? 3 : 4) == 0);
    }
    tell(b, 'U', 7, "", 0);
    tell(b, 'U', 7, "", 0);
    tell(b, 'U', 9, "", 0);
    tell(b, 'U', 4294967295u, "", 0);
    tell(b, 'S', 4294967295u, "three", 6);
    settle(b);
    tell(a, 'P', 0, "one.1", 6);
    tell(a, 'P', 0, "two", 4);
    CHECK(expect(b, 'M').number == 3);
    close(a);
    close(b);
}

/* What a link is asked is seen by who answers, with headers. */
static void test_requests(void) {
    int a = open_connected(1 << 24, 65536);
    tell(a, 'R', 5, "nobody\0Some\0thing\0Other\0\0\0body", 30);
    struct frame frame = expect(a, 'R');
    CHECK(frame.number == 5 && memcmp(frame.bytes, "503", 3) == 0);
    tell(a, 'R', 6, "\0\0", 2); /* no subject */
    frame = expect(a, 'R');
    CHECK(frame.number == 6 && memcmp(frame.bytes, "400", 3) == 0);
    tell(a, 'R', 8, "nobody\0Some\0", 12); /* headers without an end */
    frame = expect(a, 'R');
    CHECK(frame.number == 8 && memcmp(frame.bytes, "400", 3) == 0);
    tell(a, 'R', 9, "nobody", 6); /* no NUL: not even a command */
    tell(a, '?', 9, "nobody", 7);
    tell(a, 'P', 0, "", 0);
    settle(a);
    close(a);
}

/* What its program does not read is dropped beyond a bound, and counted exactly. */
static void test_slow(void) {
    int a = open_connected(1 << 24, 65536);
    int b = open_connected(64 * 1024, 65536);
    static char message[1024 + 5] = "slow";
    tell(b, 'S', 1, "slow", 5);
    settle(b);
    for (int i = 0; i < 4000; i++) {
        tell(a, 'P', 0, message, sizeof(message));
    }
    settle(a);
    uint32_t messages = 0, lost = 0;
    while (messages + lost < 4000) {
        struct frame frame;
        CHECK(hear(b, &frame));
        CHECK(frame.type == 'M' || frame.type == 'L');
        messages += frame.type == 'M';
        lost += frame.type == 'L' ? frame.number : 0;
    }
    CHECK(messages + lost == 4000 && lost > 0);
    close(a);
    close(b);
}

/* What libnats drops is counted, too: with a message that follows, for it doesn't say
 * when. */
static void test_pending(void) {
    int a = open_connected(1 << 24, 65536), b = open_connected(1 << 24, 1);
    tell(b, 'S', 1, "slow", 5);
    settle(b);
    uint32_t sent = 0, messages = 0, lost = 0;
    for (; sent < 20000; sent++) {
        tell(a, 'P', 0, "slow", 5);
    }
    while (messages + lost < sent) {
        struct frame frame;
        struct timeval soon = {0, 100000};
        fd_set set;
        FD_ZERO(&set);
        FD_SET(b, &set);
        if (select(b + 1, &set, NULL, NULL, &soon) == 0) {
            CHECK(sent++ < 20000 + PATIENCE * 10);
            tell(a, 'P', 0, "slow", 5);
            continue;
        }
        CHECK(hear(b, &frame));
        CHECK(frame.type == 'M' || frame.type == 'L');
        messages += frame.type == 'M';
        lost += frame.type == 'L' ? frame.number : 0;
    }
    CHECK(messages + lost == sent && lost > 0);
    close(a);
    close(b);
}

static void test_no_server(void) {
    int was = port;
    find_port();
    int fd = open_link(1 << 20, 1000);
    CHECK(expect(fd, 'D').length > 0);
    struct frame frame;
    CHECK(!hear(fd, &frame));
    tell(fd, 'S', 1, "late", 5); /* harmless */
    close(fd);
    port = was;
}

static void test_loss(void) {
    int fd = open_connected(1 << 24, 65536);
    tell(fd, 'S', 1, "x", 2);
    settle(fd);
    kill_server();
    CHECK(expect(fd, 'D').length > 0);
    struct frame frame;
    CHECK(!hear(fd, &frame));
    tell(fd, 'S', 2, "y", 2);
    tell(fd, 'U', 1, "", 0);
    tell(fd, 'P', 0, "y\0z", 3);
    close(fd);
    start_server();
}

/* Bytes that are no frames end a link. */
static void test_nonsense(void) {
    static const char *nonsense[] = {"\0\0\0\4P\0\0\0\0", "\xff\xff\xff\xffP\0\0\0\0"};
    for (int i = 0; i < 2; i++) {
        int fd = open_connected(1 << 20, 1000);
        write_all(fd, nonsense[i], 9);
        struct frame frame;
        CHECK(!hear(fd, &frame));
        close(fd);
    }
}

/* Programs leave at any time; what they have published before still goes. */
static void test_leaving(void) {
    int b = open_connected(1 << 24, 65536);
    tell(b, 'S', 1, "bye", 4);
    settle(b);
    for (int i = 0; i < 20; i++) {
        int fd = i % 2 ? open_connected(1 << 20, 1000) : open_link(1 << 20, 1000);
        tell(fd, 'S', 1, "bye", 4);
        if (i % 2) {
            tell(fd, 'P', 0, "bye", 4);
        }
        close(fd);
    }
    for (int i = 0; i < 10; i++) {
        expect(b, 'M');
    }
    close(b);
}

int main(void) {
    static void (*const tests[])(void) = {test_decode, test_order,    test_requests,
                                          test_slow,   test_pending,  test_no_server,
                                          test_loss,   test_nonsense, test_leaving};
    int count = (int)(sizeof(tests) / sizeof(tests[0]));
    find_port();
    start_server();
    for (int i = 0; i < count; i++) {
        tests[i]();
    }
    usleep(300000); /* links end in threads of their own */
    nats_CloseAndWait(10000);
    kill_server();
    printf("%d passed, 0 failed\n", count); /* the first failure ends it */
    return 0;
}
