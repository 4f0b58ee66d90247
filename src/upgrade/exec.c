/* exec.c: the parent of workers becomes its next program: what workers share goes along,
 * and the process stays. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include "upgrade/parcel.h"
#include "workers/adopted.h"
#include "workers/broker.h"
#include "workers/shares.h"

static void add_all(struct parcel *parcel, const int *fds, int count) {
    for (int i = 0; i < count; i++) {
        parcel_add_fd(parcel, fds[i]);
    }
}

void sync_parcel_workers(struct sync *sync, struct sync_parcel *parcel) {
    struct core *core = core_of(sync);
    struct parcel *to = parcel_of(parcel);
    int asker;
    for (uint32_t place = 0; (asker = broker_asker(core, place)) >= 0; place++) {
        size_t begun = parcel_begin(to, SYNC_ITEM_WORKER, place);
        parcel_add_fd(to, asker);
        parcel_end(to, begun);
    }
    int fds[BIND_MOST];
    int count = 0;
    for (uint32_t place = 0; count >= 0; place++) {
        size_t begun = parcel_begin(to, SYNC_ITEM_BOUND, place);
        count = broker_write_offer(core, place, &to->record, fds);
        if (count < 0) {
            parcel_undo(to, begun, to->fd_count);
        } else {
            add_all(to, fds, count);
            parcel_end(to, begun);
        }
    }
    size_t begun = parcel_begin(to, SYNC_ITEM_SHARES, core->share_count);
    parcel_add_fd(to, core->shares_fd);
    parcel_end(to, begun);
}

int32_t sync_parcel_take_workers(struct sync *sync, struct sync_parcel *parcel,
                                 const struct sync_item *item) {
    struct core *core = core_of(sync);
    struct parcel *from = parcel_of(parcel);
    int fds[BIND_MOST];
    uint32_t count = 0;
    while (from->fds_due > 0 && count < BIND_MOST) {
        fds[count++] = parcel_take_fd(from);
    }
    struct reading reading = {item->data, item->length, false};
    if (item->type == SYNC_ITEM_BOUND) {
        return broker_read_offer(core, &reading, fds, count);
    }
    if (count != 1) {
        return UV_EINVAL;
    }
    return item->type == SYNC_ITEM_WORKER ? broker_serve(core, fds[0])
                                          : shares_go_on(core, fds[0], item->value);
}

uint32_t sync_parcel_sum(struct sync_parcel *parcel) {
    const struct parcel *of = parcel_of(parcel);
    const char *bytes = of->mapped ? of->mapped : of->record.bytes;
    size_t length = of->mapped ? of->mapped_size : of->record.length;
    return (uint32_t)crc32_z(0, (const unsigned char *)bytes, length);
}

int32_t sync_next_pair(int32_t *fds) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        return -errno;
    }
    fds[0] = pair[0];
    fds[1] = pair[1];
    return 0;
}

static const char VARIABLE[] = "SYNC_GOES_ON";

/* Those that would end a program that hasn't any handlers yet. */
static void block_signals(int how) {
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < 5; i++) {
        sigaddset(&set, (const int[]){SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2}[i]);
    }
    pthread_sigmask(how, &set, NULL);
}

int32_t sync_exec(const char *const *arguments, int32_t fd) {
    char text[16];
    char **words;
    snprintf(text, sizeof(text), "%d", fd);
    memcpy(&words, &arguments, sizeof(words)); /* execvp doesn't write to them */
    block_signals(SIG_BLOCK);
    setenv(VARIABLE, text, 1);
    fcntl(fd, F_SETFD, 0);
    execvp(arguments[0], words);
    int error = -errno;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    unsetenv(VARIABLE);
    block_signals(SIG_UNBLOCK);
    return error;
}

int32_t sync_exec_fd(void) {
    const char *text = getenv(VARIABLE);
    int fd = text ? atoi(text) : -1;
    unsetenv(VARIABLE);
    return fd > STDERR_FILENO && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 ? fd : -1;
}

void sync_exec_done(void) {
    block_signals(SIG_UNBLOCK);
}

int32_t sync_adopt_worker(struct sync *sync, int32_t process) {
    return adopted_add(core_of(sync), process);
}
