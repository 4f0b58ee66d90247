/* ring.c: an io_uring and the buffers that it receives into. */
#include "net/ring.h"

#ifdef SYNC_URING
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#ifndef IORING_SETUP_DEFER_TASKRUN
#error "liburing is too old: 2.3 or later is needed"
#endif

enum {
    ENTRIES = 2048,     /* of the submission queue */
    COMPLETIONS = 8192, /* more are kept by the kernel until there is room */
    MANY = 8,           /* times so many: a thread takes them when it comes to that */
    GROUP = 0,          /* of the buffers */
    FIRST_BUFFERS = 64, /* that are used from the beginning */
    MOST_LOOKS = 64     /* in a row */
};

static uint32_t entry_count(const struct ring *ring) {
    return ring->kind == RING_THREAD ? MANY * ENTRIES : ENTRIES;
}

static int thread_init(struct ring *ring) {
    struct io_uring_params params = {.flags = IORING_SETUP_COOP_TASKRUN |
                                              IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
                                     .cq_entries = MANY * COMPLETIONS};
    return io_uring_queue_init_params(entry_count(ring), &ring->uring, &params);
}

static int queue_init(struct ring *ring) {
    static const unsigned flags[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
            IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_COOP_TASKRUN,
        0,
    };
    int error = -EINVAL;
    for (size_t i = 0; i < sizeof(flags) / sizeof(*flags) && error == -EINVAL; i++) {
        struct io_uring_params params = {.flags = flags[i] | IORING_SETUP_CQSIZE |
                                                  IORING_SETUP_CLAMP,
                                         .cq_entries = COMPLETIONS};
        error = io_uring_queue_init_params(ENTRIES, &ring->uring, &params);
        ring->defers = flags[i] & IORING_SETUP_DEFER_TASKRUN;
    }
    return error;
}

static void *map(size_t size) {
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static void unmap(void *memory, size_t size) {
    if (memory) {
        munmap(memory, size);
    }
}

enum {
    ENTRIES_SIZE = RING_BUFFERS * sizeof(struct io_uring_buf),
    BUFFERS_SIZE = RING_BUFFERS * RING_BUFFER
};

static size_t messages_size(const struct ring *ring) {
    return entry_count(ring) * sizeof(struct ring_message);
}

static void add(struct ring *ring, uint32_t number, int offset) {
    io_uring_buf_ring_add(ring->entries, ring->buffers + (size_t)number * RING_BUFFER,
                          RING_BUFFER, (unsigned short)number,
                          io_uring_buf_ring_mask(RING_BUFFERS), offset);
}

static void use_more(struct ring *ring, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        add(ring, ring->used + i, (int)i);
    }
    io_uring_buf_ring_advance(ring->entries, (int)count);
    ring->used += count;
}

static int buffers_init(struct ring *ring) {
    ring->entries = map(ENTRIES_SIZE);
    ring->buffers = map(BUFFERS_SIZE);
    ring->messages = map(messages_size(ring));
    if (!ring->entries || !ring->buffers || !ring->messages) {
        return -ENOMEM;
    }
    struct io_uring_buf_reg group = {.ring_addr = (uintptr_t)ring->entries,
                                     .ring_entries = RING_BUFFERS,
                                     .bgid = GROUP};
    int error = io_uring_register_buf_ring(&ring->uring, &group, 0);
    if (error < 0) {
        return error;
    }
    use_more(ring, FIRST_BUFFERS);
    return 0;
}

int ring_open(struct ring *ring, enum ring_kind kind, bool limits) {
    *ring = (struct ring){.kind = kind, .limits = limits};
    int error = kind == RING_THREAD ? thread_init(ring) : queue_init(ring);
    if (error < 0 || kind == RING_SLEEPER) {
        return error;
    }
    error = buffers_init(ring);
    if (error == 0 && kind == RING_THREAD) {
        error = pump_open(&ring->pump, &ring->uring);
    }
    if (error < 0) {
        ring_close(ring);
    }
    return error;
}

void ring_close(struct ring *ring) {
    if (ring->pump.uring) {
        pump_close(&ring->pump);
    }
    io_uring_queue_exit(&ring->uring);
    unmap(ring->entries, ENTRIES_SIZE);
    unmap(ring->buffers, BUFFERS_SIZE);
    unmap(ring->messages, messages_size(ring));
}

struct io_uring_sqe *ring_entry(struct ring *ring) {
    struct io_uring_sqe *entry = io_uring_get_sqe(&ring->uring);
    if (!entry) {
        ring_submit(ring);
        entry = io_uring_get_sqe(&ring->uring);
    }
    return entry;
}

/* The bound is what Linux 6.17 has in sqe->optlen, which is where file_index lies; what
 * came before refuses any. */
void ring_receive(const struct ring *ring, struct io_uring_sqe *entry, int fd) {
    if (ring->limits) {
        io_uring_prep_recv_multishot(entry, fd, NULL, 0, 0);
        entry->file_index = RING_CLIENT_MOST - RING_BUFFER; /* the last may pass it */
    } else {
        io_uring_prep_recv(entry, fd, NULL, 0, 0);
    }
    entry->flags |= IOSQE_BUFFER_SELECT;
    entry->buf_group = GROUP;
}

/* MSG_DONTWAIT: what the socket doesn't take now isn't waited for, so that a send is over
 * when it's submitted. MSG_WAITALL: one that was done in part only has failed, and says
 * so. */
void ring_send(struct ring *ring, struct io_uring_sqe *entry, int fd,
               const struct iovec *pieces, int count) {
    int flags = MSG_NOSIGNAL | MSG_DONTWAIT | MSG_WAITALL;
    if (count == 1) {
        io_uring_prep_send(entry, fd, pieces->iov_base, pieces->iov_len, flags);
    } else {
        struct ring_message *message = &ring->messages[entry - ring->uring.sq.sqes];
        memcpy(message->pieces, pieces, (size_t)count * sizeof(*pieces));
        message->header =
            (struct msghdr){.msg_iov = message->pieces, .msg_iovlen = (size_t)count};
        io_uring_prep_sendmsg(entry, fd, &message->header, (unsigned)flags);
    }
    entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

/* Entries are begun in their order, and these sends end where they begin. */
void ring_mark(struct io_uring_sqe *entry) {
    io_uring_prep_nop(entry);
}

void ring_submit(struct ring *ring) {
    if (ring->kind == RING_THREAD) {
        pump_submit(&ring->pump);
    } else {
        io_uring_submit(&ring->uring);
    }
}

/* The kernel makes 20 deferred completions at a time. Not to wait, and to ask again,
 * costs less than to wait for many for no time, which sets a timer. */
void ring_get(struct ring *ring) {
    for (int i = 0; i < MOST_LOOKS && ring_has_more(ring); i++) {
        io_uring_get_events(&ring->uring);
    }
}

/* Only the thread hands entries over. */
void ring_wait_for_one(struct ring *ring, int timeout) {
    struct io_uring_cqe *completion;
    struct __kernel_timespec time = {timeout / 1000, timeout % 1000 * 1000000LL};
    io_uring_wait_cqe_timeout(&ring->uring, &completion, &time);
    ring_get(ring);
}

void ring_wait(struct ring *ring, int timeout) {
    struct io_uring_cqe *completion;
    struct __kernel_timespec time = {timeout / 1000, timeout % 1000 * 1000000LL};
    bool ready = ring_has_more(ring) || io_uring_cq_ready(&ring->uring) > 0;
    if (timeout == 0 || ready) {
        /* With nothing to do, and none deferred, there's no reason for a system call. */
        if (ready || !ring->defers || io_uring_sq_ready(&ring->uring) > 0) {
            io_uring_submit_and_get_events(&ring->uring);
        }
    } else if (timeout < 0) {
        io_uring_submit_and_wait(&ring->uring, 1);
    } else {
        io_uring_submit_and_wait_timeout(&ring->uring, &completion, 1, &time, NULL);
    }
    ring_get(ring);
}

char *ring_take(struct ring *ring, const struct io_uring_cqe *completion) {
    uint32_t number = completion->flags >> IORING_CQE_BUFFER_SHIFT;
    ring->taken[number / 64] |= 1ULL << number % 64;
    ring->taken_count++;
    return ring->buffers + (size_t)number * RING_BUFFER;
}

void ring_give_back(struct ring *ring) {
    int count = 0;
    bool scarce = ring->taken_count > ring->used / 2 && ring->used < RING_BUFFERS;
    uint32_t last = ring->next;
    for (uint32_t i = 0; i <= ring->used / 64 && ring->taken_count > 0; i++) {
        uint32_t word = (ring->next / 64 + i) % (ring->used / 64);
        uint64_t bits = ring->taken[word];
        if (i == 0) {
            bits &= ~0ULL << ring->next % 64; /* those before come last */
        }
        ring->taken[word] &= ~bits;
        for (; bits; bits &= bits - 1) {
            last = word * 64 + (uint32_t)__builtin_ctzll(bits);
            add(ring, last, count++);
            ring->taken_count--;
        }
    }
    if (count > 0) {
        io_uring_buf_ring_advance(ring->entries, count);
        ring->next = (last + 1) % ring->used;
    }
    if (scarce) {
        use_more(ring, ring->used);
    }
}

void ring_trim(struct ring *ring) {
    if (ring->taken_count == 0) {
        madvise(ring->buffers, BUFFERS_SIZE, MADV_DONTNEED);
    }
}
#endif
