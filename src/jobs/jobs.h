/* jobs.h: work that takes its time, done on threads, told as an event when it ends.
 *
 * A crew is a bounded number of threads with a bounded queue. A module that has something
 * slow to do (passwords, SQL) has a crew of its own, so that none waits for another, and
 * libuv's pool stays free for names and files. Jobs of a crew begin in the order in which
 * they came. Knows nothing of what they do.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/core.h"

struct crew;
struct job;

enum { CREW_MOST_THREADS = 64 };

struct job_kind {
    /* On the crew's thread number `seat`, from 0 on. What it returns is the event's
     * value; it may set `result` and `length`. Must not touch the core. */
    int32_t (*run)(struct job *job, uint32_t seat);
    /* Makes run() end early, while it runs; NULL: it runs to its end. Called on the
     * loop's thread, with the crew locked. */
    void (*interrupt)(struct job *job, uint32_t seat);
    /* Frees the job, on the loop's thread, whatever became of it. */
    void (*free)(struct job *job);
};

/* The first member of a module's own struct. */
struct job {
    const struct job_kind *kind;
    char *result; /* the event's data: a block of batch_block_new, or NULL */
    size_t length;
    /* The rest is private. */
    struct job *next;
    struct crew *crew;
    uint32_t id;
    int32_t value;
    bool cancelled;
};

struct crew_options {
    uint32_t threads; /* 1 to CREW_MOST_THREADS; each starts when it is first needed */
    uint32_t queue;   /* jobs that wait for a thread; one more is refused */
    int nice;         /* added to the threads' nice value: they give way to the loop */
    const char *name; /* of the threads, for ps and debuggers; 15 bytes at most */
    void (*end)(void *data); /* called once no thread runs any more; or NULL */
    void *data;
};

/* Returns a crew, or NULL when memory ran out. It lives until crew_close or sync_close.
 */
struct crew *crew_open(struct core *core, const struct crew_options *options);

/* Drops what waits, interrupts what runs, and waits for the threads to end: no event
 * comes of their jobs. NULL is no crew. */
void crew_close(struct crew *crew);

/* Gives the crew a job, which is its own from here on and begins when the tick ends.
 * Returns the id that SYNC_JOB will name, or an error code, and the job was freed:
 * UV_EAGAIN when the queue is full. */
int crew_do(struct crew *crew, struct job *job);

/* Wakes the threads for what crew_do was given in this tick; for sync_poll, before it may
 * sleep. Once a tick, as it costs more than most statements of SQLite's. */
void jobs_wake(struct core *core);

/* Closes all crews; for sync_close. */
void jobs_close(struct core *core);
