/* user.c: one user: connects, shakes hands, sends, and takes what comes.
 *
 * Without {id} a message that comes answers the oldest that waits. With it, one answers
 * the message whose id it contains, and others are let pass: so a broadcast server is
 * measured by what a user's own message took. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include "ramp.h"

enum {
    ID = 15, /* digits: a number that JSON and a double hold */
    KEEP_MOST = 64 * 1024,
    UNSENT_MOST = 4 * 1024 * 1024,
    READ_SIZE = 256 * 1024
};

struct handshake {
    char key[WS_KEY_SIZE];
    size_t length;
    char answer[WS_ANSWER_MOST];
};

/* The message */

static char *body;   /* with digits for the ids */
static char *framed; /* what leaves: head, body, tail */
static size_t body_length, head_length, framed_length;
static size_t *ids; /* where they are in the body */
static size_t id_count;
static uint64_t mask_state;
static int epoll_of_all;

static uint32_t new_mask(void) {
    mask_state ^= mask_state >> 12;
    mask_state ^= mask_state << 25;
    mask_state ^= mask_state >> 27;
    return (uint32_t)(mask_state * 0x2545F4914F6CDD1DULL >> 32);
}

static void *need(void *memory) {
    if (!memory) {
        refuse("not enough memory");
    }
    return memory;
}

static void make_body(void) {
    const char *text = asked.message;
    size_t length = text ? strlen(text) : asked.size;
    body = need(malloc(length * ID + 1)); /* each {id} is 4 bytes, and becomes ID */
    ids = need(calloc(length / 4 + 1, sizeof(*ids)));
    for (size_t i = 0; i < length; i++) {
        if (text && strncmp(text + i, "{id}", 4) == 0) {
            ids[id_count++] = body_length;
            memset(body + body_length, '0', ID);
            body_length += ID;
            i += 3;
        } else {
            body[body_length++] = text ? text[i] : (char)('a' + new_mask() % 26);
        }
    }
}

void user_prepare(void) {
    if (getrandom(&mask_state, sizeof(mask_state), 0) != sizeof(mask_state)) {
        refuse("no random bytes: %s", strerror(errno));
    }
    mask_state |= 1;
    make_body();
    if (asked.framing == LINE && memchr(body, '\n', body_length)) {
        refuse("a message of the framing line can't have a line feed in it");
    }
    if (asked.framing == LENGTH16 && body_length > UINT16_MAX) {
        refuse("the framing length16 takes at most %d bytes", UINT16_MAX);
    }
    if (body_length == 0 && asked.framing == RAW) {
        refuse("without framing a message can't be empty");
    }
    framed = need(malloc(body_length + WS_HEAD_MOST + 1));
    if (asked.framing == LENGTH16 || asked.framing == LENGTH32) {
        head_length = asked.framing == LENGTH16 ? 2 : 4;
        for (size_t i = 0; i < head_length; i++) {
            framed[i] = (char)(body_length >> (8 * (head_length - 1 - i)));
        }
    }
    framed_length = head_length + body_length;
    if (asked.framing == NUL || asked.framing == LINE) {
        framed[framed_length++] = asked.framing == LINE ? '\n' : '\0';
    }
}

unsigned user_ring(void) {
    return (unsigned)(asked.rate * asked.timeout) + 2;
}

static void write_id(char *to, const struct user *user, uint32_t number) {
    char digits[ID + 1];
    snprintf(digits, sizeof(digits), "1%07u%07u", (unsigned)user->index % 10000000,
             number % 10000000);
    memcpy(to, digits, ID);
}

/* Leaving */

static void leave(struct user *user, const char *why) {
    char text[200];
    snprintf(text, sizeof(text), "%s", why); /* it may point into the user */
    if (user->fd >= 0) {
        close(user->fd);
    }
    user->fd = -1;
    user->ready = false;
    free(user->unsent);
    free(user->kept);
    free(user->handshake);
    free(user->reader);
    free(user->waiting);
    user->unsent = user->kept = NULL;
    user->handshake = NULL;
    user->reader = NULL;
    user->waiting = NULL;
    user->count = 0;
    run_failed(text);
}

static void leave_with(struct user *user, const char *what, int error) {
    char text[200];
    snprintf(text, sizeof(text), "%s: %s", what, strerror(error));
    leave(user, text);
}

/* Sending */

static void watch(const struct user *user, bool write) {
    struct epoll_event event = {.events = EPOLLIN | (write ? EPOLLOUT : 0),
                                .data.ptr = (void *)(uintptr_t)user};
    epoll_ctl(epoll_of_all, EPOLL_CTL_MOD, user->fd, &event);
}

static void keep_unsent(struct user *user, const char *bytes, size_t length) {
    if (user->unsent_length + length > UNSENT_MOST) {
        leave(user, "the server does not read what is sent");
        return;
    }
    user->unsent = need(realloc(user->unsent, user->unsent_length + length));
    memcpy(user->unsent + user->unsent_length, bytes, length);
    user->unsent_length += length;
    watch(user, true);
}

static void send_bytes(struct user *user, const char *bytes, size_t length) {
    ssize_t sent = 0;
    if (user->unsent_length == 0) {
        sent = send(user->fd, bytes, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) {
            leave_with(user, "write", errno);
            return;
        }
        sent = sent < 0 ? 0 : sent;
    }
    if ((size_t)sent < length) {
        keep_unsent(user, bytes + sent, length - (size_t)sent);
    }
}

static void send_unsent(struct user *user) {
    ssize_t sent = send(user->fd, user->unsent, user->unsent_length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        leave_with(user, "write", errno);
        return;
    }
    if (sent > 0) {
        user->unsent_length -= (size_t)sent;
        memmove(user->unsent, user->unsent + sent, user->unsent_length);
    }
    if (user->unsent_length == 0) {
        watch(user, false);
    }
}

static void send_frame(struct user *user, unsigned opcode, const char *payload,
                       size_t length) {
    static char *frame;
    static size_t room;
    if (length + WS_HEAD_MOST > room) {
        room = length + WS_HEAD_MOST;
        frame = need(realloc(frame, room));
    }
    uint32_t mask = new_mask();
    size_t head = ws_head(frame, opcode, length, mask);
    ws_mask(frame + head, payload, length, mask);
    send_bytes(user, frame, head + length);
}

void user_send(struct user *user, int64_t due, int64_t now) {
    user_expire(user, now);
    if (user->count == user_ring()) {
        return; /* can't be: what would not fit has waited too long */
    }
    uint32_t number = user->sent++;
    user->waiting[(user->first + user->count++) % user_ring()] =
        (struct waiting){due, number};
    for (size_t i = 0; i < id_count; i++) {
        write_id(body + ids[i], user, number);
    }
    if (target.websocket) {
        send_frame(user, asked.framing == BINARY ? WS_BINARY : WS_TEXT, body,
                   body_length);
        return;
    }
    memcpy(framed + head_length, body, body_length);
    send_bytes(user, framed, framed_length);
}

void user_expire(struct user *user, int64_t now) {
    char why[80];
    while (user->count > 0 &&
           now - user->waiting[user->first].due > (int64_t)(asked.timeout * 1e9)) {
        user->first = (user->first + 1) % user_ring();
        user->count--;
        snprintf(why, sizeof(why), "a message had no answer within %g s", asked.timeout);
        run_failed(why);
    }
}

/* Receiving */

static void answer(struct user *user, unsigned place) {
    unsigned ring = user_ring();
    run_answered(user->waiting[(user->first + place) % ring].due);
    for (unsigned i = place; i > 0; i--) {
        user->waiting[(user->first + i) % ring] =
            user->waiting[(user->first + i - 1) % ring];
    }
    user->first = (user->first + 1) % ring;
    user->count--;
}

/* Bytes of a message, kept when an id is looked for in it. */
static void keep(struct user *user, const char *bytes, size_t length) {
    size_t room = KEEP_MOST - user->kept_length;
    if (id_count == 0 || room == 0) {
        return;
    }
    length = length < room ? length : room;
    if (length > 0) {
        user->kept = need(realloc(user->kept, user->kept_length + length));
        memcpy(user->kept + user->kept_length, bytes, length);
        user->kept_length += length;
    }
}

static void message_ends(struct user *user) {
    if (id_count == 0 && user->count > 0) {
        answer(user, 0);
    }
    for (unsigned i = 0; id_count > 0 && i < user->count;) {
        char id[ID];
        write_id(id, user, user->waiting[(user->first + i) % user_ring()].number);
        if (user->kept && memmem(user->kept, user->kept_length, id, ID)) {
            answer(user, i);
        } else {
            i++;
        }
    }
    /* Without framing an id may be cut in two by a read. */
    size_t rest = asked.framing == RAW && user->kept_length >= ID ? ID - 1 : 0;
    if (asked.framing == RAW && user->kept_length < ID) {
        return;
    }
    if (rest > 0) {
        memmove(user->kept, user->kept + user->kept_length - rest, rest);
    } else {
        free(user->kept);
        user->kept = NULL;
    }
    user->kept_length = rest;
}

static void take_ended(struct user *user, const char *bytes, size_t length, char end) {
    while (length > 0) {
        const char *found = memchr(bytes, end, length);
        size_t part = found ? (size_t)(found - bytes) : length;
        keep(user, bytes, part);
        if (!found) {
            return;
        }
        message_ends(user);
        bytes += part + 1;
        length -= part + 1;
    }
}

static void take_prefixed(struct user *user, const char *bytes, size_t length) {
    uint8_t wide = asked.framing == LENGTH16 ? 2 : 4;
    while (length > 0) {
        if (user->head_count < wide) {
            user->head[user->head_count++] = (uint8_t)*bytes++;
            length--;
            if (user->head_count < wide) {
                continue;
            }
            user->left = 0;
            for (int i = 0; i < wide; i++) {
                user->left = user->left << 8 | user->head[i];
            }
        }
        size_t part = user->left < length ? user->left : length;
        keep(user, bytes, part);
        bytes += part;
        length -= part;
        user->left -= part;
        if (user->left == 0) {
            user->head_count = 0;
            message_ends(user);
        }
    }
}

static void close_came(struct user *user, const struct ws_piece *close) {
    char text[200];
    unsigned code = close->length < 2 ? 1005
                                      : (unsigned)(unsigned char)close->bytes[0] << 8 |
                                            (unsigned char)close->bytes[1];
    snprintf(text, sizeof(text), "the server closed a connection with code %u%s%.*s",
             code, close->length > 2 ? ": " : "",
             close->length > 2 ? (int)close->length - 2 : 0, close->bytes + 2);
    leave(user, text);
}

static void take_frames(struct user *user, const char *bytes, size_t length) {
    while (length > 0 && user->fd >= 0) {
        struct ws_piece piece;
        const char *why;
        long taken = ws_read(user->reader, bytes, length, &piece, &why);
        if (taken < 0) {
            leave(user, why);
            return;
        }
        bytes += taken;
        length -= (size_t)taken;
        switch (piece.kind) {
        case WS_TEXT:
        case WS_BINARY:
            keep(user, piece.bytes, piece.length);
            if (piece.ends) {
                message_ends(user);
            }
            break;
        case WS_PING: send_frame(user, WS_PONG, piece.bytes, piece.length); break;
        case WS_CLOSE: close_came(user, &piece); break;
        default: break;
        }
    }
}

static void take(struct user *user, const char *bytes, size_t length) {
    switch (asked.framing) {
    case RAW:
        keep(user, bytes, length);
        message_ends(user);
        break;
    case NUL: take_ended(user, bytes, length, '\0'); break;
    case LINE: take_ended(user, bytes, length, '\n'); break;
    case LENGTH16:
    case LENGTH32: take_prefixed(user, bytes, length); break;
    default: take_frames(user, bytes, length);
    }
}

/* Connecting */

void user_open(struct user *user, int index, int epoll_fd) {
    *user = (struct user){.fd = -1, .index = index, .begun = ramp_now()};
    epoll_of_all = epoll_fd;
    user->waiting = need(calloc(user_ring(), sizeof(*user->waiting)));
    user->fd = socket(target.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (user->fd < 0) {
        leave_with(user, "this machine opens no more sockets", errno);
        return;
    }
    int error = target_bind(user->fd, index);
    if (error) {
        leave_with(user, "this machine gives no source address", error);
        return;
    }
    int on = 1;
    setsockopt(user->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(user->fd, (struct sockaddr *)&target.address, target.address_size) < 0 &&
        errno != EINPROGRESS) {
        leave_with(user,
                   errno == EADDRNOTAVAIL ? "this machine has no more local ports"
                                          : "connect",
                   errno);
        return;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = user};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, user->fd, &event) < 0) {
        leave_with(user, "epoll", errno);
    }
}

static void ready(struct user *user) {
    user->ready = true;
    run_ready();
}

static void shake_hands(struct user *user) {
    uint8_t random[WS_KEY_BYTES];
    char request[4096];
    user->handshake = need(calloc(1, sizeof(*user->handshake)));
    user->reader = need(calloc(1, sizeof(*user->reader)));
    if (getrandom(random, sizeof(random), 0) != sizeof(random)) {
        refuse("no random bytes: %s", strerror(errno));
    }
    ws_key(user->handshake->key, random);
    size_t length = ws_request(request, sizeof(request), target.host, target.path,
                               user->handshake->key);
    if (length == 0) {
        refuse("the path is too long");
    }
    send_bytes(user, request, length);
}

static void connected(struct user *user) {
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(user->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        leave_with(user, "connect", error);
        return;
    }
    user->connected = true;
    watch(user, false);
    if (target.websocket) {
        shake_hands(user);
    } else {
        ready(user);
    }
}

static void hands_shaken(struct user *user, const char *bytes, size_t length) {
    struct handshake *hand = user->handshake;
    char why[160];
    char text[200];
    size_t room = sizeof(hand->answer) - hand->length;
    size_t taken = length < room ? length : room;
    memcpy(hand->answer + hand->length, bytes, taken);
    hand->length += taken;
    long head = ws_answer(hand->answer, hand->length, hand->key, why, sizeof(why));
    if (head < 0) {
        snprintf(text, sizeof(text), "the answer to a handshake is wrong: %s", why);
        leave(user, text);
    }
    if (head <= 0) {
        return;
    }
    size_t used = (size_t)head - (hand->length - taken); /* of `bytes` */
    free(hand);
    user->handshake = NULL;
    ready(user);
    take(user, bytes + used, length - used);
}

void user_event(struct user *user, uint32_t events) {
    static char bytes[READ_SIZE];
    if (user->fd >= 0 && !user->connected) {
        connected(user);
        return;
    }
    if (user->fd >= 0 && events & EPOLLOUT && user->unsent_length > 0) {
        send_unsent(user);
    }
    if (user->fd < 0 || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
        return;
    }
    ssize_t count = recv(user->fd, bytes, sizeof(bytes), 0);
    if (count == 0) {
        leave(user, "the server closed a connection");
    } else if (count < 0 && errno != EAGAIN) {
        leave_with(user, "read", errno);
    } else if (count > 0 && user->handshake) {
        hands_shaken(user, bytes, (size_t)count);
    } else if (count > 0) {
        take(user, bytes, (size_t)count);
    }
}
