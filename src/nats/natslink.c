/* natslink.c: see natslink.h.
 *
 * A link has one thread, which polls three things: the program's socket, NATS' socket
 * (libnats lets a loop of ours do its reads and writes, so that what the program sends in
 * one go leaves in one go), and a wake-up. libnats' delivery thread, one for all links so
 * that messages keep their order, only puts frames into `filling`. It never waits, so the
 * bound of all that waits for a slow program is most_waiting. */
#include "natslink.h"

#include <errno.h>
#include <nats/nats.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    FRAME_HEAD = 9,               /* length, type, number */
    FRAME_MOST = 4 * 1024 * 1024, /* no command is longer */
    READ_AT_ONCE = 64 * 1024,
    UNSENT_MOST = 1024 * 1024,        /* then commands wait in the program's socket */
    SUBSCRIPTIONS_MOST = 1024 * 1024, /* their numbers are below */
    LAST_FLUSH = 1000,                /* milliseconds for what is unsent at the end */
};

struct buffer {
    char *bytes;
    size_t used, capacity;
};

struct link {
    /* Of the link's own thread. */
    int fd;                 /* our end of the program's socket */
    struct buffer commands; /* received, not yet done */
    struct buffer leaving;  /* frames on their way */
    size_t left;            /* bytes of it that have gone */
    natsConnection *connection;
    natsSubscription *answers;
    natsSubscription **subscriptions; /* by number */
    uint32_t subscription_count;
    char inbox[64]; /* an answer's subject is this and a request's number */
    pthread_t thread;
    bool shut; /* the last frame has gone */

    /* Of all threads. */
    pthread_mutex_t mutex;
    struct buffer filling; /* frames that will leave next */
    uint32_t lost;         /* messages dropped and not told yet */
    bool ended;            /* the connection is no more: nothing follows */
    atomic_int references; /* the thread, the connection, each subscription */
    atomic_int socket;     /* NATS', or -1 */
    atomic_bool wants_read, wants_write;
    atomic_bool slow; /* libnats has dropped messages: its counts must be asked for */
    int wake;         /* an eventfd */

    struct natslink_options options;
    struct link *next; /* of the connected ones */
};

/* Links whose program may still have something to say. The process waits for them when it
 * exits: what was published last would otherwise often be lost. */
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t left;
    struct link *first;
} connected = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL};

/* What the messages of one subscription come with. */
struct topic {
    struct link *link;
    int64_t dropped; /* by libnats, as far as they are counted */
};

/* Frames */

static void put32(char *at, uint32_t value) {
    for (int i = 0; i < 4; i++) {
        at[i] = (char)(value >> (24 - 8 * i));
    }
}

static uint32_t get32(const char *at) {
    const unsigned char *bytes = (const unsigned char *)at;
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
           bytes[3];
}

/* Makes room for so many bytes more. */
static bool buffer_reserve(struct buffer *buffer, size_t more) {
    size_t wanted = buffer->used + more;
    if (wanted <= buffer->capacity) {
        return true;
    }
    size_t capacity = buffer->capacity ? buffer->capacity : READ_AT_ONCE;
    while (capacity < wanted) {
        capacity *= 2;
    }
    char *bytes = realloc(buffer->bytes, capacity);
    if (!bytes) {
        return false;
    }
    buffer->bytes = bytes;
    buffer->capacity = capacity;
    return true;
}

/* Empties a buffer; what a burst needed is given back. */
static void buffer_clear(struct buffer *buffer) {
    buffer->used = 0;
    if (buffer->capacity > UNSENT_MOST) {
        free(buffer->bytes);
        *buffer = (struct buffer){0};
    }
}

static void buffer_put(struct buffer *buffer, const void *bytes, size_t length) {
    if (length > 0) {
        memcpy(buffer->bytes + buffer->used, bytes, length);
        buffer->used += length;
    }
}

static void link_wake(struct link *link) {
    uint64_t one = 1;
    ssize_t written = write(link->wake, &one, sizeof(one));
    (void)written; /* it only fails when it is awake already */
}

/* Puts a frame of a text and of bytes among those that leave next. */
static void link_tell(struct link *link, char type, uint32_t number, const char *text,
                      size_t text_length, const void *bytes, size_t length) {
    size_t size = FRAME_HEAD + text_length + length;
    pthread_mutex_lock(&link->mutex);
    struct buffer *filling = &link->filling;
    bool first = filling->used == 0;
    bool may_drop = type == 'M' || type == 'E';
    if ((may_drop && filling->used + size > link->options.most_waiting) ||
        !buffer_reserve(filling, size)) {
        link->lost += type == 'M';
    } else {
        char head[FRAME_HEAD];
        put32(head, (uint32_t)(size - 4));
        head[4] = type;
        put32(head + 5, number);
        buffer_put(filling, head, sizeof(head));
        buffer_put(filling, text, text_length);
        buffer_put(filling, bytes, length);
    }
    pthread_mutex_unlock(&link->mutex);
    if (first) {
        link_wake(link);
    }
}

static void link_tell_text(struct link *link, char type, const char *text) {
    link_tell(link, type, 0, text, strlen(text), NULL, 0);
}

static void link_count_lost(struct link *link, uint32_t count) {
    pthread_mutex_lock(&link->mutex);
    link->lost += count;
    pthread_mutex_unlock(&link->mutex);
}

/* No frame follows those that were told. */
static void link_end(struct link *link) {
    pthread_mutex_lock(&link->mutex);
    link->ended = true;
    pthread_mutex_unlock(&link->mutex);
    link_wake(link);
}

static void link_release(struct link *link) {
    if (atomic_fetch_sub(&link->references, 1) > 1) {
        return;
    }
    free((char *)link->options.servers);
    free((char *)link->options.user);
    free((char *)link->options.password);
    free((char *)link->options.token);
    free((char *)link->options.authority);
    free(link->commands.bytes);
    free(link->leaving.bytes);
    free(link->filling.bytes);
    free(link->subscriptions);
    if (link->wake >= 0) {
        close(link->wake);
    }
    pthread_mutex_destroy(&link->mutex);
    free(link);
}

/* What libnats calls, from threads of its own */

static natsStatus on_attach(void **user, void *loop, natsConnection *connection,
                            natsSock socket) {
    (void)connection;
    struct link *link = loop;
    *user = link;
    atomic_store(&link->wants_read, true);
    atomic_store(&link->socket, socket);
    return NATS_OK;
}

static void want(struct link *link, atomic_bool *what, bool add) {
    if (atomic_exchange(what, add) != add &&
        !pthread_equal(pthread_self(), link->thread)) {
        link_wake(link);
    }
}

static natsStatus on_read_wanted(void *user, bool add) {
    struct link *link = user;
    want(link, &link->wants_read, add);
    return NATS_OK;
}

static natsStatus on_write_wanted(void *user, bool add) {
    struct link *link = user;
    want(link, &link->wants_write, add);
    return NATS_OK;
}

static natsStatus on_detach(void *user) {
    struct link *link = user;
    atomic_store(&link->socket, -1);
    link_wake(link);
    return NATS_OK;
}

static void on_closed(natsConnection *connection, void *closure) {
    struct link *link = closure;
    const char *why = NULL;
    natsStatus status = natsConnection_GetLastError(connection, &why);
    if (!why || !*why) {
        why = status == NATS_OK ? "the server has closed it" : natsStatus_GetText(status);
    }
    link_tell_text(link, 'D', why);
    link_end(link);
    link_release(link);
}

static void on_error(natsConnection *connection, natsSubscription *subscription,
                     natsStatus status, void *closure) {
    (void)subscription;
    struct link *link = closure;
    if (status == NATS_SLOW_CONSUMER) {
        atomic_store(&link->slow, true);
        return;
    }
    const char *why = NULL;
    natsConnection_GetLastError(connection, &why);
    link_tell_text(link, 'E', why && *why ? why : natsStatus_GetText(status));
}

static void count_dropped(struct topic *topic, natsSubscription *subscription) {
    int64_t dropped = 0;
    if (natsSubscription_GetDropped(subscription, &dropped) == NATS_OK &&
        dropped > topic->dropped) {
        link_count_lost(topic->link, (uint32_t)(dropped - topic->dropped));
        topic->dropped = dropped;
    }
}

static void on_message(natsConnection *connection, natsSubscription *subscription,
                       natsMsg *message, void *closure) {
    (void)connection;
    struct topic *topic = closure;
    const char *subject = natsMsg_GetSubject(message);
    size_t length = strlen(subject);
    link_tell(topic->link, 'M', (uint32_t)length, subject, length,
              natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message));
    if (atomic_load_explicit(&topic->link->slow, memory_order_relaxed)) {
        count_dropped(topic, subscription);
    }
    natsMsg_Destroy(message);
}

/* No message of a subscription will follow. */
static void on_complete(void *closure) {
    struct topic *topic = closure;
    link_release(topic->link);
    free(topic);
}

static void on_answer(natsConnection *connection, natsSubscription *subscription,
                      natsMsg *message, void *closure) {
    (void)connection;
    (void)subscription;
    struct topic *topic = closure;
    const char *number = strrchr(natsMsg_GetSubject(message), '.') + 1;
    const char *status = NULL;
    if (natsMsgHeader_Get(message, "Status", &status) != NATS_OK || strlen(status) < 3) {
        status = "000";
    }
    link_tell(topic->link, 'R', (uint32_t)strtoul(number, NULL, 10), status, 3,
              natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message));
    natsMsg_Destroy(message);
}

/* Commands */

/* Subscribes. Returns NULL when there is no connection any more, or no memory. */
static natsSubscription *subscribe(struct link *link, const char *subject,
                                   natsMsgHandler handler) {
    struct topic *topic = calloc(1, sizeof(*topic));
    if (!topic) {
        return NULL;
    }
    topic->link = link;
    natsSubscription *subscription = NULL;
    if (natsConnection_Subscribe(&subscription, link->connection, subject, handler,
                                 topic) != NATS_OK) {
        free(topic);
        return NULL;
    }
    atomic_fetch_add(&link->references, 1);
    natsSubscription_SetPendingLimits(subscription, (int)link->options.pending_limit,
                                      (int)link->options.most_waiting);
    /* This fails when the connection was lost since the lines above. Messages may be on
     * their way then, and nobody tells when the last has come: the topic stays. */
    natsSubscription_SetOnCompleteCB(subscription, on_complete, topic);
    return subscription;
}

static void do_subscribe(struct link *link, uint32_t number, const char *subject) {
    if (number >= SUBSCRIPTIONS_MOST) {
        return;
    }
    if (number >= link->subscription_count) {
        uint32_t count = link->subscription_count ? link->subscription_count : 64;
        while (count <= number) {
            count *= 2;
        }
        natsSubscription **grown =
            realloc(link->subscriptions, count * sizeof(natsSubscription *));
        if (!grown) {
            link_tell_text(link, 'E', "no memory for a subscription");
            return;
        }
        memset(grown + link->subscription_count, 0,
               (count - link->subscription_count) * sizeof(natsSubscription *));
        link->subscriptions = grown;
        link->subscription_count = count;
    }
    if (!link->subscriptions[number]) {
        link->subscriptions[number] = subscribe(link, subject, on_message);
    }
}

static void do_unsubscribe(struct link *link, uint32_t number) {
    if (number < link->subscription_count) {
        natsSubscription_Destroy(link->subscriptions[number]);
        link->subscriptions[number] = NULL;
    }
}

/* Takes a text that ends in NUL off the bytes, or returns NULL. */
static const char *take_text(const char **bytes, size_t *length) {
    const char *text = *bytes;
    const char *end = memchr(text, 0, *length);
    if (!end) {
        return NULL;
    }
    *length -= (size_t)(end + 1 - text);
    *bytes = end + 1;
    return text;
}

static natsStatus add_headers(natsMsg *message, const char **bytes, size_t *length) {
    while (true) {
        const char *name = take_text(bytes, length);
        if (!name) {
            return NATS_INVALID_ARG;
        }
        if (!*name) {
            return NATS_OK;
        }
        const char *value = take_text(bytes, length);
        natsStatus status =
            value ? natsMsgHeader_Set(message, name, value) : NATS_INVALID_ARG;
        if (status != NATS_OK) {
            return status;
        }
    }
}

static natsStatus request(struct link *link, uint32_t number, const char *subject,
                          const char *bytes, size_t length) {
    char reply[sizeof(link->inbox) + 16];
    snprintf(reply, sizeof(reply), "%s%u", link->inbox, (unsigned)number);
    /* A message copies what it's made of; the headers stand before its bytes. */
    const char *body = bytes;
    size_t body_length = length;
    for (const char *name; (name = take_text(&body, &body_length)) && *name;) {
        take_text(&body, &body_length);
    }
    natsMsg *message = NULL;
    natsStatus status = natsMsg_Create(&message, subject, reply, body, (int)body_length);
    if (status == NATS_OK) {
        status = add_headers(message, &bytes, &length);
    }
    if (status == NATS_OK) {
        status = natsConnection_PublishMsg(link->connection, message);
    }
    natsMsg_Destroy(message);
    return status;
}

static void do_request(struct link *link, uint32_t number, const char *subject,
                       const char *bytes, size_t length) {
    natsStatus status = request(link, number, subject, bytes, length);
    if (status != NATS_OK && status != NATS_CONNECTION_CLOSED) {
        const char *why = natsStatus_GetText(status);
        link_tell(link, 'R', number, "400", 3, why, strlen(why));
    }
}

static void do_publish(struct link *link, const char *subject, const char *bytes,
                       size_t length) {
    if (natsConnection_Publish(link->connection, subject, bytes, (int)length) !=
        NATS_OK) {
        link_count_lost(link, 1);
    }
}

/* Does one command; the bytes are those behind its number. */
static void do_command(struct link *link, char type, uint32_t number, const char *bytes,
                       size_t length) {
    if (type == 'U') {
        do_unsubscribe(link, number);
        return;
    }
    const char *subject = take_text(&bytes, &length);
    if (!subject || !link->connection) {
        return;
    }
    if (type == 'P') {
        do_publish(link, subject, bytes, length);
    } else if (type == 'R') {
        do_request(link, number, subject, bytes, length);
    } else if (type == 'S') {
        do_subscribe(link, number, subject);
    }
}

/* Does the commands that are complete. Returns false when what came is none. */
static bool do_commands(struct link *link) {
    struct buffer *commands = &link->commands;
    size_t done = 0;
    while (commands->used - done >= FRAME_HEAD) {
        const char *frame = commands->bytes + done;
        size_t size = get32(frame);
        if (size < FRAME_HEAD - 4 || size > FRAME_MOST) {
            return false;
        }
        if (commands->used - done - 4 < size) {
            break;
        }
        do_command(link, frame[4], get32(frame + 5), frame + FRAME_HEAD,
                   size + 4 - FRAME_HEAD);
        done += size + 4;
    }
    commands->used -= done;
    memmove(commands->bytes, commands->bytes + done, commands->used);
    if (commands->used == 0) {
        buffer_clear(commands);
    }
    return true;
}

/* The loop */

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
    return count > 0 && do_commands(link);
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

static int unsent(struct link *link) {
    return link->connection ? natsConnection_Buffered(link->connection) : 0;
}

static struct pollfd watch_nats(struct link *link) {
    short events = (short)((atomic_load(&link->wants_read) ? POLLIN : 0) |
                           (atomic_load(&link->wants_write) ? POLLOUT : 0));
    return (struct pollfd){atomic_load(&link->socket), events, 0};
}

/* Writes first, for what makes it broken is read. */
static void handle_nats(struct link *link, short events) {
    if (events & POLLOUT) {
        natsConnection_ProcessWriteEvent(link->connection);
    }
    if (events & (POLLIN | POLLHUP | POLLERR)) {
        natsConnection_ProcessReadEvent(link->connection);
    }
}

/* Runs until the program has closed its end. */
static void serve(struct link *link) {
    while (transmit(link)) {
        bool full = link->leaving.used > 0;
        short events =
            (short)((unsent(link) < UNSENT_MOST ? POLLIN : 0) | (full ? POLLOUT : 0));
        struct pollfd polls[] = {
            {link->fd, events, 0}, {link->wake, POLLIN, 0}, watch_nats(link)};
        if (poll(polls, 3, -1) < 0) {
            continue;
        }
        if (polls[1].revents) {
            uint64_t count;
            ssize_t taken = read(link->wake, &count, sizeof(count));
            (void)taken;
        }
        if (polls[2].revents) {
            handle_nats(link, polls[2].revents);
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
    double deadline = natslink_time() + LAST_FLUSH;
    while (unsent(link) > 0 && natslink_time() < deadline) {
        struct pollfd nats = watch_nats(link);
        nats.events |= POLLOUT;
        if (nats.fd < 0 || poll(&nats, 1, 100) < 0) {
            return;
        }
        if (nats.revents) {
            handle_nats(link, nats.revents);
        }
    }
}

/* Splits a list at its commas, in place. Returns how many there are, at most `most`. */
static int split(char *list, const char **parts, int most) {
    int count = 0;
    char *rest = NULL;
    for (char *part = strtok_r(list, ",", &rest); part && count < most;
         part = strtok_r(NULL, ",", &rest)) {
        parts[count++] = part;
    }
    return count;
}

static natsStatus authenticate(struct link *link, natsOptions *options) {
    const struct natslink_options *given = &link->options;
    natsStatus s = NATS_OK;
    if (given->user) {
        s = natsOptions_SetUserInfo(options, given->user,
                                    given->password ? given->password : "");
    }
    if (s == NATS_OK && given->token) {
        s = natsOptions_SetToken(options, given->token);
    }
    if (s == NATS_OK && given->secure) {
        s = natsOptions_SetSecure(options, true);
    }
    if (s == NATS_OK && given->authority) {
        s = natsOptions_LoadCATrustedCertificates(options, given->authority);
    }
    return s;
}

/* The first failure is kept: NATS_OK is 0. */
static natsStatus configure(struct link *link, natsOptions *options) {
    const char *servers[64];
    const struct natslink_options *given = &link->options;
    int count = split((char *)given->servers, servers, 64);
    natsStatus s = natsOptions_SetServers(options, servers, count);
    s = s ? s : authenticate(link, options);
    s = s ? s : natsOptions_SetName(options, "sync");
    s = s ? s : natsOptions_SetTimeout(options, given->timeout);
    s = s ? s : natsOptions_SetPingInterval(options, given->ping_interval);
    s = s ? s : natsOptions_SetMaxPingsOut(options, 1);
    s = s ? s : natsOptions_SetAllowReconnect(options, false);
    s = s ? s : natsOptions_SetNoEcho(options, true);
    s = s ? s : natsOptions_SetIOBufSize(options, READ_AT_ONCE);
    s = s ? s : natsOptions_UseGlobalMessageDelivery(options, true);
    s = s ? s : natsOptions_SetErrorHandler(options, on_error, link);
    s = s ? s : natsOptions_SetClosedCB(options, on_closed, link);
    if (s == NATS_OK) {
        s = natsOptions_SetEventLoop(options, link, on_attach, on_read_wanted,
                                     on_write_wanted, on_detach);
    }
    return s;
}

/* The subject of answers: nobody else can guess it. */
static bool listen_for_answers(struct link *link) {
    natsInbox *inbox = NULL;
    if (natsInbox_Create(&inbox) != NATS_OK) {
        return false;
    }
    char subject[sizeof(link->inbox) + 1];
    snprintf(link->inbox, sizeof(link->inbox), "%s.", inbox);
    snprintf(subject, sizeof(subject), "%s*", link->inbox);
    natsInbox_Destroy(inbox);
    link->answers = subscribe(link, subject, on_answer);
    return link->answers != NULL;
}

/* Connects, and tells. A failure is told as the end of a connection is. */
static void start(struct link *link) {
    natsOptions *options = NULL;
    natsStatus status = natsOptions_Create(&options);
    status = status ? status : configure(link, options);
    if (status == NATS_OK) {
        atomic_fetch_add(&link->references, 1); /* on_closed gives it back */
        status = natsConnection_Connect(&link->connection, options);
        if (status != NATS_OK) {
            atomic_fetch_sub(&link->references, 1);
        }
    }
    natsOptions_Destroy(options);
    if (status != NATS_OK) {
        const char *why = nats_GetLastError(NULL);
        link_tell_text(link, 'D', why && *why ? why : natsStatus_GetText(status));
        link_end(link);
        return;
    }
    char url[512] = "";
    natsConnection_GetConnectedUrl(link->connection, url, sizeof(url));
    if (listen_for_answers(link)) {
        link_tell_text(link, 'U', url);
    } else {
        natsConnection_Close(link->connection);
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
    double end = natslink_time() + LAST_FLUSH;
    struct timespec deadline = {(time_t)(end / 1000), 0};
    deadline.tv_nsec = (long)(end - (double)deadline.tv_sec * 1000) * 1000000;
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
    start(link);
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

/* Opening */

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

/* Small things */

static int sextet(char letter) {
    if (letter >= 'A' && letter <= 'Z') {
        return letter - 'A';
    }
    if (letter >= 'a' && letter <= 'z') {
        return letter - 'a' + 26;
    }
    if (letter >= '0' && letter <= '9') {
        return letter - '0' + 52;
    }
    return letter == '+' ? 62 : letter == '/' ? 63 : -1;
}

int32_t natslink_decode(const char *text, size_t length, char *bytes) {
    if (length % 4 != 0) {
        return -1;
    }
    size_t padding = 0;
    while (padding < 2 && padding < length && text[length - 1 - padding] == '=') {
        padding++;
    }
    char *at = bytes;
    uint32_t group = 0;
    for (size_t i = 0; i < length; i++) {
        int value = i < length - padding ? sextet(text[i]) : 0;
        if (value < 0) {
            return -1;
        }
        group = group << 6 | (uint32_t)value;
        if (i % 4 == 3) {
            *at++ = (char)(group >> 16);
            *at++ = (char)(group >> 8);
            *at++ = (char)group;
        }
    }
    return (int32_t)(at - bytes) - (int32_t)padding;
}

double natslink_time(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t milliseconds = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    return (double)milliseconds;
}
