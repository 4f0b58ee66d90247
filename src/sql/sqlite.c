/* sqlite.c: SQLite on threads: the jobs, and which thread does them. */
#include <stdlib.h>
#include <string.h>

#include "jobs/jobs.h"
#include "sql/connection.h"

struct sync_lite {
    char *path;
    uint32_t wait; /* ms */
    struct crew *write;
    struct crew *read; /* NULL: the writer reads, too */
    struct connection writer;
    struct connection readers[CREW_MOST_THREADS];
    uint32_t open; /* crews that aren't closed */
    struct sync_lite_cursor *cursors;
};

struct task {
    struct job job;
    struct sync_lite *lite;
    struct sync_lite_cursor *cursor; /* whose rows are fetched, or that ends; or NULL */
    bool ends;
    struct request request;
    struct sync_sql_value
        *values; /* the request's, then its text, and the bytes of each */
};

struct sync_lite_cursor {
    struct sync_lite *lite;
    struct sync_lite_cursor *next; /* of the database */
    struct sync_lite_cursor **link;
    struct task *task; /* holds the statement's text and values */
    struct connection own;
    struct sqlite3_stmt *statement;
    uint32_t fetches; /* that aren't freed: the loop's */
    bool begun;
    bool over; /* it's ended with the last of them */
};

static bool is_written(const struct sync_lite *lite, uint32_t flags) {
    return !lite->read || flags & SYNC_LITE_WRITER;
}

/* On the threads. */

static struct connection *connection_of(struct task *task, uint32_t seat) {
    if (is_written(task->lite, task->request.flags)) {
        return &task->lite->writer;
    }
    return task->cursor ? &task->cursor->own : &task->lite->readers[seat];
}

static int fetch(struct task *task, struct connection *connection) {
    struct sync_lite_cursor *cursor = task->cursor;
    int code = LITE_OK;
    if (!cursor->begun) {
        struct request *request = &cursor->task->request;
        cursor->begun = true;
        code = connection_begin(connection, request, &cursor->statement);
        task->request.result = request->result; /* a message, or nothing */
        task->request.used = request->used;
        task->request.capacity = request->capacity;
    }
    return code == LITE_OK
               ? connection_fetch(connection, &task->request, cursor->statement)
               : code;
}

static void end_cursor(struct sync_lite_cursor *cursor) {
    if (cursor->statement) {
        lite_call.finalize(cursor->statement);
        cursor->statement = NULL;
    }
    connection_close(&cursor->own);
}

static int32_t run(struct job *job, uint32_t seat) {
    struct task *task = (struct task *)job;
    struct connection *connection = connection_of(task, seat);
    struct request *request = &task->request;
    if (task->ends) {
        end_cursor(task->cursor);
        return 0;
    }
    int code = connection_open(connection, task->lite->path, task->lite->wait, request);
    if (code == LITE_OK) {
        code = task->cursor ? fetch(task, connection)
                            : connection_execute(connection, request);
    }
    job->result = request->result;
    job->length = request->used;
    return code;
}

static void interrupt(struct job *job, uint32_t seat) {
    (void)seat;
    atomic_store(&((struct task *)job)->request.stop, true);
}

static void task_free(struct task *task) {
    free(task->values);
    free(task);
}

/* On the loop's thread; it may not be ended yet, when no thread has come to it. */
static void cursor_free(struct sync_lite_cursor *cursor) {
    end_cursor(cursor);
    *cursor->link = cursor->next;
    if (cursor->next) {
        cursor->next->link = cursor->link;
    }
    task_free(cursor->task);
    free(cursor);
}

static void free_job(struct job *job) {
    struct task *task = (struct task *)job;
    struct sync_lite_cursor *cursor = task->cursor;
    if (task->ends || (cursor && --cursor->fetches == 0 && cursor->over)) {
        cursor_free(cursor);
    }
    task_free(task);
}

static const struct job_kind kind = {run, interrupt, free_job};

/* On the loop. */

static bool has_bytes(const struct sync_sql_value *value) {
    return value->type == SYNC_SQL_TEXT || value->type == SYNC_SQL_BLOB;
}

/* Copies the text and the values into one block. Returns false when memory ran out. */
static bool copy_all(struct task *task, const char *sql, size_t length,
                     const struct sync_sql_value *values, uint32_t count) {
    size_t size = count * sizeof(*values) + length + 1;
    for (uint32_t i = 0; i < count; i++) {
        size += has_bytes(&values[i]) ? values[i].length : 0;
    }
    task->values = malloc(size);
    if (!task->values) {
        return false;
    }
    char *place = (char *)(task->values + count);
    memcpy(place, sql, length);
    place[length] = '\0';
    task->request.sql = place;
    task->request.length = length;
    task->request.values = task->values;
    task->request.count = count;
    place += length + 1;
    for (uint32_t i = 0; i < count; i++) {
        task->values[i] = values[i];
        if (has_bytes(&values[i])) {
            memcpy(place, values[i].bytes, values[i].length);
            task->values[i].bytes = place;
            place += values[i].length;
        }
    }
    return true;
}

static struct task *task_new(struct sync_lite *lite, uint32_t flags) {
    struct task *task = calloc(1, sizeof(*task));
    if (task) {
        task->job.kind = &kind;
        task->lite = lite;
        task->request.flags = is_written(lite, flags) ? flags | SYNC_LITE_WRITER : flags;
    }
    return task;
}

static int give(struct task *task) {
    struct sync_lite *lite = task->lite;
    bool written = is_written(lite, task->request.flags);
    return crew_do(written ? lite->write : lite->read, &task->job);
}

/* A crew is closed by sync_lite_close or by the core's end; the last one ends the rest.
 */
static void on_crew_closed(void *data) {
    struct sync_lite *lite = data;
    if (--lite->open > 0) {
        return;
    }
    struct sync_lite_cursor *next;
    for (struct sync_lite_cursor *cursor = lite->cursors; cursor; cursor = next) {
        next = cursor->next;
        cursor_free(cursor);
    }
    for (uint32_t i = 0; i < CREW_MOST_THREADS; i++) {
        connection_close(&lite->readers[i]);
    }
    connection_close(&lite->writer);
    free(lite->path);
    free(lite);
}

struct sync_lite *sync_lite_open(struct sync *sync, const char *path, uint32_t readers,
                                 uint32_t queue, uint32_t wait) {
    struct core *core = core_of(sync);
    struct sync_lite *lite = calloc(1, sizeof(*lite));
    if (!lite || !(lite->path = strdup(path))) {
        free(lite);
        return NULL;
    }
    struct crew_options options = {.threads = 1,
                                   .queue = queue,
                                   .name = "sync-sqlite",
                                   .end = on_crew_closed,
                                   .data = lite};
    lite->wait = wait;
    lite->write = crew_open(core, &options);
    if (!lite->write) {
        free(lite->path);
        free(lite);
        return NULL;
    }
    lite->open = 1;
    if (readers > 0) {
        options.threads = readers < CREW_MOST_THREADS ? readers : CREW_MOST_THREADS;
        lite->read = crew_open(core, &options);
        lite->open += lite->read != NULL;
    }
    return lite;
}

void sync_lite_close(struct sync_lite *lite) {
    struct crew *read = lite->read;
    struct crew *write = lite->write;
    crew_close(read);
    crew_close(write);
}

int32_t sync_lite_do(struct sync_lite *lite, uint32_t flags, const char *sql,
                     size_t length, const struct sync_sql_value *values, uint32_t count,
                     uint32_t most_rows, uint32_t most_bytes) {
    struct task *task = task_new(lite, flags);
    if (!task || !copy_all(task, sql, length, values, count)) {
        free(task);
        return UV_ENOMEM;
    }
    task->request.most_rows = most_rows;
    task->request.most_bytes = most_bytes;
    return give(task);
}

struct sync_lite_cursor *sync_lite_cursor_open(struct sync_lite *lite, uint32_t flags,
                                               const char *sql, size_t length,
                                               const struct sync_sql_value *values,
                                               uint32_t count) {
    struct sync_lite_cursor *cursor = calloc(1, sizeof(*cursor));
    struct task *task = cursor ? task_new(lite, flags) : NULL;
    if (!task || !copy_all(task, sql, length, values, count)) {
        free(task);
        free(cursor);
        return NULL;
    }
    cursor->lite = lite;
    cursor->task = task;
    cursor->next = lite->cursors;
    cursor->link = &lite->cursors;
    if (cursor->next) {
        cursor->next->link = &cursor->next;
    }
    lite->cursors = cursor;
    return cursor;
}

int32_t sync_lite_fetch(struct sync_lite_cursor *cursor, uint32_t rows, uint32_t bytes) {
    struct task *task = task_new(cursor->lite, cursor->task->request.flags);
    if (!task) {
        return UV_ENOMEM;
    }
    task->cursor = cursor;
    cursor->fetches++;
    task->request.most_rows = rows;
    task->request.most_bytes = bytes;
    return give(task);
}

/* The statement is finalized by a thread. One of several readers may be at a fetch that
 * was cancelled: then the loop does it, when that has ended. The writer is one. */
void sync_lite_cursor_close(struct sync_lite_cursor *cursor) {
    if (cursor->fetches > 0 && !is_written(cursor->lite, cursor->task->request.flags)) {
        cursor->over = true;
        return;
    }
    struct task *task = task_new(cursor->lite, cursor->task->request.flags);
    if (!task) {
        return; /* until the database is closed */
    }
    task->cursor = cursor;
    task->ends = true;
    give(task); /* if the queue is full, it's freed at once */
}
