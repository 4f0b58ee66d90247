/* lines.h: what is known of each descriptor that io_uring serves, and who waits for what.
 *
 * A line is a descriptor's: what was asked of the kernel for it, and what came. Each is
 * on a lane, which is a ring, and who is on it. There is one lane; or there are several,
 * each with a thread, and a ring to sleep in besides.
 *
 * Files work on lines by concern: ask.c asks the kernel, intake.c takes what came,
 * flight.c sends, doze.c sleeps; uring.c puts them together.
 */
#pragma once

#include "net/poller.h"

#ifdef SYNC_URING
#include "net/ring.h"

enum { LINES_CHUNK = 1024 /* that are allocated at once */ };

/* What a completion is of: the lowest bits of its name. */
enum {
    OF_NOTHING,
    OF_LOOP,
    OF_LANE,
    OF_MARK,
    OF_RECEIVE,
    OF_ROOM,
    OF_SEND,
    NAME_KIND = 7
};

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
    uint32_t fed; /* the last tick (wrapping) in which something came */
    uint32_t generation;
    int32_t end;     /* what comes behind all bytes: UV_EOF, an error code, or 0 */
    uint32_t flying; /* bytes that are being sent */
    int32_t landed;  /* of which so many were, or an error code */
    uint8_t lane;
    bool receiving : 1; /* bits: there is a line for each client that is silent */
    bool cancelling : 1;
    bool polling : 1; /* for room, or for a reset alone */
    bool rooming : 1; /* for room */
    bool forgetting : 1;
    bool has_room : 1;
    bool broken : 1; /* while it's paused, and so nothing is received */
    bool in_waiting : 1;
    bool in_due : 1;
};

struct queue {
    struct line *first;
    struct line *last;
};

/* A ring, and who is on it. */
struct lane {
    struct ring ring;
    struct run runs[RING_BUFFERS]; /* by the buffer that one begins in */
    struct queue flown;            /* whose sends it was given */
    struct queue marked;           /* a thread's: those before the mark */
    uint32_t lines;
    bool passed; /* the mark was */
    bool polled; /* by the ring that sleeps */
};

struct uring {
    struct poller *poller;
    struct lane *lanes;
    uint32_t lane_count;
    bool threaded;        /* each lane has a thread */
    struct ring *home;    /* in which is slept: the only lane's, or */
    struct ring sleeper;  /* with threads this one */
    struct line **chunks; /* by descriptor */
    size_t chunk_count;
    struct kept *spent;
    struct queue waiting; /* have something to tell */
    struct queue due;     /* want entries; those that had nothing before the others */
    struct queue due_late;
    uint32_t tick;
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

static inline struct uring *uring_of(const struct poller *poller) {
    return poller->state;
}

static inline struct line *line_at(const struct uring *uring, int fd) {
    return &uring->chunks[fd / LINES_CHUNK][fd % LINES_CHUNK];
}

static inline struct lane *lane_of(const struct uring *uring, const struct line *line) {
    return &uring->lanes[line->lane];
}

static inline uint64_t line_name(const struct line *line, uint32_t kind) {
    return (uint64_t)line->generation << 35 | (uint64_t)(uint32_t)line->stream->fd << 3 |
           kind;
}

static inline bool line_has_bytes(const struct line *line) {
    return line->kept || line->first;
}

static inline bool line_is_closing(const struct line *line) {
    return line->stream->closing;
}

/* Its turn to be told of comes in this tick. */
void line_wait_to_tell(struct uring *uring, struct line *line);

/* What it has asked the kernel for may not be what it wants any more. */
void line_reconsider(struct uring *uring, struct line *line);

/* Frees bytes that were kept, when the tick ends: events may point into them. */
void line_spend(struct uring *uring, struct kept *kept);

/* Closes the descriptor if all that was asked for is over: then it can be used again. */
void line_close_if_over(struct uring *uring, struct line *line);

/* Makes a line for a descriptor. Returns 0 or an error code. */
int line_make(struct uring *uring, int fd);

void line_free_all(struct uring *uring);
#endif
