/* connection.c: see connection.h. libnats calls the on_… from threads of its own. */
#include "connection.h"

#include <stdlib.h>
#include <string.h>

#include "topic.h"

enum {
    SERVERS_MOST = 64,    /* of a list */
    IO_BUFFER = 64 * 1024 /* bytes that libnats reads or writes at once */
};

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
    const char *servers[SERVERS_MOST];
    const struct natslink_options *given = &link->options;
    int count = split((char *)given->servers, servers, SERVERS_MOST);
    natsStatus s = natsOptions_SetServers(options, servers, count);
    s = s ? s : authenticate(link, options);
    s = s ? s : natsOptions_SetName(options, "sync");
    s = s ? s : natsOptions_SetTimeout(options, given->timeout);
    s = s ? s : natsOptions_SetPingInterval(options, given->ping_interval);
    s = s ? s : natsOptions_SetMaxPingsOut(options, 1);
    s = s ? s : natsOptions_SetAllowReconnect(options, false);
    s = s ? s : natsOptions_SetNoEcho(options, true);
    s = s ? s : natsOptions_SetIOBufSize(options, IO_BUFFER);
    s = s ? s : natsOptions_UseGlobalMessageDelivery(options, true);
    s = s ? s : natsOptions_SetErrorHandler(options, on_error, link);
    s = s ? s : natsOptions_SetClosedCB(options, on_closed, link);
    if (s == NATS_OK) {
        s = natsOptions_SetEventLoop(options, link, on_attach, on_read_wanted,
                                     on_write_wanted, on_detach);
    }
    return s;
}

void connection_start(struct link *link) {
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
    if (topic_listen_for_answers(link)) {
        link_tell_text(link, 'U', url);
    } else {
        natsConnection_Close(link->connection);
    }
}

int connection_unsent(struct link *link) {
    return link->connection ? natsConnection_Buffered(link->connection) : 0;
}

struct pollfd connection_watch(struct link *link) {
    short events = (short)((atomic_load(&link->wants_read) ? POLLIN : 0) |
                           (atomic_load(&link->wants_write) ? POLLOUT : 0));
    return (struct pollfd){atomic_load(&link->socket), events, 0};
}

/* Writes first, for what makes it broken is read. */
void connection_ready(struct link *link, short events) {
    if (events & POLLOUT) {
        natsConnection_ProcessWriteEvent(link->connection);
    }
    if (events & (POLLIN | POLLHUP | POLLERR)) {
        natsConnection_ProcessReadEvent(link->connection);
    }
}
