/* connection.c: one connection to a SQLite database, and what a statement on it brings.
 */
#include "sql/connection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/batch.h"

enum {
    LEAST_RESULT = 512,
    LOOK_EVERY = 1000 /* steps of SQLite's machine: some 20 us */
};

/* Results. */

/* Makes room, and returns where; NULL when memory ran out. */
static char *grow(struct request *request, size_t size) {
    if (request->used + size > request->capacity) {
        size_t capacity = 2 * (request->used + size);
        capacity = capacity < LEAST_RESULT ? LEAST_RESULT : capacity;
        char *bytes = batch_block_new(capacity);
        if (!bytes) {
            return NULL;
        }
        if (request->result) {
            memcpy(bytes, request->result, request->used);
            batch_block_free(request->result);
        }
        request->result = bytes;
        request->capacity = capacity;
    }
    char *place = request->result + request->used;
    request->used += size;
    return place;
}

static struct sync_lite_result *head_of(struct request *request) {
    return (struct sync_lite_result *)(void *)request->result;
}

static bool begin_result(struct request *request) {
    char *place = grow(request, sizeof(struct sync_lite_result));
    if (place) {
        memset(place, 0, sizeof(struct sync_lite_result));
    }
    return place;
}

static size_t padded(size_t length) {
    return (length + 7) & ~(size_t)7;
}

static bool put_bytes(struct request *request, uint32_t type, const void *bytes,
                      size_t length) {
    char *place = grow(request, sizeof(struct sync_sql_value) + padded(length));
    if (!place) {
        return false;
    }
    struct sync_sql_value value = {.type = type, .length = (uint32_t)length};
    memcpy(place, &value, sizeof(value));
    if (length > 0) {
        memcpy(place + sizeof(value), bytes, length);
    }
    return true;
}

static bool put_column(struct request *request, struct sqlite3_stmt *statement,
                       int column) {
    struct sync_sql_value value = {.type = SYNC_SQL_NULL};
    switch (lite_call.column_type(statement, column)) {
    case LITE_INTEGER:
        value.type = SYNC_SQL_INTEGER;
        value.integer = lite_call.column_int64(statement, column);
        break;
    case LITE_FLOAT:
        value.type = SYNC_SQL_REAL;
        value.real = lite_call.column_double(statement, column);
        break;
    case LITE_TEXT:
    case LITE_BLOB: {
        uint32_t type = lite_call.column_type(statement, column) == LITE_TEXT
                            ? SYNC_SQL_TEXT
                            : SYNC_SQL_BLOB;
        const void *bytes = lite_call.column_blob(statement, column);
        return put_bytes(request, type, bytes,
                         (size_t)lite_call.column_bytes(statement, column));
    }
    default: break;
    }
    char *place = grow(request, sizeof(value));
    if (place) {
        memcpy(place, &value, sizeof(value));
    }
    return place;
}

static bool put_names(struct request *request, struct sqlite3_stmt *statement) {
    int columns = lite_call.column_count(statement);
    for (int i = 0; i < columns; i++) {
        const char *name = lite_call.column_name(statement, i);
        if (!name || !put_bytes(request, SYNC_SQL_TEXT, name, strlen(name))) {
            return false;
        }
    }
    head_of(request)->columns = (uint32_t)columns;
    return true;
}

static bool put_row(struct request *request, struct sqlite3_stmt *statement) {
    int columns = lite_call.column_count(statement);
    for (int i = 0; i < columns; i++) {
        if (!put_column(request, statement, i)) {
            return false;
        }
    }
    head_of(request)->rows++;
    return true;
}

/* The result becomes a message. Returns the code. */
static int fail(struct request *request, int code, const char *text) {
    request->used = 0;
    if (begin_result(request)) {
        put_bytes(request, SYNC_SQL_TEXT, text, strlen(text));
    }
    return code;
}

static int fail_by(struct request *request, struct sqlite3 *database) {
    return fail(request, lite_call.extended_errcode(database),
                lite_call.errmsg(database));
}

/* Connections. */

/* WAL lets readers read while one writes; a transaction is on the disk at the next
 * checkpoint at the latest, and whole or not there after a crash. */
static const char *const SETTINGS = "PRAGMA journal_mode = WAL;"
                                    "PRAGMA synchronous = NORMAL;"
                                    "PRAGMA foreign_keys = ON;";
static const char *const READERS = "PRAGMA foreign_keys = ON; PRAGMA query_only = ON;";

/* sqlite3_interrupt would be lost on a statement that is about to begin. */
static int should_stop(void *data) {
    struct connection *connection = data;
    return connection->request && atomic_load(&connection->request->stop);
}

int connection_open(struct connection *connection, const char *path, uint32_t wait,
                    struct request *request) {
    if (connection->database) {
        return LITE_OK;
    }
    struct sqlite3 *database = NULL;
    int flags = LITE_OPEN_READWRITE | LITE_OPEN_CREATE | LITE_OPEN_NOMUTEX;
    int code = lite_call.open_v2(path, &database, flags, NULL);
    if (code == LITE_OK) {
        lite_call.busy_timeout(database, (int)wait);
        code = lite_call.exec(database,
                              request->flags & SYNC_LITE_WRITER ? SETTINGS : READERS,
                              NULL, NULL, NULL);
    }
    if (code != LITE_OK) {
        code = database ? fail_by(request, database)
                        : fail(request, LITE_NOMEM, "not enough memory");
        lite_call.close_v2(database);
        return code;
    }
    connection->database = database;
    lite_call.progress_handler(database, LOOK_EVERY, should_stop, connection);
    return LITE_OK;
}

static void forget(struct prepared *prepared) {
    lite_call.finalize(prepared->statement);
    free(prepared->sql);
    *prepared = (struct prepared){0};
}

void connection_close(struct connection *connection) {
    struct sqlite3 *database = connection->database;
    if (database) {
        for (int i = 0; i < PREPARED; i++) {
            forget(&connection->prepared[i]);
        }
        lite_call.close_v2(database);
        connection->database = NULL;
    }
}

/* Statements. */

static bool is_blank(const char *text) {
    return text[strspn(text, " \t\r\n;")] == '\0';
}

static int prepare(struct connection *connection, struct request *request,
                   struct sqlite3_stmt **statement) {
    struct sqlite3 *database = connection->database;
    const char *tail = "";
    *statement = NULL;
    int code = lite_call.prepare_v3(database, request->sql, (int)request->length,
                                    LITE_PREPARE_PERSISTENT, statement, &tail);
    if (code != LITE_OK) {
        return fail_by(request, database);
    }
    if (!*statement) {
        return fail(request, SYNC_LITE_SEVERAL, "there is no statement");
    }
    if (!is_blank(tail)) {
        lite_call.finalize(*statement);
        *statement = NULL;
        return fail(request, SYNC_LITE_SEVERAL, "there is more than one statement");
    }
    return LITE_OK;
}

static uint32_t hash(const char *bytes, size_t length) {
    uint32_t made = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < length; i++) {
        made = (made ^ (uint8_t)bytes[i]) * 16777619u;
    }
    return made;
}

/* The statement as it was prepared before, or now; it's the connection's. */
static int find(struct connection *connection, struct request *request,
                struct sqlite3_stmt **statement) {
    uint32_t place = hash(request->sql, request->length) % PREPARED;
    struct prepared *prepared = &connection->prepared[place];
    if (prepared->statement && prepared->length == request->length &&
        memcmp(prepared->sql, request->sql, request->length) == 0) {
        *statement = prepared->statement;
        return LITE_OK;
    }
    int code = prepare(connection, request, statement);
    if (code != LITE_OK) {
        return code;
    }
    char *sql = malloc(request->length + 1);
    if (!sql) {
        lite_call.finalize(*statement);
        return fail(request, LITE_NOMEM, "not enough memory");
    }
    memcpy(sql, request->sql, request->length);
    forget(prepared);
    *prepared = (struct prepared){sql, request->length, *statement};
    return LITE_OK;
}

static int bind_one(struct sqlite3_stmt *statement, int place,
                    const struct sync_sql_value *value) {
    switch (value->type) {
    case SYNC_SQL_INTEGER: return lite_call.bind_int64(statement, place, value->integer);
    case SYNC_SQL_REAL: return lite_call.bind_double(statement, place, value->real);
    case SYNC_SQL_TEXT:
        return lite_call.bind_text(statement, place, value->bytes, (int)value->length,
                                   NULL);
    case SYNC_SQL_BLOB:
        return lite_call.bind_blob(statement, place, value->bytes, (int)value->length,
                                   NULL);
    default: return lite_call.bind_null(statement, place);
    }
}

static int bind_all(struct connection *connection, struct request *request,
                    struct sqlite3_stmt *statement) {
    char text[96];
    int places = lite_call.bind_parameter_count(statement);
    if ((uint32_t)places != request->count) {
        snprintf(text, sizeof(text), "the statement has %d places for %u parameters",
                 places, request->count);
        return fail(request, SYNC_LITE_COUNT, text);
    }
    for (int i = 0; i < places; i++) {
        if (bind_one(statement, i + 1, &request->values[i]) != LITE_OK) {
            return fail_by(request, connection->database);
        }
    }
    return LITE_OK;
}

static int step_all(struct connection *connection, struct request *request,
                    struct sqlite3_stmt *statement) {
    int code;
    while ((code = lite_call.step(statement)) == LITE_ROW) {
        if (request->flags & SYNC_LITE_FIRST &&
            head_of(request)->rows >= request->most_rows) {
            return LITE_OK;
        }
        if (head_of(request)->rows >= request->most_rows ||
            request->used > request->most_bytes) {
            return fail(request, SYNC_LITE_TOO_LARGE,
                        "there are more rows, or more bytes, than the bound");
        }
        if (!put_row(request, statement)) {
            return fail(request, LITE_NOMEM, "not enough memory");
        }
    }
    return code == LITE_DONE ? LITE_OK : fail_by(request, connection->database);
}

static void note(struct connection *connection, struct request *request) {
    struct sqlite3 *database = connection->database;
    struct sync_lite_result *head = head_of(request);
    if (head && !lite_call.get_autocommit(database)) {
        head->found |= SYNC_LITE_OPEN;
    }
}

static int run(struct connection *connection, struct request *request,
               struct sqlite3_stmt *statement) {
    bool writes = !lite_call.stmt_readonly(statement);
    if (writes && !(request->flags & SYNC_LITE_WRITER)) {
        head_of(request)->found |= SYNC_LITE_WRITES;
        return LITE_OK;
    }
    int code = bind_all(connection, request, statement);
    if (code == LITE_OK && !put_names(request, statement)) {
        code = fail(request, LITE_NOMEM, "not enough memory");
    }
    if (code == LITE_OK) {
        code = step_all(connection, request, statement);
    }
    lite_call.reset(statement);
    lite_call.clear_bindings(statement);
    if (code == LITE_OK && writes) {
        struct sqlite3 *database = connection->database;
        head_of(request)->changes = (uint32_t)lite_call.changes(database);
        head_of(request)->last_id = lite_call.last_insert_rowid(database);
    }
    return code;
}

static int run_script(struct connection *connection, struct request *request) {
    struct sqlite3 *database = connection->database;
    int code = lite_call.exec(database, request->sql, NULL, NULL, NULL);
    return code == LITE_OK ? LITE_OK : fail_by(request, database);
}

int connection_execute(struct connection *connection, struct request *request) {
    struct sqlite3_stmt *statement = NULL;
    int code;
    if (!begin_result(request)) {
        return LITE_NOMEM;
    }
    connection->request = request;
    if (request->flags & SYNC_LITE_SCRIPT) {
        code = run_script(connection, request);
    } else {
        code = find(connection, request, &statement);
        code = code == LITE_OK ? run(connection, request, statement) : code;
    }
    struct sqlite3 *database = connection->database;
    if (!(request->flags & SYNC_LITE_INSIDE) && !lite_call.get_autocommit(database)) {
        lite_call.exec(database, "ROLLBACK", NULL, NULL, NULL);
        code = fail(request, SYNC_LITE_LEFT_OPEN,
                    "a transaction is begun by db:transaction, not by a statement");
    }
    note(connection, request);
    connection->request = NULL;
    return code;
}

int connection_begin(struct connection *connection, struct request *request,
                     struct sqlite3_stmt **statement) {
    int code = prepare(connection, request, statement);
    if (code == LITE_OK && !lite_call.stmt_readonly(*statement)) {
        code =
            fail(request, SYNC_LITE_SEVERAL, "db:each is for statements that only read");
    }
    return code == LITE_OK ? bind_all(connection, request, *statement) : code;
}

int connection_fetch(struct connection *connection, struct request *request,
                     struct sqlite3_stmt *statement) {
    if (!begin_result(request) || !put_names(request, statement)) {
        return fail(request, LITE_NOMEM, "not enough memory");
    }
    connection->request = request;
    int code = LITE_ROW;
    while (head_of(request)->rows < request->most_rows &&
           request->used < request->most_bytes &&
           (code = lite_call.step(statement)) == LITE_ROW) {
        if (!put_row(request, statement)) {
            code = LITE_NOMEM;
            break;
        }
    }
    connection->request = NULL;
    if (code == LITE_ROW) {
        head_of(request)->found |= SYNC_LITE_MORE;
    } else if (code != LITE_DONE) {
        return fail_by(request, connection->database);
    }
    note(connection, request);
    return LITE_OK;
}
