/* jobs.c: work that takes its time, done on threads, told as an event when it ends. */
#include "jobs/jobs.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { STACK = 1024 * 1024 };

struct list {
    struct job *first;
    struct job **end;
};

struct seat {
    struct crew *crew;
    struct job *job; /* that runs */
    pthread_t thread;
};

/* The mutex guards what stands below it. */
struct crew {
    struct core *core;
    struct crew *next;
    struct crew_options options;
    uv_async_t ended; /* tells the loop of jobs that are done */
    uint32_t open;    /* jobs whose event is still to come */
    uint32_t started; /* threads */
    bool given_some;  /* jobs since the threads were woken */
    struct seat seats[CREW_MOST_THREADS];

    pthread_mutex_t mutex;
    pthread_cond_t given;
    struct list waiting;
    struct list done;
    uint32_t queued;
    uint32_t idle; /* threads that wait for a job and haven't been called */
    bool closing;
};

static void list_init(struct list *list) {
    list->first = NULL;
    list->end = &list->first;
}

static void list_add(struct list *list, struct job *job) {
    job->next = NULL;
    *list->end = job;
    list->end = &job->next;
}

static struct job *list_take(struct list *list) {
    struct job *job = list->first;
    list->first = job->next;
    if (!list->first) {
        list->end = &list->first;
    }
    return job;
}

static void job_free(struct job *job) {
    batch_block_free(job->result);
    job->kind->free(job);
}

static void list_free(struct list *list) {
    while (list->first) {
        job_free(list_take(list));
    }
}

/* The threads. */

/* Waits for a job; NULL: the crew closes. The mutex is held. */
static struct job *next_job(struct crew *crew) {
    while (!crew->waiting.first && !crew->closing) {
        crew->idle++;
        pthread_cond_wait(&crew->given, &crew->mutex);
    }
    if (crew->closing) {
        return NULL;
    }
    crew->queued--;
    return list_take(&crew->waiting);
}

static void *work(void *argument) {
    struct seat *seat = argument;
    struct crew *crew = seat->crew;
    uint32_t number = (uint32_t)(seat - crew->seats);
    if (crew->options.nice != 0) { /* Linux keeps a nice value for each thread */
        id_t self = (id_t)syscall(SYS_gettid);
        setpriority(PRIO_PROCESS, self,
                    getpriority(PRIO_PROCESS, self) + crew->options.nice);
    }
    struct job *job;
    pthread_mutex_lock(&crew->mutex);
    while ((job = next_job(crew))) {
        seat->job = job;
        pthread_mutex_unlock(&crew->mutex);
        int32_t value = job->kind->run(job, number);
        pthread_mutex_lock(&crew->mutex);
        seat->job = NULL;
        job->value = value;
        bool first = !crew->done.first;
        list_add(&crew->done, job);
        if (first && !crew->closing) {
            uv_async_send(&crew->ended);
        }
    }
    pthread_mutex_unlock(&crew->mutex);
    return NULL;
}

/* Signals are the loop's: a thread that took one would have its system calls broken. */
static int start_thread(struct crew *crew) {
    struct seat *seat = &crew->seats[crew->started];
    pthread_attr_t attributes;
    sigset_t all;
    sigset_t before;
    seat->crew = crew;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&seat->thread, &attributes, work, seat);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (error) {
        return -error;
    }
    if (crew->options.name) {
        pthread_setname_np(seat->thread, crew->options.name);
    }
    crew->started++;
    return 0;
}

/* The loop. */

/* The event keeps what its job has made, which lives until the tick ends. */
static void tell(struct crew *crew, struct job *job) {
    struct batch *batch = &crew->core->batch;
    if (!job->cancelled) {
        batch_push(batch, SYNC_JOB, job->id, (uint32_t)job->value, job->result,
                   job->length);
        batch_spend(batch, job->result);
        job->result = NULL;
    }
    batch_unreserve(batch, 1);
    job_free(job);
}

static void on_ended(uv_async_t *handle) {
    struct crew *crew = handle->data;
    pthread_mutex_lock(&crew->mutex);
    struct job *job = crew->done.first;
    list_init(&crew->done);
    pthread_mutex_unlock(&crew->mutex);
    while (job) {
        struct job *next = job->next;
        tell(crew, job);
        crew->open--;
        job = next;
    }
    if (crew->open == 0) {
        uv_unref((uv_handle_t *)handle);
    }
}

struct crew *crew_open(struct core *core, const struct crew_options *options) {
    struct crew *crew = calloc(1, sizeof(*crew));
    if (!crew) {
        return NULL;
    }
    if (uv_async_init(&core->loop, &crew->ended, on_ended) < 0) {
        free(crew);
        return NULL;
    }
    uv_unref(
        (uv_handle_t *)&crew->ended); /* a job keeps the loop alive, a crew doesn't */
    crew->ended.data = crew;
    crew->core = core;
    crew->options = *options;
    pthread_mutex_init(&crew->mutex, NULL);
    pthread_cond_init(&crew->given, NULL);
    list_init(&crew->waiting);
    list_init(&crew->done);
    crew->next = core->crews;
    core->crews = crew;
    return crew;
}

static void refuse(struct crew *crew, struct job *job) {
    batch_unreserve(&crew->core->batch, 1);
    job_free(job);
}

/* The mutex is held. */
static int enqueue(struct crew *crew, struct job *job) {
    bool lacking = crew->idle <= crew->queued && crew->started < crew->options.threads;
    int error = lacking ? start_thread(crew) : 0;
    if (error < 0 && crew->started == 0) {
        return error;
    }
    if (crew->queued >= crew->options.queue) {
        return UV_EAGAIN;
    }
    list_add(&crew->waiting, job);
    crew->queued++;
    crew->given_some = true;
    return 0;
}

/* Without the mutex: a thread that is woken while it's held would wait for it. */
static void wake(struct crew *crew) {
    pthread_mutex_lock(&crew->mutex);
    uint32_t count = crew->idle < crew->queued ? crew->idle : crew->queued;
    crew->idle -= count;
    pthread_mutex_unlock(&crew->mutex);
    while (count-- > 0) {
        pthread_cond_signal(&crew->given);
    }
    crew->given_some = false;
}

void jobs_wake(struct core *core) {
    for (struct crew *crew = core->crews; crew; crew = crew->next) {
        if (crew->given_some) {
            wake(crew);
        }
    }
}

int crew_do(struct crew *crew, struct job *job) {
    struct core *core = crew->core;
    job->crew = crew;
    if (batch_reserve(&core->batch, 1) < 0) {
        job_free(job);
        return UV_ENOMEM;
    }
    job->id = core_next_request(core);
    int id = (int)job->id;
    pthread_mutex_lock(&crew->mutex);
    int error = enqueue(crew, job);
    pthread_mutex_unlock(&crew->mutex);
    if (error < 0) {
        refuse(crew, job);
        return error;
    }
    if (crew->open++ == 0) {
        uv_ref((uv_handle_t *)&crew->ended);
    }
    return id;
}

/* Takes a job that waits out of the queue. The mutex is held. */
static struct job *unqueue(struct crew *crew, uint32_t id) {
    for (struct job **link = &crew->waiting.first; *link; link = &(*link)->next) {
        struct job *job = *link;
        if (job->id == id) {
            *link = job->next;
            if (!*link) {
                crew->waiting.end = link;
            }
            crew->queued--;
            return job;
        }
    }
    return NULL;
}

/* Marks a job that runs, or has ended untold. The mutex is held. */
static bool mark(struct crew *crew, uint32_t id) {
    for (uint32_t i = 0; i < crew->started; i++) {
        struct job *job = crew->seats[i].job;
        if (job && job->id == id) {
            job->cancelled = true;
            if (job->kind->interrupt) {
                job->kind->interrupt(job, i);
            }
            return true;
        }
    }
    for (struct job *job = crew->done.first; job; job = job->next) {
        if (job->id == id) {
            job->cancelled = true;
            return true;
        }
    }
    return false;
}

static bool cancel(struct crew *crew, uint32_t id) {
    pthread_mutex_lock(&crew->mutex);
    struct job *job = unqueue(crew, id);
    bool marked = !job && mark(crew, id);
    pthread_mutex_unlock(&crew->mutex);
    if (job) {
        refuse(crew, job);
        if (--crew->open == 0) {
            uv_unref((uv_handle_t *)&crew->ended);
        }
    }
    return job || marked;
}

void sync_job_cancel(struct sync *sync, uint32_t id) {
    for (struct crew *crew = core_of(sync)->crews; crew; crew = crew->next) {
        if (crew->open > 0 && cancel(crew, id)) {
            return;
        }
    }
}

static void on_closed(uv_handle_t *handle) {
    struct crew *crew = handle->data;
    pthread_cond_destroy(&crew->given);
    pthread_mutex_destroy(&crew->mutex);
    free(crew);
}

/* The mutex is held. */
static void interrupt_all(struct crew *crew) {
    for (uint32_t i = 0; i < crew->started; i++) {
        struct job *job = crew->seats[i].job;
        if (job && job->kind->interrupt) {
            job->kind->interrupt(job, i);
        }
    }
}

void crew_close(struct crew *crew) {
    if (!crew) {
        return;
    }
    struct crew **link = &crew->core->crews;
    while (*link != crew) {
        link = &(*link)->next;
    }
    *link = crew->next;
    pthread_mutex_lock(&crew->mutex);
    crew->closing = true;
    interrupt_all(crew);
    pthread_cond_broadcast(&crew->given);
    pthread_mutex_unlock(&crew->mutex);
    for (uint32_t i = 0; i < crew->started; i++) {
        pthread_join(crew->seats[i].thread, NULL);
    }
    list_free(&crew->waiting);
    list_free(&crew->done);
    batch_unreserve(&crew->core->batch, crew->open);
    if (crew->options.end) {
        crew->options.end(crew->options.data);
    }
    uv_close((uv_handle_t *)&crew->ended, on_closed);
}

void jobs_close(struct core *core) {
    while (core->crews) {
        crew_close(core->crews);
    }
}
