/* fetch.c: the door of src/fetch: which transfers there are, their time, and their end.
 */
#include "fetch/owner.h"

#include <stdlib.h>
#include <string.h>

#include "fetch/engine.h"
#include "fetch/library.h"
#include "fetch/transfer.h"

enum { FETCH_EVENTS = 1 /* of one transfer in a tick */ };

struct fetcher {
    struct core *core;
    struct engine *engine;
    struct transfer *transfers;
    uint32_t live; /* those that weren't given up and haven't ended */
};

static uint64_t now(const struct fetcher *fetcher) {
    return uv_now(&fetcher->core->loop);
}

static void tell(struct transfer *transfer) {
    struct core *core = ((struct fetcher *)transfer->owner)->core;
    if (transfer->told != core->tick + 1 && !transfer->given_up) {
        transfer->told = core->tick + 1;
        batch_push(&core->batch, SYNC_WATCH, transfer->public.id, 0, NULL, 0);
        core_wake(core); /* libcurl's clock may have run before libuv sleeps */
    }
}

static void leave(struct transfer *transfer) {
    struct fetcher *fetcher = transfer->owner;
    if (transfer->added) {
        engine_remove(fetcher->engine, transfer->easy);
        transfer->added = false;
    }
}

static void count_down(struct fetcher *fetcher) {
    if (--fetcher->live == 0) {
        engine_watch_time(fetcher->engine, false);
    }
}

/* A transfer that was given up is told for the last time. */
static void end(struct transfer *transfer, int code, uint32_t problem) {
    struct fetcher *fetcher = transfer->owner;
    leave(transfer);
    if (transfer->given_up) {
        transfer->given_up = false;
        transfer->public.state = SYNC_FETCH_LOST;
        tell(transfer);
        return;
    }
    if (transfer->public.state >= SYNC_FETCH_ENDED) { /* its time was over before */
        transfer->looks_up = false;
        return;
    }
    count_down(fetcher);
    transfer_end(transfer, code, problem);
}

static void on_ended(void *easy, int code) {
    struct transfer *transfer = NULL;
    char *found = NULL;
    curl_call.easy_getinfo(easy, CURL_INFO_PRIVATE, &found);
    transfer = (struct transfer *)(void *)found;
    end(transfer, code, SYNC_FETCH_NONE);
}

/* Time. */

static uint32_t overdue(struct transfer *transfer, uint64_t time) {
    int64_t uploaded = 0;
    curl_call.easy_getinfo(transfer->easy, CURL_INFO_SENT, &uploaded);
    if (transfer->moved || transfer->paused || uploaded != transfer->uploaded) {
        transfer->moved = false;
        transfer->uploaded = uploaded;
        transfer->moved_at = time;
    }
    if (time - transfer->begun >= transfer->total_limit) {
        return SYNC_FETCH_SLOW;
    }
    if (!transfer->connected) {
        return time - transfer->begun >= transfer->connect_limit ? SYNC_FETCH_CONNECTS
                                                                 : SYNC_FETCH_NONE;
    }
    return time - transfer->moved_at >= transfer->idle_limit ? SYNC_FETCH_IDLE
                                                             : SYNC_FETCH_NONE;
}

/* It can't leave libcurl while its name is looked up: libcurl would wait for that, or
 * leave a thread behind that nobody counts. So it isn't to find that time is over. */
static void let_look_up(struct transfer *transfer) {
    curl_call.easy_setopt(transfer->easy, CURL_CONNECT_TIMEOUT, (long)INT32_MAX);
}

static void expire(struct transfer *transfer, uint32_t problem) {
    struct fetcher *fetcher = transfer->owner;
    if (!transfer->looks_up) {
        end(transfer, CURL_OK, problem);
        return;
    }
    let_look_up(transfer);
    transfer_end(transfer, CURL_OK, problem);
    transfer->looks_up = true;
    count_down(fetcher);
}

static void go_on(struct transfer *transfer) {
    transfer->taken = false;
    if (transfer->paused) {
        transfer->paused = false;
        curl_call.easy_pause(transfer->easy, CURL_GOES_ON);
    }
}

static void look(void *data) {
    struct fetcher *fetcher = data;
    struct transfer *next;
    uint64_t time = now(fetcher);
    for (struct transfer *transfer = fetcher->transfers; transfer; transfer = next) {
        next = transfer->next;
        if (transfer->given_up || transfer->public.state >= SYNC_FETCH_ENDED) {
            continue;
        }
        uint32_t problem = overdue(transfer, time);
        if (problem) {
            expire(transfer, problem);
        } else if (transfer->taken) {
            go_on(transfer);
        }
    }
}

/* The door. */

static struct fetcher *fetcher_of(struct core *core) {
    if (core->fetcher) {
        return core->fetcher;
    }
    struct fetcher *fetcher = calloc(1, sizeof(*fetcher));
    if (!fetcher) {
        return NULL;
    }
    struct engine_calls calls = {on_ended, look, fetcher};
    fetcher->core = core;
    fetcher->engine = engine_open(core, &calls);
    if (!fetcher->engine) {
        free(fetcher);
        return NULL;
    }
    core->fetcher = fetcher;
    return fetcher;
}

static void transfer_drop(struct transfer *transfer) {
    struct fetcher *fetcher = transfer->owner;
    *transfer->place = transfer->next;
    if (transfer->next) {
        transfer->next->place = transfer->place;
    }
    batch_unreserve(&fetcher->core->batch, FETCH_EVENTS);
    transfer_free(transfer);
}

struct sync_fetch *sync_fetch_start(struct sync *sync,
                                    const struct sync_fetch_options *options) {
    struct core *core = core_of(sync);
    struct fetcher *fetcher = fetcher_of(core);
    struct transfer *transfer = fetcher ? transfer_new(options, tell) : NULL;
    if (!transfer) {
        return NULL;
    }
    if (batch_reserve(&core->batch, FETCH_EVENTS) < 0) {
        transfer_free(transfer);
        return NULL;
    }
    transfer->public.id = core_next_request(core);
    transfer->owner = fetcher;
    transfer->next = fetcher->transfers;
    transfer->place = &fetcher->transfers;
    if (transfer->next) {
        transfer->next->place = &transfer->next;
    }
    fetcher->transfers = transfer;
    uv_update_time(&core->loop);
    transfer->begun = transfer->moved_at = now(fetcher);
    if (!engine_add(fetcher->engine, transfer->easy)) {
        transfer_drop(transfer);
        return NULL;
    }
    transfer->added = true;
    fetcher->live++;
    engine_watch_time(fetcher->engine, true);
    return &transfer->public;
}

static struct transfer *transfer_of(struct sync_fetch *fetch) {
    return (struct transfer *)fetch;
}

void sync_fetch_take(struct sync_fetch *fetch) {
    struct transfer *transfer = transfer_of(fetch);
    transfer_empty(transfer);
    if (transfer->paused && !transfer->taken) {
        transfer->taken = true;
        engine_kick(((struct fetcher *)transfer->owner)->engine);
    }
}

int32_t sync_fetch_end(struct sync_fetch *fetch) {
    struct transfer *transfer = transfer_of(fetch);
    if (transfer->given_up) {
        return 1;
    }
    if (transfer->public.state < SYNC_FETCH_ENDED) {
        count_down(transfer->owner);
    }
    if (transfer->looks_up && transfer->added) {
        let_look_up(transfer);
        transfer->given_up = true;
        return 1;
    }
    leave(transfer);
    transfer_drop(transfer);
    return 0;
}

int32_t sync_fetch_url(const char *base, const char *text, char *out, size_t size) {
    void *url = curl_call.url();
    char *whole = NULL;
    int32_t length = -1;
    if (url &&
        (!base || curl_call.url_set(url, CURL_WHOLE_URL, base, CURL_ENCODES) == 0) &&
        curl_call.url_set(url, CURL_WHOLE_URL, text, CURL_ENCODES) == 0 &&
        curl_call.url_get(url, CURL_WHOLE_URL, &whole, 0) == 0 && strlen(whole) < size) {
        length = (int32_t)strlen(whole);
        memcpy(out, whole, (size_t)length + 1);
    }
    curl_call.free(whole);
    curl_call.url_cleanup(url);
    return length;
}

int32_t sync_fetch_forbids(const char *const *networks, uint32_t count,
                           const char *address) {
    struct guard guard;
    int error = guard_read(&guard, networks, count);
    if (error < 0) {
        return error;
    }
    bool forbids = guard_forbids_text(&guard, address);
    guard_free(&guard);
    return forbids;
}

/* Whether libcurl would wait for a thread that looks a name up. */
static bool would_wait(const struct fetcher *fetcher) {
    for (const struct transfer *transfer = fetcher->transfers; transfer;
         transfer = transfer->next) {
        if (transfer->added && transfer->looks_up &&
            curl_call.easy_setopt(transfer->easy, CURL_QUICK_EXIT, 1L) != CURL_OK) {
            return true;
        }
    }
    return false;
}

void fetch_close(struct core *core) {
    struct fetcher *fetcher = core->fetcher;
    if (!fetcher) {
        return;
    }
    bool waits = would_wait(fetcher);
    while (fetcher->transfers && !waits) {
        leave(fetcher->transfers);
        transfer_drop(fetcher->transfers);
    }
    engine_close(fetcher->engine, waits);
    core->fetcher = NULL;
    if (!waits) {
        free(fetcher);
    }
}
