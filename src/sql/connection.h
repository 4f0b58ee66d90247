/* connection.h: one connection to a SQLite database, and what a statement on it brings.
 * Used by one thread at a time. Knows no loop. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sql/library.h"
#include "sync.h"
/* It follows sync.h, as the text of the FFI does. */
#include "sql/sqlite.h"

enum { PREPARED = 128 /* statements that a connection keeps */ };

struct prepared {
    char *sql;
    size_t length;
    struct sqlite3_stmt *statement;
};

struct request;

struct connection {
    struct sqlite3 *database;           /* NULL: not open */
    struct request *request;            /* that is done */
    struct prepared prepared[PREPARED]; /* by the hash of their text */
};

/* What is to be done, and what has become of it. */
struct request {
    uint32_t flags; /* enum sync_lite_flags */
    const char *sql;
    size_t length;
    const struct sync_sql_value *values;
    uint32_t count;
    uint32_t most_rows;
    uint32_t most_bytes;
    atomic_bool stop; /* set by any thread: it ends early */
    char *
        result; /* a block of batch_block_new: a struct sync_lite_result and its values */
    size_t used;
    size_t capacity;
};

/* Opens it, unless it is open. Returns 0, or SQLite's code, and the request's result says
 * why. */
int connection_open(struct connection *connection, const char *path, uint32_t wait,
                    struct request *request);
void connection_close(struct connection *connection);

/* Executes a statement, and writes its result. Returns 0, SQLite's extended code, or a
 * code of enum sync_lite_error. */
int connection_execute(struct connection *connection, struct request *request);

/* Begins a statement whose rows connection_fetch writes, as many as are asked for; it's
 * the caller's to finalize. Both return as connection_execute. */
int connection_begin(struct connection *connection, struct request *request,
                     struct sqlite3_stmt **statement);
int connection_fetch(struct connection *connection, struct request *request,
                     struct sqlite3_stmt *statement);
