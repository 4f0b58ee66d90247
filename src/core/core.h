/* core.h: the data that the parts of libsync share.
 *
 * `struct sync` in sync.h is the public head; the rest is private to src/.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "core/bans.h"
#include "core/batch.h"
#include "core/out.h"
#include "core/peers.h"
#include "core/table.h"
#include "core/wheel.h"
#include "net/poller.h"
#include "sync.h"

struct asker;
struct attempt;
struct conn;
struct crew;
struct deflater;
struct fetcher;
struct inherited;
struct inflater;
struct listener;
struct offer;
struct resolution;
struct signal_watch;
struct timer;
struct watch;
struct worker;

enum {
    CORE_RESERVE = 16, /* places for operators */
    CORE_RUNS = 16     /* see broadcast.c */
};

struct place {
    struct conn *conn;
    uint32_t since; /* ms (wrapping): when it was taken */
};

/* A folder of web files. */
struct root {
    struct root *next;
    struct root *beside; /* where the listener looks next, or NULL */
    int descriptor;
};

struct core {
    struct sync public; /* first, so that the two pointers are one */
    uv_loop_t loop;
    struct poller poller; /* of connections' sockets */
    struct batch batch;
    struct pool pool;
    struct slabs conn_slabs; /* of what stays: see slab.h */
    struct slabs websocket_slabs;
    uint32_t tick;
    atomic_uint beats; /* odd while the program has a batch; for watchdog.c */
    uint32_t round; /* of reading: it lasts until each client was read that wanted it */

    struct table conns;   /* by slot */
    struct peers peers;   /* whom they are of */
    struct bans bans;     /* who is shut out, until when in ms of the loop */
    uint64_t weight;      /* bytes that they have at least */
    uint64_t most_weight; /* since SYNC_FREED, or memory was given back */

    struct conn *unflushed; /* have something to write at sync_flush, in that order */
    struct conn *last_unflushed;
    struct conn *ready; /* have messages that the last batch had no room for */
    struct conn **ready_end;
    struct conn *owing;    /* have an event to push other than messages */
    struct conn *released; /* freed when the tick ends */

    struct deflater *deflaters[2]; /* for all WebSockets, and for those of a small window;
                                      or NULL */
    struct shared *runs[CORE_RUNS]; /* of small messages to many, by wire form, or NULL */
    struct inflater *spare_inflater; /* for the next client that needs one */

    struct wheel wheel; /* deadlines of connections */
    uv_timer_t wheel_timer;
    uv_timer_cb on_deadline; /* what the timer calls */

    struct listener *listeners;
    struct inherited *inherited; /* sockets of the process before */
    uv_timer_t retry_timer;      /* after accept failed */
    uint32_t next_listener_id;
    bool accept_paused;                 /* some listener waits for a client to leave */
    bool accept_held;                   /* see sync_hold_accepting */
    bool draining;                      /* see sync_drain */
    struct place reserve[CORE_RESERVE]; /* beyond the bound: see reserve.h */
    uint32_t reserved;
    uint32_t files; /* that requests have open: each takes the place of a connection */
    uint32_t files_before; /* when the last tick ended */

    double memory_high;     /* bytes from which on the program is told, or 0 */
    uint32_t memory_looked; /* when, in ms */

    struct worker *workers;    /* those of this parent */
    struct orphanage *adopted; /* and of the program before; or NULL */
    struct asker *askers;
    struct offer *offers;
    uint32_t *shares; /* clients of each worker, UINT32_MAX of one that's gone; or NULL */
    uint32_t share_count;
    uint32_t share; /* this worker's */
    int shares_fd;  /* the parent's, or 0 */
    int broker_fd;  /* the worker's, or 0 */
    uint32_t broker_turns;
    bool noted;           /* some listener owes a notice */
    struct crew *keepers; /* write files: see jobs/keep.h; or NULL */

    struct table timers;
    struct root *roots;  /* closed when all files are */
    struct timer *fired; /* fired for the last time in this tick */
    struct signal_watch *signals;
    struct resolution *resolutions; /* under way */
    struct attempt *attempts;       /* to connect, under way */
    uint32_t next_request_id;
    uint32_t requests;       /* name look-ups under way */
    struct crew *crews;      /* threads for what takes its time: see jobs.h */
    struct table watches;    /* of other libraries' descriptors: see watch.h */
    struct fetcher *fetcher; /* requests of HTTP to others, or NULL: see src/fetch */

    char longest_handler[96]; /* of the longest tick */
    double names;             /* what clients' names have in common: see sync_name */
    uint64_t handed_out;      /* when the last batch was, in ns */

    bool crowded;   /* this tick had no room for a client whose turn it was */
    bool polling;   /* libuv runs, and may sleep */
    bool filling;   /* events may be pushed: the batch isn't handed out */
    bool trim;      /* at the end of the tick */
    uint8_t frozen; /* enum sync_frozen: clients that are open aren't read */
};

static inline struct core *core_of(struct sync *sync) {
    return (struct core *)sync;
}

/* An id of what is under way: a look-up, an attempt to connect, a job. */
static inline uint32_t core_next_request(struct core *core) {
    core->next_request_id = core->next_request_id % INT32_MAX + 1;
    return core->next_request_id;
}

/* Connections and files, for which the bound of connections stands. */
static inline uint32_t core_descriptors(const struct core *core) {
    return core->public.client_count - core->reserved + core->files;
}

static inline struct conn *core_conn(struct core *core, uint32_t slot) {
    return table_get(&core->conns, slot);
}

/* Time in milliseconds, as libuv last read it; wraps. */
static inline uint32_t core_now(const struct core *core) {
    return (uint32_t)uv_now(&core->loop);
}

/* The program has a batch from now on, or has it no more. One thread writes. */
static inline void core_beat(struct core *core, bool has_batch) {
    uint32_t beats = atomic_load_explicit(&core->beats, memory_order_relaxed);
    atomic_store_explicit(&core->beats, has_batch ? beats | 1 : (beats + 1) & ~1U,
                          memory_order_relaxed);
}

/* Keeps libuv from sleeping: there is something to hand out. */
static inline void core_wake(struct core *core) {
    if (core->polling) {
        uv_stop(&core->loop);
    }
}
