/* sqlite.h: SQLite on threads: statements that end in SYNC_JOB. See lua/sync/sql.
 *
 * This same text is an ffi.cdef, as sync.h is, and follows it. A file has one writer, a
 * thread with its connection, and several readers with one each: in WAL mode they don't
 * wait for each other. What waits for the writer stands in its queue, in order.
 */
#pragma once
#pragma GCC visibility push(default)

struct sync;
struct sync_lite;
struct sync_lite_cursor;

enum sync_sql_type {
    SYNC_SQL_NULL,
    SYNC_SQL_INTEGER,
    SYNC_SQL_REAL,
    SYNC_SQL_TEXT,
    SYNC_SQL_BLOB
};

/* A value, of a parameter or in a result. There, `length` bytes follow a text or a blob,
 * and what is behind them is aligned to 8. */
struct sync_sql_value {
    uint32_t type;
    uint32_t length; /* bytes of a text or a blob */
    union {
        int64_t integer;
        double real;
        const char *bytes; /* of a parameter; in a result they follow */
    };
};

enum sync_lite_flags {
    SYNC_LITE_WRITER = 1, /* done by the writer */
    SYNC_LITE_INSIDE = 2, /* within a transaction, or the statement that begins or ends
                             one; else a statement that leaves one open is rolled back */
    SYNC_LITE_SCRIPT = 4, /* several statements, without parameters and results */
    SYNC_LITE_FIRST = 8   /* rows beyond the bound are left out, and no error */
};

enum sync_lite_found {
    SYNC_LITE_MORE = 1,   /* a cursor's rows go on */
    SYNC_LITE_WRITES = 2, /* it writes, and nothing was done: it belongs to the writer */
    SYNC_LITE_OPEN = 4    /* a transaction is open now */
};

/* The data of SYNC_JOB, whose value is 0 or SQLite's extended code. Behind it are the
 * columns' names, then the rows; or, of an error, the message, all as values. */
struct sync_lite_result {
    uint32_t columns;
    uint32_t rows;
    uint32_t found;   /* enum sync_lite_found */
    uint32_t changes; /* rows that were inserted, changed or deleted */
    int64_t last_id;  /* of the row that was inserted last */
};

/* What goes wrong beside SQLite's own codes. */
enum sync_lite_error {
    SYNC_LITE_TOO_LARGE = -1, /* more rows or bytes than were asked for */
    SYNC_LITE_COUNT = -2,     /* another number of parameters than it has places */
    SYNC_LITE_SEVERAL = -3,   /* more than one statement */
    SYNC_LITE_LEFT_OPEN = -4  /* it would have left a transaction open */
};

/* Opens libsqlite3, once. Returns 0, or -1 and which package lacks. */
int32_t sync_lite_load(char *message, size_t size);

/* A database's file: nothing is opened before it's needed. readers is 0 for one in
 * memory, which has one connection. `wait` is how many milliseconds other processes'
 * locks are waited for. NULL when memory ran out. */
struct sync_lite *sync_lite_open(struct sync *sync, const char *path, uint32_t readers,
                                 uint32_t queue, uint32_t wait);

/* Closes it: what is under way is interrupted, and no event of it comes any more. */
void sync_lite_close(struct sync_lite *lite);

/* Executes a statement; all is copied. Of the rows at most so many, and so many bytes.
 * Returns the job's id, or an error code. */
int32_t sync_lite_do(struct sync_lite *lite, uint32_t flags, const char *sql,
                     size_t length, const struct sync_sql_value *values, uint32_t count,
                     uint32_t most_rows, uint32_t most_bytes);

/* A statement whose rows come in parts: each job of sync_lite_fetch brings about so many
 * rows and bytes. It has a connection of its own, but for the writer's. One job at a
 * time. NULL when memory ran out. */
struct sync_lite_cursor *sync_lite_cursor_open(struct sync_lite *lite, uint32_t flags,
                                               const char *sql, size_t length,
                                               const struct sync_sql_value *values,
                                               uint32_t count);
int32_t sync_lite_fetch(struct sync_lite_cursor *cursor, uint32_t rows, uint32_t bytes);
/* Ends it; a job of it that is under way was cancelled. Closing the database ends those
 * that are left. */
void sync_lite_cursor_close(struct sync_lite_cursor *cursor);

#pragma GCC visibility pop
