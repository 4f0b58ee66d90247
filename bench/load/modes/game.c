/* drive.c: puts the four handlers of bench/jit under load, and checks every answer.
 *
 *     drive WORK PORT PID WARM_UP SECONDS
 *
 * A closed loop on one epoll: a connection sends a request for each answer that came. The
 * game is computed here, too, so each answer is known. Prints one JSON object:
 * messages/s, the server's CPU per message in the measured time, and its memory at the
 * end of it. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    LINKS_MOST = 256,
    BUFFER = 64 * 1024,
    TEXT = 256,
    DEPTH_MOST = 64,
    SILENCE_MS = 10000 /* without an answer, until that is a failure */
};

struct link {
    int fd;
    int index;
    unsigned sent, received;
    size_t partial;
    char in[BUFFER];
};

struct work {
    const char *name;
    int connections, depth;
    /* Writes request number `number` of a connection, without its NUL. */
    void (*request)(char *text, int index, unsigned number);
    /* Whether this is the answer to it. */
    bool (*check)(const char *text, int index, unsigned number);
};

static struct link links[LINKS_MOST];
static uint64_t done; /* messages that were answered in full */

static _Noreturn void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("drive: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Echo: 63 bytes and a NUL, of which the middle and the end change from one to the next.
 */

static void echo_request(char *text, int index, unsigned number) {
    snprintf(text, TEXT, "player %05d walks to %05u, %05u at speed of 1.50 %010u", index,
             number * 7919 % 65536, number * 104729 % 65536, number);
}

static bool echo_check(const char *text, int index, unsigned number) {
    char expected[TEXT];
    echo_request(expected, index, number);
    return strcmp(text, expected) == 0;
}

/* Remoting: the order of the answer's keys is the server's. */

static void rpc_request(char *text, int index, unsigned number) {
    snprintf(text, TEXT,
             "{\"jsonrpc\":\"2.0\",\"method\":\"add\",\"params\":[%u,%d],\"id\":%u}",
             number % 1000, index, number);
}

static bool member_is(const char *text, const char *name, unsigned value) {
    const char *found = strstr(text, name);
    char *end;
    return found && strtoul(found + strlen(name), &end, 10) == value &&
           (*end == ',' || *end == '}');
}

static bool rpc_check(const char *text, int index, unsigned number) {
    return strstr(text, "\"jsonrpc\":\"2.0\"") && member_is(text, "\"id\":", number) &&
           member_is(text, "\"result\":", number % 1000 + (unsigned)index);
}

/* The game: every world is the same, so the answer to a step is computed once. */

enum { BODIES = 64, SIZE = 400, ANSWER = 48 };

struct body {
    double x, y, vx, vy;
    double near; /* sum of the numbers of those in its area of interest */
};

static struct body bodies[BODIES];
static char (*answers)[ANSWER];
static unsigned answer_count, answer_capacity;

static double game_random(double range) {
    static int64_t seed = 42;
    seed = seed * 16807 % 2147483647;
    return (double)seed / 2147483647 * range;
}

static void game_begin(void) {
    for (int i = 0; i < BODIES; i++) {
        bodies[i].x = game_random(SIZE);
        bodies[i].y = game_random(SIZE);
        bodies[i].vx = game_random(120) - 60;
        bodies[i].vy = game_random(120) - 60;
    }
}

static void bounce(double *x, double *v) {
    *x += *v * (1.0 / 60);
    if (*x < 0) {
        *x = -*x;
        *v = -*v;
    } else if (*x > SIZE) {
        *x = 2 * SIZE - *x;
        *v = -*v;
    }
}

static int collide(struct body *a, struct body *b, double dx, double dy, double square) {
    double approach = (b->vx - a->vx) * dx + (b->vy - a->vy) * dy;
    if (approach >= 0 || square == 0) {
        return 0;
    }
    double push = approach / square;
    a->vx = a->vx + push * dx;
    a->vy = a->vy + push * dy;
    b->vx = b->vx - push * dx;
    b->vy = b->vy - push * dy;
    return 1;
}

static void game_step(char *answer) {
    int hits = 0;
    double seen = 0, sum = 0;
    for (int i = 0; i < BODIES; i++) {
        bounce(&bodies[i].x, &bodies[i].vx);
        bounce(&bodies[i].y, &bodies[i].vy);
        bodies[i].near = 0;
    }
    for (int i = 0; i < BODIES - 1; i++) {
        for (int j = i + 1; j < BODIES; j++) {
            struct body *a = &bodies[i], *b = &bodies[j];
            double dx = b->x - a->x, dy = b->y - a->y, square = dx * dx + dy * dy;
            if (square < 100 * 100) {
                a->near += j + 1;
                b->near += i + 1;
                hits += square < 16 * 16 ? collide(a, b, dx, dy, square) : 0;
            }
        }
    }
    for (int i = 0; i < BODIES; i++) {
        sum = sum + bodies[i].x * (i + 1) + bodies[i].y;
        seen += bodies[i].near;
    }
    snprintf(answer, ANSWER, "%d %.0f %.9f", hits, seen, sum);
}

static void game_request(char *text, int index, unsigned number) {
    (void)index, (void)number;
    strcpy(text, "step");
}

static bool game_check(const char *text, int index, unsigned number) {
    (void)index;
    while (answer_count <= number) {
        if (answer_count == answer_capacity) {
            answer_capacity = answer_capacity ? answer_capacity * 2 : 4096;
            answers = realloc(answers, answer_capacity * sizeof(*answers));
            if (!answers) {
                fail("no memory");
            }
        }
        game_step(answers[answer_count++]);
    }
    return strcmp(text, answers[number]) == 0;
}

/* The chat: connection 0 says, those of its team and near its level hear. A member's
 * first message joins the room. */

enum { RANGE = 45, TEAMS = 5, LEVELS = 100 };

static unsigned hearers;
static unsigned unheard[DEPTH_MOST]; /* by number, of the messages in flight */
static unsigned sayings;             /* that all who should have heard */

static bool hears(int index) {
    int distance = index * 37 % LEVELS;
    return index % TEAMS == 0 && distance <= RANGE;
}

static void chat_request(char *text, int index, unsigned number) {
    if (number == 0) {
        snprintf(text, TEXT, "join %d %d", index % TEAMS, index * 37 % LEVELS);
    } else {
        snprintf(text, TEXT, "%010u attack from the left, I cover you from the hill",
                 number);
    }
}

static bool chat_check(const char *text, int index, unsigned number) {
    char expected[TEXT];
    if (number == 0) {
        return strcmp(text, "joined") == 0;
    }
    chat_request(expected, index, number);
    if (!hears(index) || strcmp(text, expected) != 0) {
        return false;
    }
    if (--unheard[number % DEPTH_MOST] == 0) {
        sayings++;
    }
    return true;
}

static const struct work works[] = {
    {"echo", 64, 16, echo_request, echo_check},
    {"chat", 200, 16, chat_request, chat_check},
    {"game", 8, 4, game_request, game_check},
    {"rpc", 64, 16, rpc_request, rpc_check},
};

static const struct work *work;

static void link_open(struct link *link, int index, int port, int epoll_fd) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int yes = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = link};
    link->index = index;
    link->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (link->fd < 0 ||
        connect(link->fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)) != 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, link->fd, &event) != 0) {
        fail("connection %d to port %d failed", index, port);
    }
}

/* Sends the next `count` requests in one write. */
static void link_send(struct link *link, unsigned count) {
    char out[DEPTH_MOST * TEXT];
    size_t length = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned number = link->sent++;
        work->request(out + length, link->index, number);
        length += strlen(out + length) + 1;
        if (work->check == chat_check) {
            unheard[number % DEPTH_MOST] = hearers;
        }
    }
    if (length > 0 && send(link->fd, out, length, MSG_NOSIGNAL) != (ssize_t)length) {
        fail("connection %d broke", link->index);
    }
}

/* Reads and checks what came; returns how many answers. */
static unsigned link_read(struct link *link) {
    ssize_t got =
        recv(link->fd, link->in + link->partial, BUFFER - link->partial, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) {
        return 0;
    }
    if (got <= 0) {
        fail("connection %d was closed by the server", link->index);
    }
    char *at = link->in, *end = link->in + link->partial + got, *nul;
    unsigned count = 0;
    while ((nul = memchr(at, 0, (size_t)(end - at)))) {
        if (!work->check(at, link->index, link->received)) {
            fail("connection %d, answer %u is wrong: %s", link->index, link->received,
                 at);
        }
        link->received++;
        count++;
        at = nul + 1;
    }
    link->partial = (size_t)(end - at);
    memmove(link->in, at, link->partial);
    return count;
}

/* Handles what came until `end`. */
static void run(int epoll_fd, double end) {
    struct epoll_event events[LINKS_MOST];
    while (now() < end) {
        int ready = epoll_wait(epoll_fd, events, LINKS_MOST, SILENCE_MS);
        if (ready <= 0) {
            fail("no answer for %d s", SILENCE_MS / 1000);
        }
        for (int i = 0; i < ready; i++) {
            struct link *link = events[i].data.ptr;
            unsigned count = link_read(link);
            if (work->check != chat_check) {
                link_send(link, count);
                done += count;
            }
        }
        if (work->check == chat_check) {
            link_send(&links[0], sayings);
            done += sayings;
            sayings = 0;
        }
    }
}

static void begin(int port, int epoll_fd) {
    for (int i = 0; i < work->connections; i++) {
        link_open(&links[i], i, port, epoll_fd);
    }
    if (work->check != chat_check) {
        for (int i = 0; i < work->connections; i++) {
            link_send(&links[i], (unsigned)work->depth);
        }
        return;
    }
    for (int i = 0; i < work->connections; i++) {
        hearers += hears(i);
        link_send(&links[i], 1);
        while (link_read(&links[i]) == 0) {
        }
        links[i].sent = links[i].received = 1;
    }
    link_send(&links[0], (unsigned)work->depth);
}

struct usage {
    double user, system; /* seconds */
};

static struct usage usage_of(int pid) {
    char path[64], text[1024] = {0};
    struct usage usage;
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    const char *rest =
        file && fgets(text, sizeof(text), file) ? strrchr(text, ')') : NULL;
    if (!rest || sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lf %lf",
                        &usage.user, &usage.system) != 2) {
        fail("process %d can't be read", pid);
    }
    fclose(file);
    usage.user /= (double)sysconf(_SC_CLK_TCK);
    usage.system /= (double)sysconf(_SC_CLK_TCK);
    return usage;
}

static double rss_kib(int pid) {
    char path[64], line[256];
    double kib = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof(line), file)) {
        sscanf(line, "VmRSS: %lf", &kib);
    }
    if (file) {
        fclose(file);
    }
    return kib;
}

int main(int count, char **arguments) {
    for (size_t i = 0; count == 6 && i < sizeof(works) / sizeof(*works); i++) {
        work = strcmp(works[i].name, arguments[1]) == 0 ? &works[i] : work;
    }
    if (!work) {
        fail("usage: drive echo|chat|game|rpc PORT PID WARM_UP SECONDS");
    }
    int pid = atoi(arguments[3]);
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    game_begin();
    begin(atoi(arguments[2]), epoll_fd);
    run(epoll_fd, now() + atof(arguments[4]));

    struct usage before = usage_of(pid);
    double start = now();
    done = 0;
    run(epoll_fd, start + atof(arguments[5]));
    double seconds = now() - start;
    struct usage after = usage_of(pid);
    if (done == 0) {
        fail("nothing was answered in %.1f s", seconds);
    }
    printf(
        "{\"rate\": %.1f, \"user_ns\": %.1f, \"system_ns\": %.1f, \"rss_kib\": %.0f}\n",
        (double)done / seconds, (after.user - before.user) * 1e9 / (double)done,
        (after.system - before.system) * 1e9 / (double)done, rss_kib(pid));
    return 0;
}
