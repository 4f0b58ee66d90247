/* jobs_test.c: work on threads that ends in events. */
#include "jobs/jobs.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "server.h"
#include "test.h"

enum { LEAST_NICE = 19 }; /* a thread that gives way to all others has this */

/* What a job of these tests does, and what became of it. */
struct trace {
    sem_t begun;
    sem_t go_on;
    atomic_uint ran, freed, ended;
    atomic_int nice;
    atomic_bool interrupted;
};

struct task {
    struct job job;
    struct trace *trace;
    bool waits; /* for go_on */
    int32_t value;
};

static int32_t run(struct job *job, uint32_t seat) {
    struct task *task = (struct task *)job;
    (void)seat;
    atomic_fetch_add(&task->trace->ran, 1);
    atomic_store(&task->trace->nice,
                 getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid)));
    if (task->waits) {
        sem_post(&task->trace->begun);
        sem_wait(&task->trace->go_on);
    }
    job->result = batch_block_new(2);
    if (job->result) {
        memcpy(job->result, "ok", 2);
        job->length = 2;
    }
    return task->value;
}

static void interrupt(struct job *job, uint32_t seat) {
    struct task *task = (struct task *)job;
    (void)seat;
    atomic_store(&task->trace->interrupted, true);
    sem_post(&task->trace->go_on);
}

static void free_task(struct job *job) {
    atomic_fetch_add(&((struct task *)job)->trace->freed, 1);
    free(job);
}

static const struct job_kind kind = {run, interrupt, free_task};

static void trace_open(struct trace *trace) {
    *trace = (struct trace){0};
    sem_init(&trace->begun, 0, 0);
    sem_init(&trace->go_on, 0, 0);
}

static void trace_close(struct trace *trace) {
    sem_destroy(&trace->begun);
    sem_destroy(&trace->go_on);
}

static void count_end(void *data) {
    atomic_fetch_add(&((struct trace *)data)->ended, 1);
}

static struct crew *open_crew(struct server *server, uint32_t threads, uint32_t queue,
                              struct trace *trace) {
    struct crew_options options = {.threads = threads,
                                   .queue = queue,
                                   .nice = 5,
                                   .name = "test",
                                   .end = count_end,
                                   .data = trace};
    server_open(server);
    trace_open(trace);
    return crew_open(core_of(server->sync), &options);
}

static int give(struct crew *crew, struct trace *trace, bool waits, int32_t value) {
    struct task *task = calloc(1, sizeof(*task));
    if (!task) {
        abort();
    }
    task->job.kind = &kind;
    task->trace = trace;
    task->waits = waits;
    task->value = value;
    return crew_do(crew, &task->job);
}

TEST(job_ends_in_an_event_with_its_result) {
    struct server server;
    struct trace trace;
    struct crew *crew = open_crew(&server, 2, 10, &trace);
    REQUIRE(crew);
    CHECK_INT(sync_poll(server.sync, 1), -1); /* a crew alone keeps nothing alive */
    int id = give(crew, &trace, false, -7);
    REQUIRE(id > 0);
    WAIT(&server, server_saw(&server, SYNC_JOB, (uint32_t)id) == 1);
    const struct seen *seen = server_find(&server, SYNC_JOB, (uint32_t)id);
    CHECK_INT((int32_t)seen->value, -7);
    CHECK_BYTES(seen->data, seen->length, "ok", 2);
    int nice = getpriority(PRIO_PROCESS, 0) + 5;
    CHECK_INT(atomic_load(&trace.nice), nice < LEAST_NICE ? nice : LEAST_NICE);
    CHECK_INT(atomic_load(&trace.freed), 1);
    CHECK_INT(sync_poll(server.sync, 1), -1);
    server_close(&server);
    CHECK_INT(atomic_load(&trace.ended), 1);
    trace_close(&trace);
}

TEST(jobs_beyond_the_queue_are_refused) {
    struct server server;
    struct trace trace;
    struct crew *crew = open_crew(&server, 1, 2, &trace);
    REQUIRE(give(crew, &trace, true, 0) > 0);
    sem_wait(&trace.begun);
    CHECK(give(crew, &trace, false, 1) > 0);
    CHECK(give(crew, &trace, false, 2) > 0);
    CHECK_INT(give(crew, &trace, false, 3), UV_EAGAIN);
    CHECK_INT(atomic_load(&trace.freed), 1);
    sem_post(&trace.go_on);
    WAIT(&server, server_saw(&server, SYNC_JOB, 0) == 3);
    for (uint32_t i = 0; i < 3; i++) { /* in the order in which they came */
        CHECK_INT(server.seen[i].value, i);
    }
    server_close(&server);
    trace_close(&trace);
}

TEST(jobs_run_side_by_side_up_to_the_threads) {
    struct server server;
    struct trace trace;
    struct crew *crew = open_crew(&server, 3, 10, &trace);
    for (int i = 0; i < 4; i++) {
        CHECK(give(crew, &trace, true, 0) > 0);
    }
    for (int i = 0; i < 3; i++) {
        sem_wait(&trace.begun);
    }
    CHECK_INT(atomic_load(&trace.ran), 3);
    for (int i = 0; i < 4; i++) {
        sem_post(&trace.go_on);
    }
    WAIT(&server, server_saw(&server, SYNC_JOB, 0) == 4);
    server_close(&server);
    trace_close(&trace);
}

TEST(job_that_is_cancelled_says_nothing) {
    struct server server;
    struct trace trace;
    struct crew *crew = open_crew(&server, 1, 10, &trace);
    int running = give(crew, &trace, true, 0);
    int waiting = give(crew, &trace, false, 0);
    int last = give(crew, &trace, false, 0);
    REQUIRE(running > 0 && waiting > 0 && last > 0);
    sem_wait(&trace.begun);
    sync_job_cancel(server.sync, (uint32_t)waiting);
    CHECK_INT(atomic_load(&trace.freed), 1);
    sync_job_cancel(server.sync, (uint32_t)running);
    CHECK(atomic_load(&trace.interrupted));
    sync_job_cancel(server.sync, 123456);
    WAIT(&server, server_saw(&server, SYNC_JOB, (uint32_t)last) == 1);
    CHECK_INT(server.count, 1);
    CHECK_INT(atomic_load(&trace.ran), 2);
    CHECK_INT(atomic_load(&trace.freed), 3);
    sync_job_cancel(server.sync, (uint32_t)last);
    CHECK(give(crew, &trace, false, 0) > 0); /* the queue's end is where it belongs */
    WAIT(&server, server.count == 2);
    CHECK_INT(sync_poll(server.sync, 1), -1);
    server_close(&server);
    trace_close(&trace);
}

TEST(job_that_alone_waits_can_be_cancelled_and_the_queue_goes_on) {
    struct server server;
    struct trace trace;
    struct crew *crew = open_crew(&server, 1, 10, &trace);
    CHECK(give(crew, &trace, true, 0) > 0);
    int waiting = give(crew, &trace, false, 0);
    sem_wait(&trace.begun);
    sync_job_cancel(server.sync, (uint32_t)waiting);
    int after = give(crew, &trace, false, 0);
    sem_post(&trace.go_on);
    WAIT(&server, server_saw(&server, SYNC_JOB, (uint32_t)after) == 1);
    CHECK_INT(server_saw(&server, SYNC_JOB, (uint32_t)waiting), 0);
    server_close(&server);
    trace_close(&trace);
}

TEST(jobs_are_joined_when_the_core_closes) {
    struct server server;
    struct trace trace;
    struct crew *crew = open_crew(&server, 2, 10, &trace);
    for (int i = 0; i < 6; i++) {
        CHECK(give(crew, &trace, true, 0) > 0);
    }
    sem_wait(&trace.begun);
    sem_wait(&trace.begun);
    server_close(&server); /* interrupts the two that run */
    CHECK_INT(atomic_load(&trace.ran), 2);
    CHECK_INT(atomic_load(&trace.freed), 6);
    CHECK_INT(atomic_load(&trace.ended), 1);
    trace_close(&trace);
}

TEST(jobs_of_a_closed_crew_say_nothing_and_others_go_on) {
    struct server server;
    struct trace trace;
    struct crew *crew = open_crew(&server, 1, 10, &trace);
    struct crew_options options = {.threads = 1, .queue = 1};
    struct crew *other = crew_open(core_of(server.sync), &options);
    CHECK(give(crew, &trace, true, 0) > 0);
    CHECK(give(crew, &trace, false, 0) > 0);
    sem_wait(&trace.begun);
    crew_close(crew);
    int id = give(other, &trace, false, 5);
    WAIT(&server, server_saw(&server, SYNC_JOB, (uint32_t)id) == 1);
    CHECK_INT(server.count, 1);
    server_close(&server);
    trace_close(&trace);
}

TEST(jobs_in_thousands_are_each_told_once) {
    enum { JOBS = 5000 };
    struct server server;
    struct trace trace;
    struct crew *crew = open_crew(&server, 4, JOBS, &trace);
    for (int i = 0; i < JOBS; i++) {
        CHECK(give(crew, &trace, false, i) > 0);
        if (i % 7 == 0) {
            server_tick(&server, false);
        }
    }
    WAIT(&server, server.count == JOBS);
    uint64_t sum = 0;
    for (size_t i = 0; i < server.count; i++) {
        sum += server.seen[i].value;
    }
    CHECK_INT(sum, (uint64_t)JOBS * (JOBS - 1) / 2);
    CHECK_INT(atomic_load(&trace.freed), JOBS);
    server_close(&server);
    trace_close(&trace);
}
