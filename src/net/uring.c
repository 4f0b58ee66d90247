/* uring.c: receives and sends by an io_uring: one system call a tick for all sockets.
 *
 * Receiving is asked for once, and goes on by itself into the ring's buffers: what has
 * come lies in them until the tick ends. What a tick has no room for is then copied, so
 * that whoever isn't read keeps no buffer from others; it's at most RING_CLIENT_MOST, for
 * receiving ends there, and is asked for again when all is read. When buffers run out,
 * who got none is first to be asked for again.
 *
 * Sends are gathered in a tick and submitted with the next sleep. A submitted one is
 * over: what a socket doesn't take is left, and waited for as in epoll.
 *
 * The ring sleeps for libuv, too: it polls libuv's own descriptor, and libuv runs when
 * that is ready or a timer is due.
 */
#include "net/backends.h"

#ifdef SYNC_URING
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/ring.h"

enum { CHUNK = 1024 /* lines that are allocated at once */ };

/* What a completion is of: the lowest bits of its name. */
enum { OF_NOTHING, OF_LOOP, OF_RECEIVE, OF_ROOM, OF_SEND, NAME_KIND = 7 };

/* Bytes of a client that lie together. */
struct run {
    char *bytes;
    uint32_t length;
    struct run *next;
};

/* Bytes that an earlier tick had no room for. */
struct kept {
    struct kept *next; /* of those that were read, and that events point into */
    uint32_t start;
    uint32_t length;
    char bytes[];
};

/* One descriptor. */
struct line {
    struct stream *stream; /* NULL: none of ours */
    struct kept *kept;
    struct run *first; /* behind what is kept */
    struct run *last;
    struct line *next_waiting;
    struct line *next_due;
    struct line *next_flown;
    uint64_t fed; /* the last tick in which something came */
    uint32_t generation;
    int32_t fd;
    int32_t end;     /* what comes behind all bytes: UV_EOF, an error code, or 0 */
    uint32_t flying; /* bytes that are being sent */
    int32_t landed;  /* of which so many were, or an error code */
    bool receiving;
    bool cancelling;
    bool rooming; /* it's polled for room */
    bool forgetting;
    bool has_room;
    bool broken; /* while it's paused, and so nothing is received */
    bool in_waiting;
    bool in_due;
};

struct queue {
    struct line *first;
    struct line *last;
};

struct uring {
    struct poller *poller;
    struct ring ring;
    struct line **chunks; /* by descriptor */
    size_t chunk_count;
    struct run runs[RING_BUFFERS]; /* by the buffer that one begins in */
    struct kept *spent;
    struct queue waiting; /* have something to tell */
    struct queue due;     /* want entries; those that had nothing before the others */
    struct queue due_late;
    struct queue flown;
    uint64_t tick;
    uint32_t open;
    bool looping; /* libuv's descriptor is polled */
    bool loop_ready;
    bool progress;
    bool pushed;  /* something may have come since the tick began */
    bool outside; /* of a tick: the program may do anything before the next */
    bool hurries; /* the next sleep is none */
};

/* Queues: one for each link that a line has. */

#define PUSH(queue, line, link)                                                          \
    do {                                                                                 \
        (line)->link = NULL;                                                             \
        if ((queue)->first) {                                                            \
            (queue)->last->link = (line);                                                \
        } else {                                                                         \
            (queue)->first = (line);                                                     \
        }                                                                                \
        (queue)->last = (line);                                                          \
    } while (0)

static struct uring *uring_of(const struct poller *poller) {
    return poller->state;
}

static struct line *line_at(const struct uring *uring, int fd) {
    return &uring->chunks[fd / CHUNK][fd % CHUNK];
}

static uint64_t name_of(const struct line *line, uint32_t kind) {
    return (uint64_t)line->generation << 35 | (uint64_t)(uint32_t)line->fd << 3 | kind;
}

static bool has_bytes(const struct line *line) {
    return line->kept || line->first;
}

static bool is_closing(const struct line *line) {
    return line->stream->closing;
}

static void wait_to_tell(struct uring *uring, struct line *line) {
    if (!line->in_waiting) {
        line->in_waiting = true;
        PUSH(&uring->waiting, line, next_waiting);
    }
}

/* What it has asked the kernel for may not be what it wants any more. */
static void reconsider(struct uring *uring, struct line *line) {
    if (!line->in_due) {
        struct queue *due = line->fed == uring->tick ? &uring->due_late : &uring->due;
        line->in_due = true;
        PUSH(due, line, next_due);
    }
}

static void spend(struct uring *uring, struct kept *kept) {
    if (kept) {
        kept->next = uring->spent;
        uring->spent = kept;
    }
}

/* All that was asked for is over: the descriptor can be closed, and used again. */
static void close_if_over(struct uring *uring, struct line *line) {
    if (line->receiving || line->rooming || line->flying) {
        reconsider(uring, line);
        return;
    }
    close(line->fd);
    line->stream->closing = false;
    line->stream = NULL;
    line->generation++;
    uring->open--;
}

/* Asking. */

static bool ask_for_bytes(struct uring *uring, struct line *line) {
    struct io_uring_sqe *entry = ring_entry(&uring->ring);
    if (!entry) {
        return false;
    }
    ring_receive(&uring->ring, entry, line->fd);
    entry->user_data = name_of(line, OF_RECEIVE);
    line->receiving = true;
    return true;
}

/* A poll for once would end at once for a client that has ended its side; this one tells
 * of changes only. */
static bool ask_for_room(struct uring *uring, struct line *line) {
    struct io_uring_sqe *entry = ring_entry(&uring->ring);
    if (!entry) {
        return false;
    }
    io_uring_prep_poll_multishot(entry, line->fd, POLLOUT);
    entry->user_data = name_of(line, OF_ROOM);
    line->rooming = true;
    return true;
}

static bool cancel(struct uring *uring, const struct line *line, uint32_t kind) {
    struct io_uring_sqe *entry = ring_entry(&uring->ring);
    if (!entry) {
        return false;
    }
    io_uring_prep_cancel64(entry, name_of(line, kind), 0);
    entry->user_data = OF_NOTHING;
    entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
    return true;
}

/* Asks for what a line wants, and cancels what it doesn't. Returns false when the kernel
 * takes no more entries now. */
static bool ask(struct uring *uring, struct line *line) {
    const struct stream *stream = line->stream;
    bool closing = stream->closing;
    bool wants_bytes = !closing && !stream->paused && !line->end && !has_bytes(line);
    /* A poll tells of a reset, too, which nothing else does while it's paused. */
    bool wants_room = !closing && (stream->full || (stream->paused && !line->end));
    bool asked = true;
    if (wants_bytes && !line->receiving) {
        asked &= ask_for_bytes(uring, line);
    } else if ((closing || stream->paused) && line->receiving && !line->cancelling) {
        line->cancelling = cancel(uring, line, OF_RECEIVE);
        asked &= line->cancelling;
    }
    if (wants_room && !line->rooming) {
        asked &= ask_for_room(uring, line);
    } else if (!wants_room && line->rooming && !line->forgetting) {
        line->forgetting = cancel(uring, line, OF_ROOM);
        asked &= line->forgetting;
    }
    return asked;
}

/* Not more are asked for than there are buffers: who finds none is asked for again. */
static void ask_all(struct uring *uring, struct queue *queue, uint32_t *left) {
    while (queue->first && *left > 0) {
        struct line *line = queue->first;
        if (line->stream && !ask(uring, line)) {
            return;
        }
        queue->first = line->next_due;
        line->in_due = false;
        --*left;
    }
}

static void ask_for_loop(struct uring *uring) {
    struct io_uring_sqe *entry = uring->looping ? NULL : ring_entry(&uring->ring);
    if (entry) {
        io_uring_prep_poll_add(entry, uv_backend_fd(uring->poller->loop), POLLIN);
        entry->user_data = OF_LOOP;
        uring->looping = true;
    }
}

/* Completions. */

static void add_bytes(struct uring *uring, struct line *line, char *bytes,
                      uint32_t length) {
    if (line->last && line->last->bytes + line->last->length == bytes) {
        line->last->length += length;
        return;
    }
    struct run *run = &uring->runs[(bytes - uring->ring.buffers) / RING_BUFFER];
    *run = (struct run){.bytes = bytes, .length = length};
    if (line->last) {
        line->last->next = run;
    } else {
        line->first = run;
    }
    line->last = run;
}

/* Receiving is over, for now or for good. */
static void received_last(struct uring *uring, struct line *line, int32_t result) {
    line->receiving = false;
    line->cancelling = false;
    if (is_closing(line)) {
        close_if_over(uring, line);
    } else if (result == 0) {
        line->end = UV_EOF;
    } else if (result < 0 && result != -ECANCELED && result != -ENOBUFS &&
               result != -EINTR && result != -EAGAIN) {
        line->end = result;
    }
    if (line->stream && !line->end) {
        reconsider(uring, line);
    }
}

static void on_received(struct uring *uring, struct line *line,
                        const struct io_uring_cqe *completion) {
    char *bytes = NULL;
    if (completion->flags & IORING_CQE_F_BUFFER) {
        bytes = ring_take(&uring->ring, completion);
    }
    if (completion->res > 0 && bytes) {
        line->fed = uring->tick;
        if (!is_closing(line)) {
            add_bytes(uring, line, bytes, (uint32_t)completion->res);
        }
    }
    if (!(completion->flags & IORING_CQE_F_MORE)) {
        received_last(uring, line, completion->res);
    }
    if (line->stream && (has_bytes(line) || line->end)) {
        wait_to_tell(uring, line);
    }
}

static void on_room(struct uring *uring, struct line *line,
                    const struct io_uring_cqe *completion) {
    bool over = !(completion->flags & IORING_CQE_F_MORE);
    if (over) {
        line->rooming = false;
        line->forgetting = false;
    }
    if (is_closing(line)) {
        close_if_over(uring, line);
        return;
    }
    if (line->stream->paused && completion->res > 0 &&
        completion->res & (POLLERR | POLLHUP)) {
        line->broken = true;
        wait_to_tell(uring, line);
    }
    if (line->stream->full && completion->res > 0 &&
        completion->res & (POLLOUT | POLLERR | POLLHUP)) {
        line->has_room = true;
        wait_to_tell(uring, line);
    }
    if (over && line->stream->full) {
        reconsider(uring, line);
    }
}

static void complete(struct uring *uring, const struct io_uring_cqe *completion) {
    uint32_t kind = completion->user_data & NAME_KIND;
    if (kind == OF_NOTHING) {
        return;
    }
    if (kind == OF_LOOP) {
        uring->looping = false;
        uring->loop_ready = true;
        return;
    }
    /* Its line is in use until this, the last of what it has asked for, is over. */
    struct line *line = line_at(uring, (int)(uint32_t)(completion->user_data >> 3));
    switch (kind) {
    case OF_RECEIVE: on_received(uring, line, completion); break;
    case OF_ROOM: on_room(uring, line, completion); break;
    default: line->landed = completion->res; break; /* a send that has failed */
    }
}

static void reap(struct uring *uring) {
    struct io_uring_cqe *completion;
    unsigned head;
    unsigned count = 0;
    io_uring_for_each_cqe(&uring->ring.uring, head, completion) {
        complete(uring, completion);
        count++;
    }
    io_uring_cq_advance(&uring->ring.uring, count);
}

/* What was submitted is sent, or has said why not. */
static void land(struct uring *uring) {
    struct line *line = uring->flown.first;
    if (io_uring_sq_ready(&uring->ring.uring) > 0) {
        uring->hurries = true; /* the kernel took only a part */
        return;
    }
    uring->flown = (struct queue){0};
    while (line) {
        struct line *next = line->next_flown;
        line->flying = 0;
        line->stream->flying = false;
        if (is_closing(line)) {
            close_if_over(uring, line);
        } else {
            uring->poller->sent(line->stream, line->landed);
        }
        line = next;
    }
}

/* Telling. */

/* Copies what lies in the ring's buffers, which are given back when the tick ends. */
static void keep(struct uring *uring, struct line *line) {
    uint32_t length = line->kept ? line->kept->length : 0;
    for (struct run *run = line->first; run; run = run->next) {
        length += run->length;
    }
    struct kept *kept = malloc(sizeof(*kept) + length);
    if (kept) {
        *kept = (struct kept){.length = length};
        char *place = kept->bytes;
        if (line->kept) {
            memcpy(place, line->kept->bytes + line->kept->start, line->kept->length);
            place += line->kept->length;
        }
        for (struct run *run = line->first; run; run = run->next) {
            memcpy(place, run->bytes, run->length);
            place += run->length;
        }
    } else {
        line->end = UV_ENOMEM;
    }
    spend(uring, line->kept);
    line->kept = kept;
    line->first = NULL;
    line->last = NULL;
}

/* Tells of one line. Returns whether there's more to tell of in this tick. */
static bool tell_one(struct uring *uring, struct line *line) {
    struct stream *stream = line->stream;
    bool readable = !stream->paused && (has_bytes(line) || line->end);
    bool reset = line->end && line->end != UV_EOF;
    uint32_t events =
        (readable ? (uint32_t)POLLIN : 0) | (line->has_room ? (uint32_t)POLLOUT : 0) |
        (reset || (line->broken && stream->paused) ? (uint32_t)(POLLERR | POLLHUP) : 0);
    line->has_room = false;
    line->broken = false;
    uring->progress = false;
    if (events) {
        uring->poller->ready(stream, events);
    }
    return uring->progress && line->stream && !is_closing(line) && !stream->paused &&
           has_bytes(line);
}

/* Tells of all that have something, those first that have waited longest. */
static void tell(struct uring *uring) {
    struct queue later = {0};
    while (uring->waiting.first) {
        struct line *line = uring->waiting.first;
        uring->waiting.first = line->next_waiting;
        line->in_waiting = false;
        if (!line->stream || is_closing(line)) {
            continue;
        }
        if (tell_one(uring, line)) {
            wait_to_tell(uring, line);
        } else if (line->stream && !is_closing(line) && !line->in_waiting) {
            if (line->first) {
                keep(uring, line);
            }
            if (!line->stream->paused && (has_bytes(line) || line->end)) {
                line->in_waiting = true;
                PUSH(&later, line, next_waiting);
            }
        }
    }
    uring->waiting = later;
}

/* The backend. */

static void end_tick(struct uring *uring) {
    for (struct line *line = uring->waiting.first; line && uring->pushed;
         line = line->next_waiting) {
        if (line->first) {
            keep(uring, line); /* it came between two ticks */
        }
    }
    uring->pushed = false;
    uring->tick++;
    while (uring->spent) {
        struct kept *next = uring->spent->next;
        free(uring->spent);
        uring->spent = next;
    }
    ring_give_back(&uring->ring);
}

/* How long the ring may sleep, in ms; -1: for ever. */
static int sleep_time(const struct uring *uring, bool block) {
    uv_loop_t *loop = uring->poller->loop;
    bool busy = uring->hurries || uring->waiting.first || uring->due.first ||
                uring->due_late.first;
    if (!block || busy) {
        return 0;
    }
    uv_update_time(loop);
    if (!uv_loop_alive(loop)) {
        return uring->open > 0 ? -1 : 0;
    }
    return uv_backend_timeout(loop);
}

static void run_loop(struct uring *uring) {
    uv_loop_t *loop = uring->poller->loop;
    uv_update_time(loop);
    if (uring->loop_ready || uv_backend_timeout(loop) == 0) {
        uring->loop_ready = false;
        uv_run(loop, UV_RUN_NOWAIT);
    }
}

static bool wait_in_ring(struct poller *poller, bool block) {
    struct uring *uring = uring_of(poller);
    uint32_t left = RING_BUFFERS;
    uring->outside = false;
    end_tick(uring);
    ask_all(uring, &uring->due, &left);
    ask_all(uring, &uring->due_late, &left);
    ask_for_loop(uring);
    int time = sleep_time(uring, block);
    uring->hurries = false;
    ring_wait(&uring->ring, time);
    reap(uring);
    land(uring);
    run_loop(uring);
    tell(uring);
    return uring->open > 0 || uv_loop_alive(poller->loop);
}

static void push(struct poller *poller) {
    struct uring *uring = uring_of(poller);
    uint32_t left = RING_BUFFERS;
    uring->outside = true;
    if (uring->flown.first || uring->due.first || uring->due_late.first) {
        ask_all(uring, &uring->due, &left);
        ask_all(uring, &uring->due_late, &left);
        ring_wait(&uring->ring, 0);
        uring->pushed = true;
        reap(uring);
        land(uring);
    }
}

static void hurry(struct poller *poller) {
    uring_of(poller)->hurries = true;
}

static int make_room(struct uring *uring, size_t fd) {
    size_t count = fd / CHUNK + 1;
    if (count > uring->chunk_count) {
        struct line **chunks = realloc(uring->chunks, count * sizeof(struct line *));
        if (!chunks) {
            return UV_ENOMEM;
        }
        memset(chunks + uring->chunk_count, 0,
               (count - uring->chunk_count) * sizeof(struct line *));
        uring->chunks = chunks;
        uring->chunk_count = count;
    }
    struct line **chunk = &uring->chunks[fd / CHUNK];
    *chunk = *chunk ? *chunk : calloc(CHUNK, sizeof(struct line));
    return *chunk ? 0 : UV_ENOMEM;
}

static int add(struct poller *poller, struct stream *stream) {
    struct uring *uring = uring_of(poller);
    int error = make_room(uring, (size_t)stream->fd);
    if (error < 0) {
        return error;
    }
    struct line *line = line_at(uring, stream->fd);
    line->fd = stream->fd;
    line->stream = stream;
    line->end = 0;
    line->fed = 0;
    line->has_room = false;
    line->broken = false;
    uring->open++;
    reconsider(uring, line);
    return 0;
}

static void watch(struct poller *poller, struct stream *stream) {
    struct uring *uring = uring_of(poller);
    struct line *line = line_at(uring, stream->fd);
    if (!stream->paused && (has_bytes(line) || line->end)) {
        wait_to_tell(uring, line);
    }
    reconsider(uring, line);
}

static ssize_t read_line(struct poller *poller, struct stream *stream, char **bytes,
                         size_t size) {
    struct uring *uring = uring_of(poller);
    struct line *line = line_at(uring, stream->fd);
    uint32_t length;
    if (line->kept) {
        struct kept *kept = line->kept;
        length = kept->length < size ? kept->length : (uint32_t)size;
        *bytes = kept->bytes + kept->start;
        kept->start += length;
        kept->length -= length;
        if (kept->length == 0) {
            spend(uring, kept);
            line->kept = NULL;
        }
    } else if (line->first) {
        struct run *run = line->first;
        length = run->length < size ? run->length : (uint32_t)size;
        *bytes = run->bytes;
        run->bytes += length;
        run->length -= length;
        if (run->length == 0) {
            line->first = run->next;
            line->last = run->next ? line->last : NULL;
        }
    } else {
        return line->end ? line->end : UV_EAGAIN;
    }
    uring->progress = true;
    if (!line->receiving && !has_bytes(line)) {
        reconsider(uring, line);
    }
    return length;
}

/* Completions that aren't reaped yet may have brought bytes: the kernel is asked for none
 * in between, but may write by itself where it doesn't defer that. */
static void trim(struct poller *poller) {
    struct uring *uring = uring_of(poller);
    end_tick(uring);
    if (uring->ring.defers && io_uring_cq_ready(&uring->ring.uring) == 0) {
        ring_trim(&uring->ring);
    }
}

static bool send_later(struct poller *poller, struct stream *stream,
                       const struct iovec *pieces, int count) {
    struct uring *uring = uring_of(poller);
    struct line *line = line_at(uring, stream->fd);
    struct io_uring_sqe *entry = ring_entry(&uring->ring);
    if (!entry) {
        return false;
    }
    if (count > RING_PIECES) {
        count = RING_PIECES;
        uring->hurries = true; /* for the rest */
    }
    ring_send(&uring->ring, entry, line->fd, pieces, count);
    entry->user_data = name_of(line, OF_SEND);
    for (int i = 0; i < count; i++) {
        line->flying += (uint32_t)pieces[i].iov_len;
    }
    line->landed = (int32_t)line->flying; /* unless a completion says otherwise */
    stream->flying = true;
    PUSH(&uring->flown, line, next_flown);
    return true;
}

static void remove_stream(struct poller *poller, struct stream *stream) {
    struct uring *uring = uring_of(poller);
    struct line *line = line_at(uring, stream->fd);
    if (stream->flying) {
        ring_submit(&uring->ring); /* as all that sync_flush has written */
    }
    stream->closing = true;
    spend(uring, line->kept);
    line->kept = NULL;
    line->first = NULL;
    line->last = NULL;
    close_if_over(uring, line);
    if (uring->outside) {
        push(poller); /* who knows when the next tick is */
    }
}

static int open_ring(struct poller *poller) {
    bool limits;
    struct uring *uring = ring_problem(&limits) ? NULL : calloc(1, sizeof(*uring));
    if (!uring) {
        return UV_ENOTSUP;
    }
    int error = ring_open(&uring->ring, limits);
    if (error < 0) {
        free(uring);
        return error;
    }
    uring->poller = poller;
    uring->tick = 1;
    uring->outside = true;
    poller->state = uring;
    return 0;
}

static void close_ring(struct poller *poller) {
    struct uring *uring = uring_of(poller);
    end_tick(uring);
    ring_close(&uring->ring);
    for (size_t i = 0; i < uring->chunk_count; i++) {
        free(uring->chunks[i]);
    }
    free(uring->chunks);
    free(uring);
}

static const char *problem(void) {
    bool limits;
    return ring_problem(&limits);
}

const struct backend uring_backend = {.name = "uring",
                                      .problem = problem,
                                      .open = open_ring,
                                      .close = close_ring,
                                      .add = add,
                                      .watch = watch,
                                      .read = read_line,
                                      .send = send_later,
                                      .push = push,
                                      .hurry = hurry,
                                      .trim = trim,
                                      .remove = remove_stream,
                                      .wait = wait_in_ring};
#endif
