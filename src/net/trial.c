/* trial.c: whether io_uring works here, by making one and using all that is used of it.
 */
#include "net/ring.h"

#ifdef SYNC_URING
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct trial {
    struct ring *ring;
    int pair[2];
};

/* Waits a second at most for a completion of this name: another is not expected. */
static bool completes(struct trial *trial, uint64_t name, int32_t result,
                      uint32_t *flags) {
    struct io_uring_cqe *completion = NULL;
    if (io_uring_peek_cqe(&trial->ring->uring, &completion) < 0) {
        if (trial->ring->kind == RING_THREAD) {
            ring_submit(trial->ring);
            ring_wait_for_one(trial->ring, 1000);
        } else {
            ring_wait(trial->ring, 1000);
        }
        io_uring_peek_cqe(&trial->ring->uring, &completion);
    }
    if (!completion) {
        return false;
    }
    bool good = completion->user_data == name && completion->res == result;
    *flags = completion->flags;
    if (completion->flags & IORING_CQE_F_BUFFER) {
        ring_take(trial->ring, completion);
    }
    io_uring_cqe_seen(&trial->ring->uring, completion);
    return good;
}

/* A receive goes on from message to message, and ends at the bound. */
static bool receives(struct trial *trial) {
    struct ring *ring = trial->ring;
    uint32_t flags;
    struct io_uring_sqe *entry = ring_entry(ring);
    ring_receive(ring, entry, trial->pair[0]);
    io_uring_sqe_set_data64(entry, 1);
    ring_submit(ring);
    if (write(trial->pair[1], "ab", 2) != 2 || !completes(trial, 1, 2, &flags) ||
        !(flags & IORING_CQE_F_BUFFER)) {
        return false;
    }
    if (!ring->limits) {
        return !(flags & IORING_CQE_F_MORE);
    }
    char piece[RING_BUFFER] = {0};
    int32_t total = 2;
    while (total < RING_CLIENT_MOST && flags & IORING_CQE_F_MORE) {
        if (write(trial->pair[1], piece, sizeof(piece)) != sizeof(piece) ||
            !completes(trial, 1, sizeof(piece), &flags)) {
            return false;
        }
        total += (int32_t)sizeof(piece);
    }
    return total <= RING_CLIENT_MOST && !(flags & IORING_CQE_F_MORE);
}

/* Sends, followed by a mark, which is named by 1 more. */
static void send_marked(struct trial *trial, const struct iovec *pieces, int count,
                        uint64_t name) {
    struct io_uring_sqe *entry = ring_entry(trial->ring);
    ring_send(trial->ring, entry, trial->pair[0], pieces, count);
    io_uring_sqe_set_data64(entry, name);
    entry = ring_entry(trial->ring);
    ring_mark(entry);
    io_uring_sqe_set_data64(entry, name + 1);
    ring_submit(trial->ring);
}

/* A send that is done whole says nothing; one that isn't says how much was, before what
 * marks the end. */
static bool sends(struct trial *trial) {
    static char much[1024 * 1024];
    uint32_t flags;
    char bytes[2] = {0};
    struct iovec pieces[2] = {{"c", 1}, {"d", 1}};
    struct iovec large = {much, sizeof(much)};
    struct io_uring_cqe *completion;
    send_marked(trial, pieces, 2, 2);
    if (!completes(trial, 3, 0, &flags) || read(trial->pair[1], bytes, 2) != 2 ||
        memcmp(bytes, "cd", 2) != 0) {
        return false;
    }
    send_marked(trial, &large, 1, 2);
    if (io_uring_wait_cqe(&trial->ring->uring, &completion) < 0) {
        return false;
    }
    int32_t part = completion->res;
    return part > 0 && part < (int32_t)sizeof(much) &&
           completes(trial, 2, part, &flags) && completes(trial, 3, 0, &flags);
}

/* A poll and a receive can be cancelled by their names. */
static bool cancels(struct trial *trial) {
    struct ring *ring = trial->ring;
    uint32_t flags;
    struct io_uring_sqe *entry = ring_entry(ring);
    ring_receive(ring, entry, trial->pair[0]);
    io_uring_sqe_set_data64(entry, 4);
    ring_submit(ring);
    entry = ring_entry(ring);
    io_uring_prep_cancel64(entry, 4, 0);
    io_uring_sqe_set_data64(entry, 5);
    entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
    return completes(trial, 4, -ECANCELED, &flags);
}

static const char *try_ring(struct ring *ring) {
    struct trial trial = {ring, {-1, -1}};
    const char *problem = NULL;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, trial.pair)) {
        return "no sockets to test io_uring with";
    }
    if (!receives(&trial)) {
        problem = "this kernel's io_uring does not receive as is needed";
    } else if (!sends(&trial)) {
        problem = "this kernel's io_uring does not send as is needed";
    } else if (!cancels(&trial)) {
        problem = "this kernel's io_uring does not cancel as is needed";
    }
    close(trial.pair[0]);
    close(trial.pair[1]);
    return problem;
}

static bool is_disabled(void) {
    int value = 0;
    FILE *file = fopen("/proc/sys/kernel/io_uring_disabled", "re");
    if (file) {
        if (fscanf(file, "%d", &value) != 1) {
            value = 0;
        }
        fclose(file);
    }
    return value > 0;
}

static const char *why_not(int error) {
    switch (error) {
    case -ENOSYS: return "this kernel has no io_uring";
    case -EPERM:
    case -EACCES:
        return is_disabled() ? "kernel.io_uring_disabled forbids io_uring"
                             : "seccomp or another rule of this system forbids io_uring";
    case -EINVAL: return "this kernel's io_uring is too old: 6.0 or later is needed";
    case -ENOMEM: return "an io_uring gets no memory: RLIMIT_MEMLOCK may be too small";
    case -EMFILE:
    case -ENFILE: return "there are no files left for an io_uring";
    default: return "this system does not make an io_uring";
    }
}

static const char *find_problem(enum ring_kind kind, bool *limits) {
    const char *problem = NULL;
    for (int with = 1; with >= 0; with--) {
        struct ring ring;
        int error = ring_open(&ring, kind, with);
        if (error < 0) {
            return why_not(error);
        }
        *limits = with;
        problem = try_ring(&ring);
        ring_close(&ring);
        if (!problem) {
            return NULL;
        }
    }
    return problem;
}

const char *ring_problem(enum ring_kind kind, bool *limits) {
    static struct {
        bool looked;
        bool limits;
        const char *problem;
    } found[RING_SLEEPER];
    if (!found[kind].looked) {
        found[kind].looked = true;
        found[kind].problem = find_problem(kind, &found[kind].limits);
    }
    *limits = found[kind].limits;
    return found[kind].problem;
}
#endif
