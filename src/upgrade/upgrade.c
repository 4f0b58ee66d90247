/* upgrade.c: the door's functions of an upgrade. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "conn/hold.h"
#include "listen/inherit.h"
#include "listen/listener.h"
#include "upgrade/carry.h"
#include "upgrade/parcel.h"
#include "upgrade/relay.h"
#include "workers/spawn.h"

int32_t sync_next_start(struct sync *sync, const char *const *arguments, int32_t *fd) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        return -errno;
    }
    int process = spawn_next(core_of(sync), arguments, pair[1]);
    close(pair[1]);
    if (process < 0) {
        close(pair[0]);
        return process;
    }
    *fd = pair[0];
    return process;
}

int32_t sync_is_next(void) {
    return spawn_is_next();
}

void sync_freeze(struct sync *sync, int32_t freeze) {
    sync_hold_accepting(sync, freeze != SYNC_FROZEN_NOT);
    hold_freeze(core_of(sync), (enum sync_frozen)freeze);
}

int32_t sync_next_say(int32_t fd, const char *text, uint32_t milliseconds) {
    parcel_set_patience(fd, milliseconds);
    ssize_t sent;
    do {
        sent = send(fd, text, strlen(text), MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

int32_t sync_next_hear(int32_t fd, char *text, uint32_t size, uint32_t milliseconds) {
    parcel_set_patience(fd, milliseconds);
    int how = milliseconds == 0 ? MSG_DONTWAIT : 0;
    ssize_t count;
    do {
        count = recv(fd, text, size - 1, how);
    } while (count < 0 && errno == EINTR);
    if (count <= 0) {
        return count == 0 ? UV_EOF : -errno;
    }
    text[count] = '\0';
    return (int32_t)count;
}

void sync_next_close(int32_t fd) {
    close(fd);
}

/* The name begins with a NUL, so no file is made. */
static socklen_t abstract(struct sockaddr_un *address, const char *name) {
    size_t length = strnlen(name, sizeof(address->sun_path) - 1);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path + 1, name, length);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
}

static void send_to(const struct sockaddr_un *address, socklen_t size, const char *text) {
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0) {
        sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)address,
               size);
        close(fd);
    }
}

void sync_answer(const char *name, const char *text) {
    struct sockaddr_un address;
    socklen_t size = abstract(&address, name);
    send_to(&address, size, text);
}

int32_t sync_answer_wait(const char *name) {
    struct sockaddr_un address;
    socklen_t size = abstract(&address, name);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    if (bind(fd, (struct sockaddr *)&address, size) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

struct sync_parcel *sync_parcel_new(void) {
    return (struct sync_parcel *)(void *)parcel_new();
}

void sync_parcel_free(struct sync_parcel *parcel) {
    parcel_free(parcel_of(parcel));
}

void sync_parcel_text(struct sync_parcel *parcel, const char *bytes, size_t length) {
    struct parcel *to = parcel_of(parcel);
    size_t begun = parcel_begin(to, SYNC_ITEM_TEXT, 0);
    char *place = record_claim(&to->record, length);
    if (place && length > 0) {
        memcpy(place, bytes, length);
    }
    parcel_end(to, begun);
}

void sync_parcel_listener(struct sync *sync, struct sync_parcel *parcel, uint32_t id,
                          const char *host, uint32_t port) {
    struct parcel *to = parcel_of(parcel);
    const struct listener *listener = listener_find(core_of(sync), id);
    int fds[BIND_MOST];
    int count = listener ? listener_fds(listener, fds) : 0;
    size_t begun = parcel_begin(to, SYNC_ITEM_LISTENER, port);
    char *place = record_claim(&to->record, strlen(host) + 1);
    if (place) {
        memcpy(place, host, strlen(host) + 1);
    }
    for (int i = 0; i < count; i++) {
        parcel_add_fd(to, fds[i]);
    }
    parcel_end(to, begun);
}

int32_t sync_parcel_may(struct sync *sync, uint32_t slot) {
    const struct conn *conn = core_conn(core_of(sync), slot);
    return conn && carry_may(conn);
}

int32_t sync_rests(struct sync *sync) {
    struct core *core = core_of(sync);
    for (uint32_t slot = 1; slot < core->conns.used; slot++) {
        struct conn *conn = core_conn(core, slot);
        if (conn && hold_is_frozen(conn) && !carry_rests(conn)) {
            return 0;
        }
    }
    return 1;
}

int32_t sync_parcel_client(struct sync *sync, struct sync_parcel *parcel, uint32_t slot) {
    struct parcel *to = parcel_of(parcel);
    struct conn *conn = core_conn(core_of(sync), slot);
    if (!conn || !carry_may(conn) || carry_collect(conn) < 0) {
        return 0;
    }
    size_t fd_count = to->fd_count;
    size_t begun = parcel_begin(to, SYNC_ITEM_CLIENT, slot);
    if (!carry_out(conn, &to->record)) {
        parcel_undo(to, begun, fd_count);
        return 0;
    }
    int error = 0;
    if (conn->transport->secure) {
        error = parcel_add_pair(to, slot);
    } else if (conn->transport->has_socket) {
        parcel_add_fd(to, conn->stream.fd);
    }
    if (error < 0) {
        parcel_undo(to, begun, fd_count);
        return error;
    }
    parcel_end(to, begun);
    return 1;
}

int32_t sync_parcel_send(struct sync_parcel *parcel, int32_t fd, uint32_t milliseconds) {
    return parcel_send(parcel_of(parcel), fd, milliseconds);
}

int32_t sync_parcel_receive(struct sync_parcel **parcel, int32_t fd,
                            uint32_t milliseconds) {
    int error;
    *parcel = (struct sync_parcel *)(void *)parcel_receive(fd, milliseconds, &error);
    return error;
}

int32_t sync_parcel_next(struct sync_parcel *parcel, struct sync_item *item) {
    struct parcel_item next = {0};
    struct parcel *from = parcel_of(parcel);
    if (!parcel_next(from, &next)) {
        return from->left.failed ? UV_EPROTO : 0;
    }
    *item = (struct sync_item){next.type, next.value, (uint32_t)next.length, next.bytes};
    return 1;
}

int32_t sync_parcel_inherit(struct sync *sync, struct sync_parcel *parcel,
                            const struct sync_item *item) {
    int fds[BIND_MOST] = {0};
    uint32_t count = 0;
    bool named = item->length > 0 && item->data[item->length - 1] == '\0';
    if (item->type != SYNC_ITEM_LISTENER || !named) {
        return UV_EINVAL;
    }
    while (parcel_of(parcel)->fds_due > 0) {
        fds[count++] = parcel_take_fd(parcel_of(parcel));
    }
    int error = inherit_add(core_of(sync), item->data, item->value, fds, count);
    while (error < 0 && count > 0) {
        close(fds[--count]);
    }
    return error;
}

int32_t sync_parcel_take(struct sync *sync, struct sync_parcel *parcel,
                         const struct sync_item *item, uint32_t listener) {
    struct listener *to = listener_find(core_of(sync), listener);
    int fd = parcel_of(parcel)->fds_due > 0 ? parcel_take_fd(parcel_of(parcel)) : -1;
    if (!to || item->type != SYNC_ITEM_CLIENT) {
        if (fd >= 0) {
            close(fd);
        }
        return UV_EINVAL;
    }
    return carry_in(&to->service, fd, item->data, item->length);
}

uint32_t sync_disinherit(struct sync *sync) {
    return inherit_close(core_of(sync));
}

void sync_let_go(struct sync *sync, struct sync_parcel *parcel, uint32_t slot) {
    struct conn *conn = core_conn(core_of(sync), slot);
    int fd = parcel ? parcel_take_end(parcel_of(parcel), slot) : -1;
    if (conn && fd >= 0) {
        relay_begin(conn, fd);
    } else if (conn) {
        carry_away(conn);
    }
}

void sync_end_relays(struct sync *sync) {
    relay_end_all(core_of(sync));
}

void sync_listener_let_go(struct sync *sync, uint32_t id) {
    struct listener *listener = listener_find(core_of(sync), id);
    if (listener) {
        listener_keep_file(listener);
        listener_close(listener);
    }
}

void sync_listener_own(struct sync *sync, uint32_t id, const char *path) {
    struct listener *listener = listener_find(core_of(sync), id);
    if (listener) {
        listener_own(listener, path);
    }
}

int32_t sync_process(void) {
    return getpid();
}

/* The address of a datagram socket: a path, or behind "@" a name without a file. */
void sync_notify(const char *name, const char *text) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    if (length >= sizeof(address.sun_path)) {
        return;
    }
    memcpy(address.sun_path, name, length);
    if (name[0] == '@') {
        address.sun_path[0] = '\0';
    }
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    send_to(&address, size, text);
}

uint32_t sync_next_slot(struct sync *sync, uint32_t slot) {
    const struct core *core = core_of(sync);
    do {
        slot++;
    } while (slot < core->conns.used && !table_get(&core->conns, slot));
    return slot < core->conns.used ? slot : 0;
}
