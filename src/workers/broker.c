/* broker.c: listening sockets that a parent binds, and that all its workers have. */
#include "workers/broker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { HOST_SIZE = 256, MOST_OFFERS = 1024 };

struct port_request {
    char host[HOST_SIZE];
    uint32_t port;
    uint32_t keepalive;
    uint32_t turn; /* how many requests for any port of this host came before it */
    bool ends;     /* it gives the sockets back: there is no answer */
};

struct answer {
    int32_t error;
    uint32_t count;
    uint8_t transports[BIND_MOST];
};

/* That a worker has an offer's sockets. */
struct hold {
    struct hold *next;
    const struct asker *asker;
};

/* The sockets of one request, which others get, too. */
struct offer {
    struct offer *next;
    struct hold *holds;
    struct port_request key;
    struct answer answer;
    int fds[BIND_MOST];
};

/* A worker that asks. */
struct asker {
    uv_poll_t poll;
    struct core *core;
    struct asker *next;
    struct asker **link;
    int fd;
};

/* The parent's side. */

static int take_offer(void *context, int fd, int transport) {
    struct offer *offer = context;
    if (offer->answer.count == BIND_MOST) {
        close(fd);
        return UV_ENOBUFS;
    }
    offer->answer.transports[offer->answer.count] = (uint8_t)transport;
    offer->fds[offer->answer.count++] = fd;
    return 0;
}

static bool is_unix(const struct port_request *request) {
    return strncmp(request->host, "unix:", 5) == 0;
}

/* Lets an asker go that has the offer. Returns whether it had it. */
static bool release(struct offer *offer, const struct asker *asker) {
    for (struct hold **link = &offer->holds; *link; link = &(*link)->next) {
        struct hold *hold = *link;
        if (hold->asker == asker) {
            *link = hold->next;
            free(hold);
            return true;
        }
    }
    return false;
}

static void free_offer(struct offer *offer) {
    while (offer->holds) {
        release(offer, offer->holds->asker);
    }
    for (uint32_t i = 0; i < offer->answer.count; i++) {
        close(offer->fds[i]);
    }
    if (is_unix(&offer->key) && offer->answer.count > 0) {
        unlink(offer->key.host + 5);
    }
    free(offer);
}

static bool is_same(const struct port_request *a, const struct port_request *b) {
    return strcmp(a->host, b->host) == 0 && a->port == b->port &&
           (a->port != 0 || a->turn == b->turn);
}

/* Where a request's offer stands, or the list's end. */
static struct offer **find_offer(struct core *core, const struct port_request *request,
                                 uint32_t *count) {
    struct offer **link = &core->offers;
    for (*count = 0; *link && !is_same(&(*link)->key, request); (*count)++) {
        link = &(*link)->next;
    }
    return link;
}

/* The sockets that a request gets, or NULL. A failure is not kept, so that the next
 * worker tries again. */
static struct offer *make_offer(struct core *core, const struct port_request *request,
                                struct answer *failure) {
    uint32_t count;
    struct offer *offer = *find_offer(core, request, &count);
    if (offer) {
        return offer;
    }
    offer = count < MOST_OFFERS ? calloc(1, sizeof(*offer)) : NULL;
    if (!offer) {
        failure->error = UV_ENOMEM;
        return NULL;
    }
    offer->key = *request;
    int error = is_unix(request) ? bind_unix(request->host + 5, take_offer, offer)
                                 : bind_host(&core->loop, request->host, request->port,
                                             request->keepalive, take_offer, offer);
    if (error < 0) {
        failure->error = error;
        free_offer(offer);
        return NULL;
    }
    offer->next = core->offers;
    core->offers = offer;
    return offer;
}

/* Room for the file descriptors of a message. */
union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(BIND_MOST * sizeof(int))];
};

static void send_answer(int fd, struct answer *answer, const int *fds) {
    union control control;
    memset(&control, 0, sizeof(control));
    struct iovec bytes = {answer, sizeof(*answer)};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};
    if (answer->count > 0) {
        size_t size = answer->count * sizeof(int);
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(size);
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(size);
        memcpy(CMSG_DATA(head), fds, size);
    }
    /* A worker has one request under way: the answer fits into its socket's buffer. */
    while (sendmsg(fd, &message, MSG_NOSIGNAL) < 0 && errno == EINTR) {
    }
}

static void on_asker_closed(uv_handle_t *handle) {
    free(handle->data);
}

/* An offer that it has stays, even if nobody else has it: it may be started again. */
static void forget_asker(struct asker *asker) {
    for (struct offer *offer = asker->core->offers; offer; offer = offer->next) {
        while (release(offer, asker)) {
        }
    }
    *asker->link = asker->next;
    if (asker->next) {
        asker->next->link = asker->link;
    }
    uv_close((uv_handle_t *)&asker->poll, on_asker_closed);
    close(asker->fd);
}

static void answer_request(struct asker *asker, const struct port_request *request) {
    struct answer failure = {.error = 0};
    struct offer *offer = make_offer(asker->core, request, &failure);
    struct hold *hold = offer ? malloc(sizeof(*hold)) : NULL;
    if (!hold) {
        failure.error = failure.error ? failure.error : UV_ENOMEM;
        send_answer(asker->fd, &failure, NULL);
        return;
    }
    *hold = (struct hold){offer->holds, asker};
    offer->holds = hold;
    send_answer(asker->fd, &offer->answer, offer->fds);
}

/* The last one that lives has given the sockets back: nobody would accept. */
static void take_back(struct asker *asker, const struct port_request *request) {
    uint32_t count;
    struct offer **link = find_offer(asker->core, request, &count);
    struct offer *offer = *link;
    if (offer && release(offer, asker) && !offer->holds) {
        *link = offer->next;
        free_offer(offer);
    }
}

static void on_request(uv_poll_t *poll, int status, int events) {
    (void)events;
    struct asker *asker = poll->data;
    struct port_request request;
    ssize_t size = status < 0 ? -1 : recv(asker->fd, &request, sizeof(request), 0);
    if (size < 0 && (errno == EINTR || errno == EAGAIN) && status == 0) {
        return;
    }
    if (size != (ssize_t)sizeof(request)) {
        forget_asker(asker); /* the worker has gone */
        return;
    }
    request.host[HOST_SIZE - 1] = '\0';
    if (request.ends) {
        take_back(asker, &request);
    } else {
        answer_request(asker, &request);
    }
}

int broker_serve(struct core *core, int fd) {
    struct asker *asker = calloc(1, sizeof(*asker));
    int error = asker ? uv_poll_init(&core->loop, &asker->poll, fd) : UV_ENOMEM;
    if (error < 0) {
        free(asker);
        close(fd);
        return error;
    }
    asker->poll.data = asker;
    asker->core = core;
    asker->fd = fd;
    asker->next = core->askers;
    asker->link = &core->askers;
    if (asker->next) {
        asker->next->link = &asker->next;
    }
    core->askers = asker;
    uv_poll_start(&asker->poll, UV_READABLE, on_request);
    uv_unref((uv_handle_t *)&asker->poll);
    return 0;
}

int broker_offer(struct core *core, const char *name, uint32_t number, int fd) {
    struct offer *offer = calloc(1, sizeof(*offer));
    if (!offer) {
        close(fd);
        return UV_ENOMEM;
    }
    snprintf(offer->key.host, HOST_SIZE, "%s", name);
    offer->key.port = number;
    offer->next = core->offers;
    core->offers = offer;
    return take_offer(offer, fd, SYNC_TRANSPORT_UNIX);
}

void broker_withdraw(struct core *core, const char *name, uint32_t number) {
    struct port_request key = {.port = number};
    uint32_t count;
    snprintf(key.host, HOST_SIZE, "%s", name);
    struct offer **link = find_offer(core, &key, &count);
    struct offer *offer = *link;
    if (offer) {
        *link = offer->next;
        free_offer(offer);
    }
}

static struct asker *asker_at(const struct core *core, uint32_t place) {
    struct asker *asker = core->askers;
    while (asker && place-- > 0) {
        asker = asker->next;
    }
    return asker;
}

static uint32_t place_of(const struct core *core, const struct asker *wanted) {
    uint32_t place = 0;
    for (const struct asker *asker = core->askers; asker && asker != wanted;
         asker = asker->next) {
        place++;
    }
    return place;
}

int broker_asker(const struct core *core, uint32_t place) {
    const struct asker *asker = asker_at(core, place);
    return asker ? asker->fd : -1;
}

int broker_write_offer(const struct core *core, uint32_t place, struct record *record,
                       int *fds) {
    const struct offer *offer = core->offers;
    while (offer && place-- > 0) {
        offer = offer->next;
    }
    if (!offer) {
        return -1;
    }
    record_bytes(record, offer->key.host, strlen(offer->key.host));
    record_number(record, offer->key.port, 4);
    record_number(record, offer->key.keepalive, 4);
    record_number(record, offer->key.turn, 4);
    for (uint32_t i = 0; i < offer->answer.count; i++) {
        record_number(record, offer->answer.transports[i], 1);
        fds[i] = offer->fds[i];
    }
    for (const struct hold *hold = offer->holds; hold; hold = hold->next) {
        record_number(record, place_of(core, hold->asker), 4);
    }
    return (int)offer->answer.count;
}

/* The askers stand in the other order now: the one that was read last is the first. */
static int read_holds(struct core *core, struct offer *offer, struct reading *reading) {
    uint32_t count = place_of(core, NULL);
    while (reading->length > 0 && !reading->failed) {
        uint32_t place = (uint32_t)reading_number(reading, 4);
        struct hold *hold = place < count ? malloc(sizeof(*hold)) : NULL;
        if (!hold) {
            return place < count ? UV_ENOMEM : UV_EINVAL;
        }
        *hold = (struct hold){offer->holds, asker_at(core, count - 1 - place)};
        offer->holds = hold;
    }
    return 0;
}

int broker_read_offer(struct core *core, struct reading *reading, const int *fds,
                      uint32_t count) {
    size_t length;
    const char *host = reading_bytes(reading, &length);
    struct offer *offer = calloc(1, sizeof(*offer));
    if (!offer || count > BIND_MOST || length >= HOST_SIZE) {
        free(offer);
        return offer ? UV_EINVAL : UV_ENOMEM;
    }
    memcpy(offer->key.host, host, length);
    offer->key.port = (uint32_t)reading_number(reading, 4);
    offer->key.keepalive = (uint32_t)reading_number(reading, 4);
    offer->key.turn = (uint32_t)reading_number(reading, 4);
    for (uint32_t i = 0; i < count; i++) {
        take_offer(offer, fds[i], (int)reading_number(reading, 1));
    }
    int error = read_holds(core, offer, reading);
    struct offer **last = &core->offers;
    while (*last) {
        last = &(*last)->next;
    }
    *last = offer;
    return error < 0 || reading->failed ? UV_EINVAL : 0;
}

void broker_close(struct core *core) {
    while (core->askers) {
        forget_asker(core->askers);
    }
    while (core->offers) {
        struct offer *offer = core->offers;
        core->offers = offer->next;
        free_offer(offer);
    }
}

/* A worker's side. */

/* Reads an answer. Returns how many file descriptors came with it, or an error code. */
static int receive_answer(int fd, struct answer *answer, int *fds) {
    union control control;
    struct iovec bytes = {answer, sizeof(*answer)};
    struct msghdr message = {.msg_iov = &bytes,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    ssize_t size;
    do {
        size = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    } while (size < 0 && errno == EINTR);
    if (size != (ssize_t)sizeof(*answer)) {
        return size < 0 ? -errno : UV_EPIPE;
    }
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (!head || head->cmsg_type != SCM_RIGHTS) {
        return 0;
    }
    size_t length = head->cmsg_len - CMSG_LEN(0);
    memcpy(fds, CMSG_DATA(head), length);
    return (int)(length / sizeof(int));
}

static int send_request(struct core *core, const struct port_request *request) {
    ssize_t sent;
    do {
        sent = send(core->broker_fd, request, sizeof(*request), MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

void broker_give_back(struct core *core, struct port_request *request) {
    request->ends = true;
    send_request(core, request); /* without a parent there is nothing to give back */
}

/* Asks, and takes what comes. */
static int fetch(struct core *core, struct port_request *request, bind_taker take,
                 void *context) {
    int sent = send_request(core, request);
    if (sent < 0) {
        return sent;
    }
    struct answer answer = {.error = 0};
    int fds[BIND_MOST] = {0};
    int count = receive_answer(core->broker_fd, &answer, fds);
    if (count < 0 || answer.error < 0) {
        return count < 0 ? count : answer.error;
    }
    /* The kernel leaves out what this process may not open. */
    int error = count == (int)answer.count ? 0 : UV_EMFILE;
    for (int i = 0; i < count; i++) {
        if (error < 0) {
            close(fds[i]);
        } else {
            error = take(context, fds[i], answer.transports[i]);
        }
    }
    if (error < 0) {
        broker_give_back(core, request);
    }
    return error;
}

int broker_ask(struct core *core, const char *host, uint32_t port, uint32_t keepalive,
               bind_taker take, void *context, struct port_request **request) {
    size_t length = strlen(host);
    if (length >= HOST_SIZE) {
        return UV_ENAMETOOLONG;
    }
    struct port_request *asked = calloc(1, sizeof(*asked));
    if (!asked) {
        return UV_ENOMEM;
    }
    memcpy(asked->host, host, length + 1);
    asked->port = port;
    asked->keepalive = keepalive;
    asked->turn = port == 0 && !is_unix(asked) ? core->broker_turns++ : 0;
    int error = fetch(core, asked, take, context);
    if (error < 0) {
        free(asked);
        return error;
    }
    *request = asked;
    return 0;
}

static int keep_fetched(void *context, int fd, int transport) {
    (void)transport;
    *(int *)context = fd;
    return 0;
}

int broker_fetch(struct core *core, const char *name, uint32_t number) {
    int fd = UV_ENOENT;
    struct port_request *request = NULL;
    int error = broker_ask(core, name, number, 0, keep_fetched, &fd, &request);
    if (error < 0) {
        return error;
    }
    broker_give_back(core, request);
    free(request);
    return fd;
}
