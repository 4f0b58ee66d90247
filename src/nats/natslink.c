/* natslink.c: a link's life: its thread's loop, how it is opened, and what happens at the
 * process' end. See natslink.h. */
#include "natslink.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"
#include "connection.h"

enum {
    READ_AT_ONCE = 64 * 1024,
    UNSENT_MOST = 1024 * 1024, /* then commands wait in the program's socket */
    LAST_FLUSH = 1000,         /* milliseconds for what is unsent at the end */
};

/* Links whose program may still have something to say. The process waits for them when it
 * exits: what was published last would otherwise often be lost. */
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t left;
    struct link *first;
} connected = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* Milliseconds of a clock that only goes on, whatever time it is said to be. */
static int64_t milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Reads commands. Returns false when the program has closed its end. */
static bool receive(struct link *link) {
    struct buffer *commands = &link->commands;
    if (!buffer_reserve(commands, READ_AT_ONCE)) {
        return false;
    }
    ssize_t count = recv(link->fd, commands->bytes + commands->used,
                         commands->capacity - commands->used, MSG_DONTWAIT);
    if (count < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    commands->used += (size_t)count;
    return count > 0 && commands_do(link);
}

/* Takes the frames that were told since the last ones have left. Returns whether none
 * will follow them. */
static bool collect(struct link *link) {
    pthread_mutex_lock(&link->mutex);
    if (link->leaving.used == 0) {
        struct buffer empty = link->leaving;
        link->leaving = link->filling;
        link->filling = empty;
        if (link->lost > 0 && buffer_reserve(&link->leaving, FRAME_HEAD)) {
            char head[FRAME_HEAD] = {0, 0, 0, FRAME_HEAD - 4, 'L'};
            put32(head + 5, link->lost);
            buffer_put(&link->leaving, head, sizeof(head));
            link->lost = 0;
        }
    }
    bool last = link->ended && link->filling.used == 0;
    pthread_mutex_unlock(&link->mutex);
    return last;
}

/* Writes frames as far as the program takes them. Returns false when it has gone. */
static bool transmit(struct link *link) {
    while (!link->shut) {
        bool last = collect(link);
        if (link->leaving.used == 0) {
            if (last) {
                shutdown(link->fd, SHUT_WR);
                link->shut = true;
            }
            return true;
        }
        ssize_t count =
            send(link->fd, link->leaving.bytes + link->left,
                 link->leaving.used - link->left, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count < 0) {
            return errno == EAGAIN || errno == EINTR;
        }
        link->left += (size_t)count;
        if (link->left == link->leaving.used) {
            link->left = 0;
            buffer_clear(&link->leaving);
        }
    }
    return true;
}

/* Runs until the program has closed its end. */
static void serve(struct link *link) {
    while (transmit(link)) {
        bool full = link->leaving.used > 0;
        short events = (short)((connection_unsent(link) < UNSENT_MOST ? POLLIN : 0) |
                               (full ? POLLOUT : 0));
        struct pollfd polls[] = {
            {link->fd, events, 0}, {link->wake, POLLIN, 0}, connection_watch(link)};
        if (poll(polls, 3, -1) < 0) {
            continue;
        }
        if (polls[1].revents) {
            uint64_t count;
            ssize_t taken = read(link->wake, &count, sizeof(count));
            (void)taken;
        }
        if (polls[2].revents) {
            connection_ready(link, polls[2].revents);
        }
        if (polls[0].revents & (POLLIN | POLLHUP | POLLERR) && !receive(link)) {
            return;
        }
    }
}

/* Does what the program has said before it closed its end: that may show first when it is
 * told something. */
static void finish_commands(struct link *link) {
    struct pollfd program = {link->fd, POLLIN, 0};
    while (poll(&program, 1, 0) > 0 && program.revents & POLLIN && receive(link)) {
    }
}

/* Gives what was published last a moment to leave. */
static void flush(struct link *link) {
    int64_t deadline = milliseconds() + LAST_FLUSH;
    while (connection_unsent(link) > 0 && milliseconds() < deadline) {
        struct pollfd nats = connection_watch(link);
        nats.events |= POLLOUT;
        if (nats.fd < 0 || poll(&nats, 1, 100) < 0) {
            return;
        }
        if (nats.revents) {
            connection_ready(link, nats.revents);
        }
    }
}

static void leave_connected(struct link *link) {
    pthread_mutex_lock(&connected.mutex);
    struct link **place = &connected.first;
    while (*place != link) {
        place = &(*place)->next;
    }
    *place = link->next;
    pthread_cond_signal(&connected.left);
    pthread_mutex_unlock(&connected.mutex);
}

/* At exit: ends all links, as if the program had closed them, and waits for what they
 * have to do yet. */
static void finish_all(void) {
    int64_t end = milliseconds() + LAST_FLUSH;
    struct timespec deadline = {end / 1000, end % 1000 * 1000000};
    pthread_mutex_lock(&connected.mutex);
    for (struct link *link = connected.first; link; link = link->next) {
        shutdown(link->fd, SHUT_RD);
    }
    int code = 0;
    while (connected.first && code == 0) {
        code = pthread_cond_timedwait(&connected.left, &connected.mutex, &deadline);
    }
    pthread_mutex_unlock(&connected.mutex);
}

/* Called when libnats has begun, so that its own end comes after. */
static void finish_all_at_exit(void) {
    pthread_condattr_t by;
    pthread_condattr_init(&by);
    pthread_condattr_setclock(&by, CLOCK_MONOTONIC);
    pthread_cond_init(&connected.left, &by);
    pthread_condattr_destroy(&by);
    atexit(finish_all);
}

static void enter_connected(struct link *link) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, finish_all_at_exit);
    pthread_mutex_lock(&connected.mutex);
    link->next = connected.first;
    connected.first = link;
    pthread_mutex_unlock(&connected.mutex);
}

static void *link_main(void *data) {
    struct link *link = data;
    link->thread = pthread_self();
    connection_start(link);
    if (link->connection) {
        enter_connected(link);
        serve(link);
        finish_commands(link);
        flush(link);
        leave_connected(link);
    } else {
        serve(link);
    }
    close(link->fd);
    /* First, for otherwise it waits for an answer to what the subscriptions' ends send;
     * and natsConnection_Destroy alone doesn't call on_closed. */
    natsConnection_Close(link->connection);
    for (uint32_t i = 0; i < link->subscription_count; i++) {
        natsSubscription_Destroy(link->subscriptions[i]);
    }
    natsSubscription_Destroy(link->answers);
    natsConnection_Destroy(link->connection);
    nats_ReleaseThreadMemory();
    link_release(link);
    return NULL;
}

static bool copy_text(const char **text) {
    if (*text) {
        *text = strdup(*text);
        return *text != NULL;
    }
    return true;
}

static bool copy_options(struct natslink_options *options) {
    /* All are copied before one can fail: what stays would be freed. */
    bool copied = copy_text(&options->servers);
    copied = copy_text(&options->user) && copied;
    copied = copy_text(&options->password) && copied;
    copied = copy_text(&options->token) && copied;
    return copy_text(&options->authority) && copied;
}

/* Threads take over which signals are blocked from who starts them: the program's
 * handlers must run in none of ours or of libnats'. */
static int start_thread(struct link *link) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    int code = pthread_create(&thread, NULL, link_main, link);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code == 0) {
        pthread_detach(thread);
    }
    return code;
}

int32_t natslink_open(const struct natslink_options *options, char *message,
                      size_t size) {
    int fds[2];
    /* A link may be at work while the process exits: OpenSSL must not tidy up below it.
     */
    OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
    struct link *link = calloc(1, sizeof(*link));
    if (!link) {
        snprintf(message, size, "not enough memory");
        return -1;
    }
    link->options = *options;
    pthread_mutex_init(&link->mutex, NULL);
    atomic_init(&link->references, 1);
    atomic_init(&link->socket, -1);
    link->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int code = 0;
    if (!copy_options(&link->options)) {
        code = ENOMEM;
    } else if (link->wake < 0 ||
               socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        code = errno;
    } else {
        link->fd = fds[0];
        code = start_thread(link);
        if (code == 0) {
            return fds[1];
        }
        close(fds[0]);
        close(fds[1]);
    }
    snprintf(message, size, "%s", strerror(code));
    link_release(link);
    return -1;
}

int32_t natslink_decode(const char *text, size_t length, char *bytes) {
    size_t padding = 0;
    while (padding < 2 && padding < length && text[length - 1 - padding] == '=') {
        padding++;
    }
    if (length % 4 != 0 || length > INT32_MAX || memchr(text, '=', length - padding)) {
        return -1;
    }
    int count =
        EVP_DecodeBlock((unsigned char *)bytes, (const unsigned char *)text, (int)length);
    return count < 0 ? -1 : count - (int32_t)padding;
}
