/* parcel.c: what the next process is handed. */
#include "upgrade/parcel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

enum {
    MOST_FDS_AT_ONCE = 250, /* SCM_MAX_FD is 253 */
    MOST_ITEM_FDS = 8,      /* BIND_MOST: what the one has who takes them */
    ITEM_HEAD = 9,          /* type, value, descriptors */
    FDS_PLACE = 5           /* of their number in it */
};

/* What goes before the descriptors. */
struct greeting {
    uint64_t bytes;
    uint64_t fds;
};

struct parcel *parcel_new(void) {
    struct parcel *parcel = calloc(1, sizeof(*parcel));
    if (parcel) {
        parcel->record.is_shared = true;
    }
    return parcel;
}

void parcel_free(struct parcel *parcel) {
    if (!parcel) {
        return;
    }
    if (parcel->mapped) {
        munmap(parcel->mapped, parcel->mapped_size);
    }
    for (size_t i = parcel->fds_taken; parcel->mapped && i < parcel->fd_count; i++) {
        close(parcel->fds[i]);
    }
    for (size_t i = 0; i < parcel->end_count; i++) {
        close(parcel->ends[i].given);
        if (parcel->ends[i].kept >= 0) {
            close(parcel->ends[i].kept);
        }
    }
    free(parcel->ends);
    record_clear(&parcel->record);
    free(parcel->fds);
    free(parcel);
}

size_t parcel_begin(struct parcel *parcel, uint8_t type, uint32_t value) {
    size_t begun = parcel->record.length;
    record_number(&parcel->record, type, 1);
    record_number(&parcel->record, value, 4);
    record_number(&parcel->record, parcel->fd_count, 4); /* until it's ended */
    record_number(&parcel->record, 0, 4);
    return begun;
}

void parcel_end(struct parcel *parcel, size_t begun) {
    struct record *record = &parcel->record;
    if (record->failed) {
        return;
    }
    struct reading place = {record->bytes + begun + FDS_PLACE, 4, false};
    size_t before = reading_number(&place, 4);
    record_number_at(record, begun + FDS_PLACE, parcel->fd_count - before, 4);
    record_number_at(record, begun + ITEM_HEAD, record->length - begun - ITEM_HEAD - 4,
                     4);
}

void parcel_undo(struct parcel *parcel, size_t begun, size_t fd_count) {
    parcel->record.length = begun;
    parcel->fd_count = fd_count;
}

static bool has_place(struct parcel *parcel) {
    if (parcel->fd_count < parcel->fd_capacity) {
        return true;
    }
    size_t capacity = parcel->fd_capacity ? 2 * parcel->fd_capacity : 64;
    int *grown = realloc(parcel->fds, capacity * sizeof(*grown));
    if (grown) {
        parcel->fds = grown;
        parcel->fd_capacity = capacity;
    }
    return grown != NULL;
}

void parcel_add_fd(struct parcel *parcel, int fd) {
    if (has_place(parcel)) {
        parcel->fds[parcel->fd_count++] = fd;
    } else {
        parcel->record.failed = true;
    }
}

int parcel_add_pair(struct parcel *parcel, uint32_t slot) {
    int pair[2];
    if (parcel->end_count == parcel->end_capacity) {
        size_t capacity = parcel->end_capacity ? 2 * parcel->end_capacity : 16;
        struct parcel_end *grown =
            realloc(parcel->ends, capacity * sizeof(*parcel->ends));
        if (!grown) {
            return -ENOMEM;
        }
        parcel->ends = grown;
        parcel->end_capacity = capacity;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0) {
        return -errno;
    }
    parcel->ends[parcel->end_count++] = (struct parcel_end){slot, pair[0], pair[1]};
    parcel_add_fd(parcel, pair[1]);
    return 0;
}

/* They are asked for in the order in which they were added. */
int parcel_take_end(struct parcel *parcel, uint32_t slot) {
    for (size_t i = 0; i < parcel->end_count; i++) {
        struct parcel_end *end = &parcel->ends[i];
        if (end->slot == slot && end->kept >= 0) {
            int fd = end->kept;
            end->kept = -1;
            return fd;
        }
    }
    return -1;
}

/* Sending */

int parcel_set_patience(int socket, uint32_t ms) {
    int flags = fcntl(socket, F_GETFL);
    fcntl(socket, F_SETFL, flags & ~O_NONBLOCK); /* libuv's watching has set it */
    struct timeval time = {ms / 1000, ms % 1000 * 1000};
    if (setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time)) < 0 ||
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)) < 0) {
        return -errno;
    }
    return 0;
}

static int send_fds(int socket, const void *bytes, size_t length, const int *fds,
                    size_t count, int how) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int) * MOST_FDS_AT_ONCE)];
    } control = {0};
    struct iovec piece = {(void *)bytes, length};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = CMSG_SPACE(sizeof(int) * count)};
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * count);
    ssize_t sent;
    do {
        sent = sendmsg(socket, &message, MSG_NOSIGNAL | how);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

int parcel_send(struct parcel *parcel, int socket, uint32_t ms) {
    if (parcel->record.failed) {
        return -ENOMEM;
    }
    int error = parcel_set_patience(socket, ms);
    int file = error < 0 ? error : record_file(&parcel->record);
    if (file < 0) {
        return file;
    }
    struct greeting greeting = {parcel->record.length, parcel->fd_count};
    error = send_fds(socket, &greeting, sizeof(greeting), &file, 1,
                     ms == 0 ? MSG_DONTWAIT : 0);
    for (size_t at = 0; at < parcel->fd_count && error == 0;) {
        size_t rest = parcel->fd_count - at;
        size_t count = rest < MOST_FDS_AT_ONCE ? rest : (size_t)MOST_FDS_AT_ONCE;
        char word = 'f';
        error = send_fds(socket, &word, 1, parcel->fds + at, count, 0);
        at += count;
    }
    if (error == 0) {
        record_clear(&parcel->record);
        parcel->record.is_shared = true;
        parcel->fd_count = 0;
    }
    return error;
}

/* Receiving */

static void keep_fds(struct parcel *parcel, const struct cmsghdr *header) {
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
        if (has_place(parcel)) {
            parcel->fds[parcel->fd_count++] = fd;
        } else {
            close(fd);
            parcel->record.failed = true;
        }
    }
}

/* Receives a message, and the descriptors that come with it. Returns its bytes, or an
 * error code. */
static ssize_t receive_fds(struct parcel *parcel, int socket, void *bytes, size_t size) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int) * MOST_FDS_AT_ONCE)];
    } control;
    struct iovec piece = {bytes, size};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    ssize_t count;
    do {
        count = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    } while (count < 0 && errno == EINTR);
    if (count < 0) {
        return -errno;
    }
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
        keep_fds(parcel, header);
    }
    bool cut = message.msg_flags & MSG_CTRUNC; /* no descriptor was left */
    return cut || parcel->record.failed ? -EMFILE : count == 0 ? -EPIPE : count;
}

/* Maps the file, which is the first descriptor. */
static int map(struct parcel *parcel, const struct greeting *greeting) {
    struct stat status;
    int file = parcel->fds[0];
    if (fstat(file, &status) < 0 || (uint64_t)status.st_size != greeting->bytes) {
        return -EPROTO;
    }
    parcel->mapped_size = greeting->bytes ? (size_t)greeting->bytes : 1;
    void *mapped =
        mmap(NULL, parcel->mapped_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (mapped == MAP_FAILED) {
        return -errno;
    }
    parcel->mapped = mapped;
    parcel->left = (struct reading){mapped, (size_t)greeting->bytes, false};
    close(file);
    parcel->fds_taken = 1;
    return 0;
}

static int receive(struct parcel *parcel, int socket) {
    struct greeting greeting;
    ssize_t count = receive_fds(parcel, socket, &greeting, sizeof(greeting));
    if (count < 0) {
        return (int)count;
    }
    if (count != sizeof(greeting) || parcel->fd_count != 1) {
        return -EPROTO;
    }
    int error = map(parcel, &greeting);
    while (error == 0 && parcel->fd_count < greeting.fds + 1) {
        char word;
        count = receive_fds(parcel, socket, &word, sizeof(word));
        error = count < 0 ? (int)count : 0;
    }
    return error;
}

struct parcel *parcel_receive(int socket, uint32_t ms, int *error) {
    struct parcel *parcel = parcel_new();
    *error = parcel ? parcel_set_patience(socket, ms) : -ENOMEM;
    if (*error == 0) {
        *error = receive(parcel, socket);
    }
    if (*error < 0) {
        for (size_t i = 0; parcel && !parcel->mapped && i < parcel->fd_count; i++) {
            close(parcel->fds[i]);
        }
        parcel_free(parcel);
        return NULL;
    }
    return parcel;
}

bool parcel_next(struct parcel *parcel, struct parcel_item *item) {
    struct reading *left = &parcel->left;
    while (parcel->fds_due > 0) {
        close(parcel_take_fd(parcel));
    }
    if (left->length == 0) {
        return false;
    }
    item->type = (uint8_t)reading_number(left, 1);
    item->value = (uint32_t)reading_number(left, 4);
    item->fd_count = (uint32_t)reading_number(left, 4);
    item->bytes = reading_bytes(left, &item->length);
    left->failed |= item->fd_count > MOST_ITEM_FDS ||
                    item->fd_count > parcel->fd_count - parcel->fds_taken;
    parcel->fds_due = left->failed ? 0 : item->fd_count;
    return !left->failed;
}

int parcel_take_fd(struct parcel *parcel) {
    if (parcel->fds_due == 0) {
        return -1;
    }
    parcel->fds_due--;
    return parcel->fds[parcel->fds_taken++];
}
