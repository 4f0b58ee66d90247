/* pump.c: a thread that enters an io_uring for its owner. */
#include "net/pump.h"

#ifdef SYNC_URING
#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Entries that were published, and that the kernel hasn't taken. */
static uint32_t pending(const struct pump *pump) {
    const struct io_uring_sq *queue = &pump->uring->sq;
    return io_uring_smp_load_acquire(queue->ktail) -
           io_uring_smp_load_acquire(queue->khead);
}

/* Work for what was asked for earlier is done here, too: the kernel interrupts the sleep
 * for it, and goes on sleeping. */
static void sleep_until_rung(struct pump *pump) {
    uint64_t count;
    __atomic_store_n(&pump->asleep, true, __ATOMIC_SEQ_CST);
    if (pending(pump) == 0 && !__atomic_load_n(&pump->stops, __ATOMIC_SEQ_CST)) {
        while (read(pump->bell, &count, sizeof(count)) < 0 && errno == EINTR) {
        }
    }
    __atomic_store_n(&pump->asleep, false, __ATOMIC_SEQ_CST);
}

/* When the kernel takes none, since it's short of memory, or its completions aren't
 * taken, asking at once would be in vain. */
static void enter(const struct pump *pump, uint32_t count) {
    struct timespec while_short = {.tv_nsec = 1000000};
    long taken = syscall(__NR_io_uring_enter, pump->uring->ring_fd, count, 0, 0, NULL, 0);
    if (taken < 0 && errno != EINTR) {
        nanosleep(&while_short, NULL);
    }
}

static void run(void *data) {
    struct pump *pump = data;
    while (!__atomic_load_n(&pump->stops, __ATOMIC_SEQ_CST)) {
        uint32_t count = pending(pump);
        if (count > 0) {
            enter(pump, count);
        } else {
            sleep_until_rung(pump);
        }
    }
}

static void ring_bell(struct pump *pump) {
    uint64_t one = 1;
    if (__atomic_exchange_n(&pump->asleep, false, __ATOMIC_SEQ_CST)) {
        while (write(pump->bell, &one, sizeof(one)) < 0 && errno == EINTR) {
        }
    }
}

/* Signals are for the thread that runs the loop. */
static int start(struct pump *pump) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = uv_thread_create(&pump->thread, run, pump);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

int pump_open(struct pump *pump, struct io_uring *uring) {
    *pump = (struct pump){.uring = uring, .bell = eventfd(0, EFD_CLOEXEC)};
    if (pump->bell < 0) {
        pump->uring = NULL;
        return -errno;
    }
    int error = start(pump);
    if (error < 0) {
        close(pump->bell);
        pump->uring = NULL;
    }
    return error;
}

void pump_close(struct pump *pump) {
    __atomic_store_n(&pump->stops, true, __ATOMIC_SEQ_CST);
    ring_bell(pump);
    uv_thread_join(&pump->thread);
    close(pump->bell);
}

void pump_submit(struct pump *pump) {
    struct io_uring_sq *queue = &pump->uring->sq;
    uint32_t tail = *queue->ktail;
    if (queue->sqe_head != queue->sqe_tail) {
        for (; queue->sqe_head != queue->sqe_tail; queue->sqe_head++, tail++) {
            queue->array[tail & queue->ring_mask] = queue->sqe_head & queue->ring_mask;
        }
        io_uring_smp_store_release(queue->ktail, tail);
        ring_bell(pump);
    }
}
#endif
