/* listener.c: accepts clients, and pauses when it can't.
 *
 * It accepts by itself, not by uv_listen: libuv sheds clients when no file is left, or
 * tries for ever. Here they wait in the kernel's backlog until a client leaves, or, when
 * something else used the files up, until the next try. How sockets are bound is
 * bind.c's.
 */
#include "listen/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conn/abuse.h"
#include "conn/codec.h"
#include "conn/conn.h"
#include "conn/reserve.h"
#include "http/file.h"
#include "listen/detection.h"
#include "listen/inherit.h"
#include "listen/proxy.h"
#include "net/bind.h"
#include "net/network.h"
#include "tls/tls.h"
#include "workers/broker.h"
#include "workers/shares.h"
#include "workers/spawn.h"

enum {
    ACCEPTS = 64,     /* of one socket in a tick */
    RETRY_WAIT = 100, /* ms, after accept failed */
    YIELD_WAIT = 2,   /* ms that workers with fewer clients have to accept some */
    YIELD_SHARE = 16, /* of its clients: so many a worker then takes nevertheless */
    NOTICES = 2       /* most in a tick: how it accepts, and an address */
};

/* One listening socket. */
struct listening {
    uv_poll_t poll;
    struct listener *listener;
    int fd;
    uint8_t transport;
};

struct listener *listener_find(struct core *core, uint32_t id) {
    struct listener *listener = core->listeners;
    while (listener && listener->service.id != id) {
        listener = listener->next;
    }
    return listener;
}

static void note(struct listener *listener, enum sync_notice notice) {
    listener->notice = (uint8_t)notice;
    listener->service.core->noted = true;
    core_wake(listener->service.core);
}

static bool is_pause(uint8_t notice) {
    return notice == SYNC_ACCEPT_PAUSED || notice == SYNC_ACCEPT_FULL;
}

/* A listener that resumed and paused again within a tick has no news. */
static bool is_news(struct listener *listener) {
    bool paused = is_pause(listener->notice);
    if (!paused && listener->notice != SYNC_ACCEPT_RESUMED) {
        return listener->notice != 0;
    }
    bool news = paused != listener->told_paused;
    listener->told_paused = paused;
    return news;
}

/* Tells once that an address has as many connections as it may, until all have gone. */
static void push_full(struct listener *listener) {
    enum { NAME_SIZE = 64 };
    struct peer *peer = listener->full;
    struct batch *batch = &listener->service.core->batch;
    char *name = peer && !peer->told ? batch_block_new(NAME_SIZE) : NULL;
    listener->full = NULL;
    if (name) {
        peer->told = true;
        peers_name(peer, name, NAME_SIZE);
        batch_spend(batch, name);
        batch_push(batch, SYNC_NOTICE, listener->service.id, SYNC_ADDRESS_FULL, name,
                   strlen(name));
    }
}

/* Tells of one address that has reached a step; of the next in the next tick. */
static void push_step(struct core *core) {
    enum { NAME_SIZE = 64 };
    char *name = core->peers.news ? batch_block_new(NAME_SIZE) : NULL;
    if (!name) {
        return;
    }
    const struct peer *peer = peers_news(&core->peers);
    peers_name(peer, name, NAME_SIZE);
    batch_spend(&core->batch, name);
    batch_push(&core->batch, SYNC_NOTICE, peer->service, SYNC_STEP_NOTICE + peer->step,
               name, strlen(name));
    if (core->peers.news) {
        core->noted = true;
        core_wake(core);
    }
}

void listener_push_notices(struct core *core) {
    core->noted = false;
    for (struct listener *l = core->listeners; l; l = l->next) {
        if (is_news(l)) {
            batch_push(&core->batch, SYNC_NOTICE, l->service.id, l->notice, NULL, 0);
        }
        l->notice = 0;
        push_full(l);
    }
    push_step(core);
}

static void forget_shared(struct shared *shared) {
    if (shared) {
        shared_release(shared);
    }
}

/* Forgets what a listener was given beside its options. */
static void forget_settings(struct service *service) {
    forget_shared(service->ping);
    service->ping = NULL;
    while (service->proxies) {
        struct network *first = service->proxies;
        service->proxies = first->next;
        free(first);
    }
}

/* Frees a listener that is closed, when its last client has left. */
static void free_if_done(struct listener *listener) {
    if (!listener->closed || listener->service.clients > 0) {
        return;
    }
    struct listener **link = &listener->service.core->listeners;
    while (*link != listener) {
        link = &(*link)->next;
    }
    *link = listener->next;
    batch_unreserve(&listener->service.core->batch, NOTICES);
    forget_shared(listener->service.policy);
    forget_settings(&listener->service);
    tls_store_free(listener->service.tls);
    free(listener->service.trusted_host);
    free(listener->service.name);
    free(listener->unlink_path);
    free(listener->request);
    free(listener);
}

static void on_socket_closed(uv_handle_t *handle) {
    free(handle->data);
}

void listener_close(struct listener *listener) {
    if (listener->closed) {
        return;
    }
    listener->closed = true;
    if (listener->unlink_path) {
        unlink(listener->unlink_path);
    }
    for (uint32_t i = 0; i < listener->socket_count; i++) {
        struct listening *socket = listener->sockets[i];
        uv_close((uv_handle_t *)&socket->poll, on_socket_closed);
        close(socket->fd);
    }
    listener->socket_count = 0;
    free_if_done(listener);
}

void listener_end(struct listener *listener) {
    if (listener->request && !listener->closed) {
        broker_give_back(listener->service.core, listener->request);
    }
    listener_close(listener);
}

void listener_client_left(struct listener *listener) {
    listener->service.clients--;
    free_if_done(listener);
}

static uint64_t now_of(const struct core *core) {
    return uv_now(&core->loop) * 1000;
}

/* Of a connection: when it is freed. */
static void conn_left(struct conn *conn) {
    reserve_leave(conn);
    peers_leave(&conn->core->peers, conn->peer, now_of(conn->core));
    listener_client_left((struct listener *)(void *)conn->service);
}

static void pause_accepting(struct listener *listener) {
    listener->paused = true;
    listener->service.core->accept_paused = true;
    for (uint32_t i = 0; i < listener->socket_count; i++) {
        uv_poll_stop(&listener->sockets[i]->poll);
    }
}

static void accept_failed(struct listener *listener, int error) {
    pause_accepting(listener);
    uv_timer_start(&listener->service.core->retry_timer, listener_on_retry, RETRY_WAIT,
                   0);
    if (!listener->failing) {
        listener->failing = true;
        bool files = error == UV_EMFILE || error == UV_ENFILE;
        note(listener, files ? SYNC_ACCEPT_FILES : SYNC_ACCEPT_FAILED);
    }
}

/* Ends one that has just come, by a reset: nothing of it stays, and it isn't asked what
 * it wants. */
static void reset(int fd) {
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd);
}

/* The same of one whose address has as many as it may. */
static void refuse(struct listener *listener, int fd, struct peer *peer) {
    struct core *core = listener->service.core;
    reset(fd);
    core->public.clients_refused++;
    if (!peer->told && !listener->full) { /* another is told of the next time */
        listener->full = peer;
        core->noted = true;
        core_wake(core);
    }
}

/* Whether one more may come of an address; else it is refused. What comes by a proxy is
 * counted when that has said whose it is. */
static bool may_enter(struct listener *listener, int fd, struct peer *peer,
                      const struct sockaddr *address) {
    struct service *service = &listener->service;
    uint32_t most = service->options.max_per_address;
    if (peer && most > 0 && peer->count > most) {
        refuse(listener, fd, peer);
        return false;
    }
    if (!peer || network_has(service->proxies, address) ||
        abuse_allows(service, peer, PEER_CONNECTS)) {
        return true;
    }
    service->core->public.clients_refused++;
    reset(fd);
    return false;
}

/* Makes what was accepted a connection, unless its address has as many as it may. Returns
 * 0, or an error code; the socket is taken over in any case. */
static int admit(struct listener *listener, int fd, uint8_t transport,
                 const struct sockaddr *address) {
    struct core *core = listener->service.core;
    bool room = service_has_room(&listener->service);
    if (abuse_is_banned(&listener->service, address)) {
        core->public.clients_banned++;
        reset(fd);
        return 0;
    }
    struct peer *peer = peers_enter(&core->peers, address, now_of(core));
    if (!may_enter(listener, fd, peer, address)) {
        peers_leave(&core->peers, peer, now_of(core));
        return 0;
    }
    int slot = detection_open(&listener->service, fd, transport, address);
    if (slot < 0) {
        peers_leave(&core->peers, peer, now_of(core));
        return slot;
    }
    struct conn *conn = core_conn(core, (uint32_t)slot);
    conn->peer = peer;
    if (!room) {
        reserve_enter(conn);
        core->accept_paused = true; /* to tell when there's room */
        if (!core->draining) {
            note(listener, SYNC_ACCEPT_FULL);
        }
    }
    return 0;
}

/* Workers share their ports: what one has no room for is another's, if that has. */
static bool others_are_full(const struct core *core) {
    return !core->shares || shares_least(core) >= core->public.client_limit;
}

/* Whether a listener that has no room may accept nevertheless, into the reserve. */
static bool may_reserve(const struct listener *listener) {
    struct core *core = listener->service.core;
    bool full = core->draining || core_descriptors(core) >= core->public.client_limit;
    return listener->service.options.transports & SYNC_HTTP && full &&
           others_are_full(core) && reserve_has_place(core);
}

static bool may_accept(const struct listener *listener) {
    return service_has_room(&listener->service) || may_reserve(listener);
}

/* Nothing tells when a place of the reserve is silent for long enough, nor that other
 * workers drain, too. */
static void wait_for_reserve(struct core *core) {
    if (core->reserved > 0 || core->draining) {
        uv_timer_start(&core->retry_timer, listener_on_retry, RETRY_WAIT, 0);
    }
}

/* Whether the program knows why nobody is accepted, or hears of it in this tick. */
static bool is_explained(const struct listener *listener) {
    const struct core *core = listener->service.core;
    return core->accept_held || core->draining || is_pause(listener->notice);
}

/* Accepts one client. Returns whether to go on. */
static bool accept_one(struct listening *socket) {
    struct listener *listener = socket->listener;
    if (!may_accept(listener)) {
        pause_accepting(listener);
        wait_for_reserve(listener->service.core);
        if (!is_explained(listener)) {
            note(listener, SYNC_ACCEPT_PAUSED);
        }
        return false;
    }
    struct sockaddr_storage peer;
    socklen_t size = sizeof(peer);
    int fd = accept4(socket->fd, (struct sockaddr *)&peer, &size,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        int error = -errno;
        if (error == UV_EINTR || error == UV_ECONNABORTED) {
            return true;
        }
        if (error != UV_EAGAIN) {
            accept_failed(listener, error);
        }
        return false;
    }
    int error = admit(listener, fd, socket->transport, (const struct sockaddr *)&peer);
    if (error < 0) {
        accept_failed(listener, error);
        return false;
    }
    listener->failing = false;
    return true;
}

/* Workers take turns: one that has more clients than another leaves those that come to
 * it, for a moment. Then it takes some: the other may hang. Returns whether to accept
 * now. */
static bool is_its_turn(struct listener *listener) {
    struct core *core = listener->service.core;
    if (!core->shares || !shares_is_busier(core)) {
        return true;
    }
    uint64_t now = uv_hrtime() / 1000000;
    if (now - listener->yielded < 2 * YIELD_WAIT && listener->spare > 0) {
        listener->spare--;
        return true;
    }
    listener->yielded = now;
    listener->spare = 1 + core->public.client_count / YIELD_SHARE;
    pause_accepting(listener);
    uv_timer_start(&core->retry_timer, listener_on_retry, YIELD_WAIT, 0);
    return false;
}

static void on_readable(uv_poll_t *poll, int status, int events) {
    (void)events;
    struct listening *socket = poll->data;
    if (status < 0) {
        accept_failed(socket->listener, status);
        return;
    }
    for (int i = 0; i < ACCEPTS; i++) {
        if (!is_its_turn(socket->listener) || !accept_one(socket)) {
            return;
        }
    }
}

static int start_polling(struct listener *listener) {
    int error = 0;
    for (uint32_t i = 0; i < listener->socket_count && error == 0; i++) {
        error = uv_poll_start(&listener->sockets[i]->poll, UV_READABLE, on_readable);
    }
    return error;
}

void listener_resume_all(struct core *core) {
    core->accept_paused = false;
    for (struct listener *l = core->listeners; l; l = l->next) {
        bool told = l->told_paused || is_pause(l->notice);
        if ((!l->paused && !told) || l->closed) {
            continue;
        }
        if (!may_accept(l) || (l->paused && start_polling(l) < 0)) {
            core->accept_paused = true;
            wait_for_reserve(core);
            continue;
        }
        l->paused = false;
        if (!service_has_room(&l->service)) {
            core->accept_paused = true;
        } else if (!l->failing && told) {
            note(l, SYNC_ACCEPT_RESUMED);
        }
    }
}

void listener_on_retry(uv_timer_t *timer) {
    listener_resume_all(timer->data);
}

/* Whether this process listens on a socket already: its parent gives a worker that asks
 * twice for a port the same one. */
static bool has_socket(const struct core *core, int fd) {
    struct stat one;
    struct stat other;
    if (fstat(fd, &one) < 0) {
        return false;
    }
    for (const struct listener *l = core->listeners; l; l = l->next) {
        for (uint32_t i = 0; i < l->socket_count; i++) {
            if (fstat(l->sockets[i]->fd, &other) == 0 && one.st_ino == other.st_ino &&
                one.st_dev == other.st_dev) {
                return true;
            }
        }
    }
    return false;
}

/* Takes a bound socket over. Returns 0 or an error code; then it is closed. */
static int add_socket(void *context, int fd, int transport) {
    struct listener *listener = context;
    struct listening *socket = NULL;
    int error = UV_ENOBUFS;
    if (listener->socket_count < BIND_MOST) {
        socket = calloc(1, sizeof(*socket));
        error = socket ? 0 : UV_ENOMEM;
    }
    if (error == 0 && has_socket(listener->service.core, fd)) {
        error = UV_EADDRINUSE;
    }
    if (error == 0 && listen(fd, (int)listener->service.options.backlog) < 0) {
        error = -errno;
    }
    if (error == 0) {
        error = uv_poll_init(&listener->service.core->loop, &socket->poll, fd);
    }
    if (error < 0) {
        free(socket);
        close(fd);
        return error;
    }
    socket->poll.data = socket;
    socket->listener = listener;
    socket->fd = fd;
    socket->transport = (uint8_t)transport;
    listener->sockets[listener->socket_count++] = socket;
    return 0;
}

/* Goes on with what the process before has bound, whose a Unix socket's file stays until
 * listener_own. Returns 0 or an error code. */
static int adopt_sockets(struct listener *listener, struct inherited *inherited) {
    int error = 0;
    for (uint32_t i = 0; i < inherited->count; i++) {
        if (error < 0) {
            close(inherited->fds[i]);
        } else {
            error = add_socket(listener, inherited->fds[i], inherited->transports[i]);
        }
    }
    free(inherited);
    return error;
}

int listener_fds(const struct listener *listener, int *fds) {
    for (uint32_t i = 0; i < listener->socket_count; i++) {
        fds[i] = listener->sockets[i]->fd;
    }
    return (int)listener->socket_count;
}

void listener_own(struct listener *listener, const char *path) {
    free(listener->unlink_path);
    listener->unlink_path = strdup(path);
}

void listener_keep_file(struct listener *listener) {
    free(listener->unlink_path);
    listener->unlink_path = NULL;
}

static void take_options(struct service *service, const struct sync_options *options) {
    service->options = *options;
    if (options->transports == 0) {
        service->options.transports = SYNC_STREAMS;
    }
}

int listener_open(struct core *core, const char *host, uint32_t port,
                  const struct sync_options *options) {
    struct listener *listener = calloc(1, sizeof(*listener));
    if (!listener) {
        return UV_ENOMEM;
    }
    if (batch_reserve(&core->batch, NOTICES) < 0) {
        free(listener);
        return UV_ENOMEM;
    }
    listener->service.core = core;
    listener->service.left = conn_left;
    take_options(&listener->service, options);
    listener->service.id = ++core->next_listener_id;
    listener->next = core->listeners;
    core->listeners = listener;

    int error = 0;
    struct inherited *inherited = inherit_take(core, host, port);
    if (inherited) {
        error = adopt_sockets(listener, inherited);
    } else if (core->broker_fd && strcmp(host, "memory:") != 0) {
        error = broker_ask(core, host, port, options->keepalive, add_socket, listener,
                           &listener->request);
    } else if (strncmp(host, "unix:", 5) == 0) {
        listener->unlink_path = strdup(host + 5);
        error =
            listener->unlink_path ? bind_unix(host + 5, add_socket, listener) : UV_ENOMEM;
    } else if (strcmp(host, "memory:") != 0) {
        error =
            bind_host(&core->loop, host, port, options->keepalive, add_socket, listener);
    }
    if (error == 0) {
        error = start_polling(listener);
    }
    if (error < 0) {
        if (listener->socket_count == 0) {
            free(listener->unlink_path); /* the file is someone else's */
            listener->unlink_path = NULL;
        }
        listener_end(listener);
        return error;
    }
    return (int)listener->service.id;
}

/* Certificates stay until others take their place, who keep their tickets. */
void listener_renew(struct listener *listener, const struct sync_options *options) {
    struct service *service = &listener->service;
    forget_settings(service);
    take_options(service, options);
    if (!(options->transports & SYNC_TLS)) {
        tls_store_free(service->tls);
        service->tls = NULL;
    }
    struct root **last = &listener->spare_roots;
    while (*last) {
        last = &(*last)->beside;
    }
    *last = service->root;
    service->root = NULL;
    listener_resume_all(listener->service.core); /* max_clients may have grown */
}

int listener_set_tls(struct listener *listener, const char *const *files, uint32_t count,
                     int minimum, char *message, size_t size) {
    struct tls_store *store = tls_store_new();
    if (!store) {
        return UV_ENOMEM;
    }
    int error = tls_store_minimum(store, minimum) < 0 ? UV_EINVAL : 0;
    message[0] = '\0';
    for (uint32_t i = 0; i < count && error == 0; i++) {
        size_t used = strlen(message);
        if (tls_store_add(store, files[2 * i], files[2 * i + 1], message + used,
                          size - used) < 0) {
            error = UV_EINVAL;
        }
    }
    if (error < 0) {
        tls_store_free(store);
        return error;
    }
    if (listener->service.tls) {
        tls_store_keep_tickets(store, listener->service.tls);
        tls_store_free(listener->service.tls);
    }
    listener->service.tls = store;
    return 0;
}

int listener_trust(struct listener *listener, const char *host, const char *const *files,
                   char *message, size_t size) {
    char *name = strdup(host);
    struct tls_store *store = name ? tls_store_trusting(files[0], message, size) : NULL;
    if (!store ||
        (files[1] && tls_store_show(store, files[1], files[2], message, size))) {
        tls_store_free(store);
        free(name);
        return name ? UV_EINVAL : UV_ENOMEM;
    }
    tls_store_free(listener->service.tls);
    free(listener->service.trusted_host);
    listener->service.tls = store;
    listener->service.trusted_host = name;
    listener->service.options.transports |= SYNC_TLS | SYNC_TLS_ONLY;
    return 0;
}

/* Files may be looked for in a folder that a listener had before it was renewed: its
 * descriptor becomes the new folder's, and isn't closed. */
static struct root *take_spare(struct listener *listener, int descriptor) {
    struct root *root = listener->spare_roots;
    if (dup3(descriptor, root->descriptor, O_CLOEXEC) < 0) {
        return NULL;
    }
    listener->spare_roots = root->beside;
    file_root_close(descriptor);
    return root;
}

static struct root *root_new(struct listener *listener, int descriptor) {
    struct core *core = listener->service.core;
    struct root *root = malloc(sizeof(*root));
    if (root) {
        root->descriptor = descriptor;
        root->next = core->roots;
        core->roots = root;
    }
    return root;
}

int listener_add_root(struct listener *listener, const char *path) {
    int descriptor = file_root_open(path);
    if (descriptor < 0) {
        return descriptor;
    }
    struct root *root = listener->spare_roots ? take_spare(listener, descriptor)
                                              : root_new(listener, descriptor);
    if (!root) {
        file_root_close(descriptor);
        return UV_ENOMEM;
    }
    root->beside = NULL;
    struct root **last = &listener->service.root;
    while (*last) {
        last = &(*last)->beside;
    }
    *last = root;
    return 0;
}

int listener_add_proxy(struct listener *listener, const char *text) {
    struct network *network = malloc(sizeof(*network));
    if (!network) {
        return UV_ENOMEM;
    }
    int error = network_read(network, text);
    if (error < 0) {
        free(network);
        return error;
    }
    network->next = listener->service.proxies;
    listener->service.proxies = network;
    return 0;
}

static int own_address(const struct conn *conn, struct sockaddr_storage *address) {
    socklen_t size = sizeof(*address);
    return getpeername(conn->stream.fd, (struct sockaddr *)address, &size) < 0 ? -errno
                                                                               : 0;
}

int listener_forwarded(struct conn *conn, const char *address) {
    struct sockaddr_storage peer = {0};
    int error = address[0] ? network_address(address, &peer) : own_address(conn, &peer);
    if (error < 0) {
        return error;
    }
    conn->forwarded = address[0] != '\0';
    return proxy_forward(conn, (const struct sockaddr *)&peer);
}

int listener_set_policy(struct listener *listener, const char *text, size_t length) {
    struct shared *policy = shared_new("", 0, text, length, "", 1);
    if (!policy) {
        return UV_ENOMEM;
    }
    forget_shared(listener->service.policy);
    listener->service.policy = policy;
    return 0;
}

int listener_set_ping(struct listener *listener, const char *bytes, size_t length) {
    const struct codec *codec = &codecs[listener->service.options.framing];
    if (length > codec->longest) {
        return UV_EINVAL;
    }
    struct frame frame;
    codec->frame(length, &frame);
    struct shared *ping = shared_new(frame.head, frame.head_length, bytes, length,
                                     frame.tail, frame.tail_length);
    if (!ping) {
        return UV_ENOMEM;
    }
    forget_shared(listener->service.ping);
    listener->service.ping = ping;
    return 0;
}

uint32_t listener_port(const struct listener *listener) {
    if (listener->socket_count == 0 ||
        listener->sockets[0]->transport != SYNC_TRANSPORT_TCP) {
        return 0;
    }
    return bind_port(listener->sockets[0]->fd);
}

uint32_t listener_addresses(const struct listener *listener, char *text, size_t size) {
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < listener->socket_count && used + 64 < size; i++) {
        if (i > 0) {
            used += (size_t)snprintf(text + used, size - used, ", ");
        }
        used += bind_address(listener->sockets[i]->fd, text + used, size - used);
    }
    return (uint32_t)used;
}
