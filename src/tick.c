/* tick.c: the life of a core, and of each tick: what sync_poll and sync_flush do, in
 * which order. */
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>

#include "conn/conn.h"
#include "conn/deadline.h"
#include "conn/input.h"
#include "conn/output.h"
#include "conn/ready.h"
#include "conn/watched.h"
#include "core/core.h"
#include "core/heap.h"
#include "core/memory.h"
#include "core/resolve.h"
#include "core/signals.h"
#include "core/timer.h"
#include "core/times.h"
#include "core/watchdog.h"
#include "fetch/owner.h"
#include "http/file.h"
#include "jobs/jobs.h"
#include "jobs/watch.h"
#include "listen/connect.h"
#include "listen/inherit.h"
#include "listen/listener.h"
#include "listen/passed.h"
#include "websocket/broadcast.h"
#include "websocket/send.h"
#include "workers/adopted.h"
#include "workers/broker.h"
#include "workers/shares.h"
#include "workers/spawn.h"

enum { CORE_EVENTS = 2 /* most in a tick that belong to none of its parts */ };

static void ignore_sigpipe(void) {
    struct sigaction action;
    if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL) {
        action.sa_handler = SIG_IGN;
        sigaction(SIGPIPE, &action, NULL);
    }
}

struct sync *sync_open(void) {
    struct core *core = calloc(1, sizeof(*core));
    if (!core) {
        return NULL;
    }
    if (batch_init(&core->batch) < 0) {
        free(core);
        return NULL;
    }
    if (batch_reserve(&core->batch, CORE_EVENTS) < 0 || uv_loop_init(&core->loop) < 0) {
        batch_free(&core->batch);
        free(core);
        return NULL;
    }
    if (poller_open(&core->poller, &core->loop, conn_ready, conn_sent) < 0) {
        uv_loop_close(&core->loop);
        batch_free(&core->batch);
        free(core);
        return NULL;
    }
    uv_timer_init(&core->loop, &core->wheel_timer);
    uv_timer_init(&core->loop, &core->retry_timer);
    core->wheel_timer.data = core;
    core->retry_timer.data = core;
    core->on_deadline = deadline_run;
    core->ready_end = &core->ready;
    core->public.events = core->batch.events;
    core->public.client_limit = UINT32_MAX;
    passed_begin(core);
    ignore_sigpipe();
    return &core->public;
}

static void stop_timers(struct core *core) {
    for (uint32_t id = 1; id < core->timers.used; id++) {
        timer_stop(core, id);
    }
}

void sync_close(struct sync *sync) {
    struct core *core = core_of(sync);
    watchdog_stop(core);
    for (uint32_t slot = 1; slot < core->conns.used; slot++) {
        struct conn *conn = core_conn(core, slot);
        if (conn) {
            conn_abort(conn, SYNC_BY_ABORT, false);
        }
    }
    jobs_close(core);
    fetch_close(core);
    watch_stop_all(core);
    stop_timers(core);
    signals_stop_all(core);
    spawn_forget_all(core);
    adopted_forget_all(core);
    broker_close(core);
    shares_free(core);
    resolve_cancel_all(core);
    connect_cancel_all(core);
    inherit_close(core);
    struct listener *next;
    for (struct listener *l = core->listeners; l; l = next) {
        next = l->next;
        listener_close(l);
    }
    uv_close((uv_handle_t *)&core->wheel_timer, NULL);
    uv_close((uv_handle_t *)&core->retry_timer, NULL);
    do {
        sync_flush(sync);
    } while (sync_poll(sync, 1) >= 0);
    sync_flush(sync);
    sync_poll(sync, 0);
    poller_close(&core->poller);
    while (uv_run(&core->loop, UV_RUN_DEFAULT)) { /* until the last file is closed */
    }
    uv_loop_close(&core->loop);
    while (core->roots) {
        struct root *root = core->roots;
        core->roots = root->next;
        file_root_close(root->descriptor);
        free(root);
    }
    table_clear(&core->conns);
    table_clear(&core->timers);
    peers_clear(&core->peers);
    bans_clear(&core->bans);
    pool_clear(&core->pool);
    slab_trim(&core->conn_slabs);
    slab_trim(&core->websocket_slabs);
    send_trim(core);
    broadcast_trim(core);
    batch_free(&core->batch);
    free(core);
}

static void trim(struct core *core) {
    core->trim = false;
    core->most_weight = core->weight;
    pool_clear(&core->pool);
    slab_trim(&core->conn_slabs);
    slab_trim(&core->websocket_slabs);
    send_trim(core);
    broadcast_trim(core);
    table_trim(&core->conns);
    table_trim(&core->timers);
    batch_trim(&core->batch);
    poller_trim(&core->poller);
    heap_trim();
    malloc_trim(0);
}

/* The tick is over: nothing that its events point to is needed any more. */
static void end_tick(struct core *core) {
    batch_reset(&core->batch);
    core->filling = true;
    core->tick++;
    core->round += !core->crowded;
    core->crowded = false;
    timer_close_fired(core);
    input_resume(core);
    uint32_t files = core->files_before;
    core->files_before = core->files;
    bool freed = conn_free_released(core) > 0;
    if (freed) {
        shares_tell(core);
    }
    if ((freed || core->files < files) && core->accept_paused) {
        listener_resume_all(core);
    }
    if (core->trim) {
        trim(core);
    }
}

/* From the batch's being handed out to the next poll. */
static void count_tick(struct core *core) {
    if (core->handed_out > 0) {
        uint64_t spent = uv_hrtime() - core->handed_out;
        core->public.ticks++;
        core->public.busy += (double)spent / 1e9;
        watched_tick(core, (double)spent / 1e9);
        times_add(&core->public.tick_times, spent / 1000);
    }
}

int32_t sync_poll(struct sync *sync, int32_t block) {
    struct core *core = core_of(sync);
    count_tick(core);
    core_beat(core, false);
    signals_tick(false);
    end_tick(core);
    /* What end_tick has resumed may have made events, or bytes that wait for sync_flush.
     */
    bool work = core->batch.count > 0 || core->owing || core->ready || core->released ||
                core->noted || core->unflushed;
    jobs_wake(core);
    conn_push_connects(core);
    core->polling = core->poller.backend->sleeps_in_libuv;
    bool alive = poller_wait(&core->poller, block && !work);
    core->polling = false;
    conn_push_owed(core);
    if (core->noted) {
        listener_push_notices(core);
    }
    memory_look(core);
    core->filling = false;
    sync->events = core->batch.events;
    sync->event_count = core->batch.count;
    core->handed_out = uv_hrtime();
    __atomic_store_n(&sync->cursor, 0, __ATOMIC_RELAXED); /* the watchdog looks at it */
    core_beat(core, true);
    signals_tick(true);
    if (core->batch.count == 0 && !alive && !core->released && !core->ready) {
        return -1;
    }
    return (int32_t)core->batch.count;
}

static void flush_all(struct core *core) {
    struct conn *conn = core->unflushed;
    core->unflushed = NULL;
    while (conn) {
        struct conn *next = conn->next_unflushed;
        conn->in_unflushed = false;
        output_flush(conn);
        conn = next;
    }
}

void sync_flush_with_poll(struct sync *sync) {
    struct core *core = core_of(sync);
    poller_gather(&core->poller, true);
    flush_all(core);
    poller_gather(&core->poller, false);
}

void sync_flush(struct sync *sync) {
    signals_tick(false);
    sync_flush_with_poll(sync);
    poller_push(&core_of(sync)->poller);
}
