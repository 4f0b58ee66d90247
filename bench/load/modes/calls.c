/* load.c: a closed loop of calls, JSON-RPC 2.0, whose every answer is checked.
 *
 *     remoting ws|tcp PORT PID CONNECTIONS DEPTH WARM_UP SECONDS
 *
 * One thread, one epoll. Each connection keeps DEPTH calls of add(a, b) under way; over
 * ws a call is a text frame, over tcp a line. Answers may come in any order, with their
 * members in any order. Prints one JSON object: calls a second, the CPU that the server
 * PID took for one, and how busy server and load were. Ends with 1 at the first answer
 * that is wrong, missing for SILENCE_MS, or not asked for. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "../load.h"
#include "../ws.h"

enum {
    CONNECTIONS_MOST = 1024,
    DEPTH_MOST = 64,
    ANSWER_MOST = 512,
    CALL_MOST = 160, /* bytes of a call, its frame included */
    READ_MOST = 64 * 1024,
    SILENCE_MS = 10000
};

/* A call under way. Its id is DEPTH × its turn + its place, so that the id says where it
 * stands, and an answer that comes twice or late has an id that is not expected. */
struct call {
    int64_t id;
    int32_t a, b;
    bool waits;
};

struct caller {
    int fd;
    int index;
    struct ws_reader reader;
    char answer[ANSWER_MOST]; /* one that has come in part */
    size_t length;
    char out[DEPTH_MOST * CALL_MOST];
    size_t out_start, out_length;
    bool watches_room;
    struct call calls[DEPTH_MOST];
    uint64_t done; /* of its calls, in the measured time */
};

static struct caller callers[CONNECTIONS_MOST];
static bool websocket;
static int depth;
static int epoll_of_all;

static _Noreturn void end(const struct caller *caller, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("remoting: ", stderr);
    if (caller) {
        fprintf(stderr, "connection %d: ", caller->index);
    }
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static double clock_read(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* xorshift: operands that no one can foresee cost nearly nothing. */
static uint32_t random_bits(void) {
    static uint32_t state = 2463534242;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

/* Calls */

/* printf would be a quarter of the load's time. */
static char *write_number(char *to, int64_t number) {
    char digits[20];
    int count = 0;
    if (number < 0) {
        *to++ = '-';
        number = -number;
    }
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    while (count > 0) {
        *to++ = digits[--count];
    }
    return to;
}

static char *write_text(char *to, const char *text, size_t length) {
    memcpy(to, text, length);
    return to + length;
}
#define WRITE(to, literal) write_text(to, literal, sizeof(literal) - 1)

static size_t write_call(char *text, const struct call *call) {
    char *to = WRITE(text, "{\"jsonrpc\":\"2.0\",\"id\":");
    to = write_number(to, call->id);
    to = WRITE(to, ",\"method\":\"add\",\"params\":[");
    to = write_number(to, call->a);
    *to++ = ',';
    to = write_number(to, call->b);
    to = WRITE(to, "]}");
    return (size_t)(to - text);
}

/* Queues the next call at this place. */
static void call_next(struct caller *caller, int place) {
    struct call *call = &caller->calls[place];
    call->id += depth;
    call->a = (int32_t)(random_bits() % 2000001) - 1000000;
    call->b = (int32_t)(random_bits() % 2000001) - 1000000;
    call->waits = true;
    char text[CALL_MOST];
    size_t length = write_call(text, call);
    char *to = caller->out + caller->out_length;
    if (websocket) {
        uint32_t mask = random_bits();
        size_t head = ws_head(to, WS_TEXT, length, mask);
        ws_mask(to + head, text, length, mask);
        caller->out_length += head + length;
    } else {
        memcpy(to, text, length);
        to[length] = '\n';
        caller->out_length += length + 1;
    }
}

static void watch(struct caller *caller, bool room, int operation) {
    struct epoll_event event = {.events = room ? EPOLLIN | EPOLLOUT : EPOLLIN,
                                .data.ptr = caller};
    caller->watches_room = room;
    if (epoll_ctl(epoll_of_all, operation, caller->fd, &event) != 0) {
        end(caller, "epoll_ctl: %s", strerror(errno));
    }
}

/* Sends what is queued; what the kernel has no room for waits for it. A place is used
 * again only when its answer came, so `out` holds at most DEPTH calls. */
static void caller_flush(struct caller *caller) {
    while (caller->out_start < caller->out_length) {
        ssize_t sent =
            send(caller->fd, caller->out + caller->out_start,
                 caller->out_length - caller->out_start, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN) {
            break;
        }
        if (sent < 0) {
            end(caller, "sending failed: %s", strerror(errno));
        }
        caller->out_start += (size_t)sent;
    }
    caller->out_length -= caller->out_start;
    memmove(caller->out, caller->out + caller->out_start, caller->out_length);
    caller->out_start = 0;
    if (caller->watches_room != (caller->out_length > 0)) {
        watch(caller, caller->out_length > 0, EPOLL_CTL_MOD);
    }
}

/* Answers */

static const char *skip_blanks(const char *at, const char *end_of_text) {
    while (at < end_of_text && (*at == ' ' || *at == '\t' || *at == '\r')) {
        at++;
    }
    return at;
}

static bool take(const char **at, const char *end_of_text, char wanted) {
    *at = skip_blanks(*at, end_of_text);
    if (*at == end_of_text || **at != wanted) {
        return false;
    }
    ++*at;
    return true;
}

/* A string without escapes: an answer of add needs none. */
static bool take_string(const char **at, const char *end_of_text, const char **text,
                        size_t *length) {
    if (!take(at, end_of_text, '"')) {
        return false;
    }
    const char *quote = memchr(*at, '"', (size_t)(end_of_text - *at));
    if (!quote) {
        return false;
    }
    *text = *at;
    *length = (size_t)(quote - *at);
    *at = quote + 1;
    return true;
}

static bool take_number(const char **at, const char *end_of_text, int64_t *number) {
    *at = skip_blanks(*at, end_of_text);
    const char *text = *at;
    bool negative = text < end_of_text && *text == '-';
    const char *digits = text += negative;
    *number = 0;
    while (text < end_of_text && *text >= '0' && *text <= '9' && text - digits < 18) {
        *number = *number * 10 + (*text++ - '0');
    }
    *number = negative ? -*number : *number;
    *at = text;
    return text > digits;
}

static bool is(const char *text, size_t length, const char *word) {
    return length == strlen(word) && memcmp(text, word, length) == 0;
}

/* Reads {"jsonrpc":"2.0","id":N,"result":N}, in any order, and nothing else. */
static bool read_answer(const char *text, size_t length, int64_t *id, int64_t *result) {
    const char *end_of_text = text + length, *name, *version;
    size_t name_length, version_length;
    unsigned seen = 0;
    if (!take(&text, end_of_text, '{')) {
        return false;
    }
    do {
        unsigned member = 0;
        if (!take_string(&text, end_of_text, &name, &name_length) ||
            !take(&text, end_of_text, ':')) {
            return false;
        }
        if (is(name, name_length, "jsonrpc")) {
            member = take_string(&text, end_of_text, &version, &version_length) &&
                             is(version, version_length, "2.0")
                         ? 1
                         : 0;
        } else if (is(name, name_length, "id")) {
            member = take_number(&text, end_of_text, id) ? 2 : 0;
        } else if (is(name, name_length, "result")) {
            member = take_number(&text, end_of_text, result) ? 4 : 0;
        }
        if (member == 0 || seen & member) {
            return false;
        }
        seen |= member;
    } while (take(&text, end_of_text, ','));
    return take(&text, end_of_text, '}') &&
           skip_blanks(text, end_of_text) == end_of_text && seen == 7;
}

static void answered(struct caller *caller, const char *text, size_t length) {
    int64_t id, result;
    if (!read_answer(text, length, &id, &result)) {
        end(caller, "this is no answer to add: %.*s", (int)length, text);
    }
    struct call *call = &caller->calls[(id % depth + depth) % depth];
    if (!call->waits || call->id != id) {
        end(caller, "an answer that was not asked for: %.*s", (int)length, text);
    }
    if (result != call->a + call->b) {
        end(caller, "%d + %d is not %lld", call->a, call->b, (long long)result);
    }
    call->waits = false;
    caller->done++;
    call_next(caller, (int)(id % depth));
}

/* Puts an answer together that comes in parts. */
static void take_part(struct caller *caller, const char *bytes, size_t length,
                      bool is_whole) {
    if (caller->length == 0 && is_whole) {
        answered(caller, bytes, length);
        return;
    }
    if (length > ANSWER_MOST - caller->length) {
        end(caller, "an answer is longer than %d bytes", ANSWER_MOST);
    }
    memcpy(caller->answer + caller->length, bytes, length);
    caller->length += length;
    if (is_whole) {
        answered(caller, caller->answer, caller->length);
        caller->length = 0;
    }
}

static void take_lines(struct caller *caller, const char *bytes, size_t length) {
    const char *stop;
    while ((stop = memchr(bytes, '\n', length))) {
        take_part(caller, bytes, (size_t)(stop - bytes), true);
        length -= (size_t)(stop + 1 - bytes);
        bytes = stop + 1;
    }
    take_part(caller, bytes, length, false);
}

static void take_frames(struct caller *caller, const char *bytes, size_t length) {
    while (length > 0) {
        struct ws_piece piece;
        const char *why;
        long taken = ws_read(&caller->reader, bytes, length, &piece, &why);
        if (taken < 0) {
            end(caller, "%s", why);
        }
        bytes += taken;
        length -= (size_t)taken;
        if (piece.kind == WS_TEXT) {
            take_part(caller, piece.bytes, piece.length, piece.ends);
        } else if (piece.kind != 0 && piece.kind != WS_PONG) {
            end(caller, "a frame came that is no text: opcode %d", piece.kind);
        }
    }
}

static void caller_read(struct caller *caller) {
    static char bytes[READ_MOST];
    ssize_t count = recv(caller->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN) {
        return;
    }
    if (count <= 0) {
        end(caller, "the server closed it");
    }
    (websocket ? take_frames : take_lines)(caller, bytes, (size_t)count);
}

/* Connecting, while nothing is measured: one after the other, and waiting. */

static void handshake(struct caller *caller) {
    uint8_t random[WS_KEY_BYTES];
    char key[WS_KEY_SIZE], request[512], answer[WS_ANSWER_MOST], why[200];
    if (getrandom(random, sizeof(random), 0) != sizeof(random)) {
        end(caller, "no random bytes for a key");
    }
    ws_key(key, random);
    size_t length = ws_request(request, sizeof(request), "localhost", "/", key);
    if (send(caller->fd, request, length, MSG_NOSIGNAL) != (ssize_t)length) {
        end(caller, "the handshake could not be sent");
    }
    size_t have = 0;
    long head = 0;
    while (head == 0) {
        ssize_t count = recv(caller->fd, answer + have, sizeof(answer) - have, 0);
        if (count <= 0) {
            end(caller, "the handshake was not answered");
        }
        have += (size_t)count;
        head = ws_answer(answer, have, key, why, sizeof(why));
    }
    if (head < 0) {
        end(caller, "the answer to the handshake is wrong: %s", why);
    }
    take_frames(caller, answer + head, have - (size_t)head);
}

static void caller_open(struct caller *caller, int index, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = SILENCE_MS / 1000};
    int yes = 1;
    caller->index = index;
    caller->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (caller->fd < 0 ||
        setsockopt(caller->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
        setsockopt(caller->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)) ||
        connect(caller->fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        end(caller, "connecting to port %d failed: %s", port, strerror(errno));
    }
    if (websocket) {
        handshake(caller);
    }
    watch(caller, false, EPOLL_CTL_ADD);
    for (int place = 0; place < depth; place++) {
        caller->calls[place].id = place;
    }
}

/* Calls until that time. */
static void run(double until) {
    struct epoll_event events[CONNECTIONS_MOST];
    while (clock_read(CLOCK_MONOTONIC) < until) {
        int ready = epoll_wait(epoll_of_all, events, CONNECTIONS_MOST, SILENCE_MS);
        if (ready <= 0) {
            end(NULL, "no answer for %d s", SILENCE_MS / 1000);
        }
        for (int i = 0; i < ready; i++) {
            struct caller *caller = events[i].data.ptr;
            if (events[i].events & ~(unsigned)EPOLLOUT) {
                caller_read(caller);
            }
            caller_flush(caller);
        }
    }
}

/* How many calls were answered. A server that forgets one connection over the others has
 * failed, too. */
static double count_done(int connections) {
    uint64_t done = 0;
    for (int i = 0; i < connections; i++) {
        if (callers[i].done == 0) {
            end(&callers[i], "nothing was answered in the measured time");
        }
        done += callers[i].done;
    }
    return (double)done;
}

static void measure(int connections, int pid, double seconds) {
    struct usage before = server_usage(pid);
    double start = clock_read(CLOCK_MONOTONIC);
    double own = clock_read(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < connections; i++) {
        callers[i].done = 0;
    }
    run(start + seconds);
    double took = clock_read(CLOCK_MONOTONIC) - start;
    own = clock_read(CLOCK_PROCESS_CPUTIME_ID) - own;
    struct usage after = server_usage(pid);
    double user = after.user_ns - before.user_ns;
    double system = after.system_ns - before.system_ns;
    double done = count_done(connections);
    printf("{\"rate\": %.1f, \"user_us\": %.3f, \"system_us\": %.3f, "
           "\"server_busy\": %.3f, \"load_busy\": %.3f}\n",
           done / took, user / done / 1e3, system / done / 1e3,
           (user + system) / took / 1e9, own / took);
}

int main(int count, char **arguments) {
    int connections = count == 8 ? atoi(arguments[4]) : 0;
    depth = count == 8 ? atoi(arguments[5]) : 0;
    websocket = count == 8 && strcmp(arguments[1], "ws") == 0;
    if (connections < 1 || connections > CONNECTIONS_MOST || depth < 1 ||
        depth > DEPTH_MOST || (!websocket && strcmp(arguments[1], "tcp") != 0)) {
        fprintf(stderr,
                "usage: remoting ws|tcp PORT PID CONNECTIONS (at most %d) DEPTH "
                "(at most %d) WARM_UP SECONDS\n",
                CONNECTIONS_MOST, DEPTH_MOST);
        return 2;
    }
    epoll_of_all = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < connections; i++) {
        caller_open(&callers[i], i, atoi(arguments[2]));
    }
    for (int i = 0; i < connections; i++) {
        for (int place = 0; place < depth; place++) {
            call_next(&callers[i], place);
        }
        caller_flush(&callers[i]);
    }
    run(clock_read(CLOCK_MONOTONIC) + atof(arguments[6]));
    measure(connections, atoi(arguments[3]), atof(arguments[7]));
    return 0;
}
