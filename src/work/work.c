/* work.c: functions of Lua as jobs of a crew. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/luajit.h"
#include "jobs/jobs.h"
#include "work/state.h"
/* It follows sync.h, as the text of the FFI does. */
#include "work/work.h"

enum { NICE = 10 };

struct sync_work {
    struct crew *crew;
    struct prelude prelude;
    struct state states[CREW_MOST_THREADS];
    char code[]; /* the prelude's */
};

struct task {
    struct job job;
    struct sync_work *work;
    struct call call;
    uint64_t until; /* ns */
    atomic_bool stop;
    char bytes[]; /* the code and the arguments */
};

/* Time is over before it begins, or it was given up in between. */
static int32_t run(struct job *job, uint32_t seat) {
    struct task *task = (struct task *)job;
    uint64_t now = uv_hrtime();
    if (now >= task->until || atomic_load(&task->stop)) {
        return SYNC_WORK_LATE;
    }
    uint32_t limit = (uint32_t)((task->until - now) / 1000000) + 1;
    int32_t value =
        state_call(&task->work->states[seat], &task->work->prelude, &task->call, limit);
    job->result = task->call.result;
    job->length = task->call.result_length;
    return value;
}

static void interrupt(struct job *job, uint32_t seat) {
    struct task *task = (struct task *)job;
    atomic_store(&task->stop, true);
    state_stop(&task->work->states[seat]);
}

static void free_task(struct job *job) {
    free(job);
}

static const struct job_kind kind = {run, interrupt, free_task};

static void on_closed(void *data) {
    struct sync_work *work = data;
    for (uint32_t i = 0; i < CREW_MOST_THREADS; i++) {
        state_free(&work->states[i]);
    }
    free(work);
}

int32_t sync_work_load(char *message, size_t size) {
    return luajit_load(message, size);
}

struct sync_work *sync_work_open(struct sync *sync, uint32_t threads, uint32_t queue,
                                 size_t memory, const char *code, size_t length) {
    struct sync_work *work = calloc(1, sizeof(*work) + length);
    struct crew_options options = {.threads = threads,
                                   .queue = queue,
                                   .nice = NICE,
                                   .name = "sync-work",
                                   .end = on_closed,
                                   .data = work};
    if (!work || state_take_signal() < 0) {
        free(work);
        return NULL;
    }
    memcpy(work->code, code, length);
    work->prelude = (struct prelude){work->code, length};
    for (uint32_t i = 0; i < CREW_MOST_THREADS; i++) {
        work->states[i].most = memory;
    }
    work->crew = crew_open(core_of(sync), &options);
    if (!work->crew) {
        free(work);
        return NULL;
    }
    return work;
}

void sync_work_close(struct sync_work *work) {
    crew_close(work->crew);
}

int32_t sync_work_do(struct sync_work *work, double name, const char *code,
                     size_t code_length, const char *arguments, size_t length,
                     uint32_t limit, uint32_t most_bytes) {
    struct task *task = calloc(1, sizeof(*task) + code_length + length);
    if (!task) {
        return UV_ENOMEM;
    }
    memcpy(task->bytes, code, code_length);
    memcpy(task->bytes + code_length, arguments, length);
    task->job.kind = &kind;
    task->work = work;
    task->call = (struct call){.name = name,
                               .code = task->bytes,
                               .code_length = code_length,
                               .arguments = task->bytes + code_length,
                               .length = length,
                               .most = most_bytes,
                               .stop = &task->stop};
    task->until = uv_hrtime() + (uint64_t)limit * 1000000;
    return crew_do(work->crew, &task->job);
}
