/* library.h: the functions of libsqlite3, which is opened when it is first needed. They
 * are declared here, so that no header of it is needed to build. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct sqlite3;
struct sqlite3_stmt;

enum {
    LITE_OK = 0,
    LITE_NOMEM = 7,
    LITE_ROW = 100,
    LITE_DONE = 101,
    LITE_INTEGER = 1,
    LITE_FLOAT = 2,
    LITE_TEXT = 3,
    LITE_BLOB = 4,
    LITE_OPEN_READWRITE = 2,
    LITE_OPEN_CREATE = 4,
    LITE_OPEN_NOMUTEX = 0x8000,
    LITE_PREPARE_PERSISTENT = 1
};

/* name, result, arguments */
#define LITE_FUNCTIONS(F)                                                                \
    F(open_v2, int, (const char *, struct sqlite3 **, int, const char *))                \
    F(close_v2, int, (struct sqlite3 *))                                                 \
    F(prepare_v3, int,                                                                   \
      (struct sqlite3 *, const char *, int, unsigned, struct sqlite3_stmt **,            \
       const char **))                                                                   \
    F(step, int, (struct sqlite3_stmt *))                                                \
    F(reset, int, (struct sqlite3_stmt *))                                               \
    F(clear_bindings, int, (struct sqlite3_stmt *))                                      \
    F(finalize, int, (struct sqlite3_stmt *))                                            \
    F(bind_int64, int, (struct sqlite3_stmt *, int, int64_t))                            \
    F(bind_double, int, (struct sqlite3_stmt *, int, double))                            \
    F(bind_null, int, (struct sqlite3_stmt *, int))                                      \
    F(bind_text, int, (struct sqlite3_stmt *, int, const char *, int, void (*)(void *))) \
    F(bind_blob, int, (struct sqlite3_stmt *, int, const void *, int, void (*)(void *))) \
    F(bind_parameter_count, int, (struct sqlite3_stmt *))                                \
    F(column_count, int, (struct sqlite3_stmt *))                                        \
    F(column_name, const char *, (struct sqlite3_stmt *, int))                           \
    F(column_type, int, (struct sqlite3_stmt *, int))                                    \
    F(column_int64, int64_t, (struct sqlite3_stmt *, int))                               \
    F(column_double, double, (struct sqlite3_stmt *, int))                               \
    F(column_blob, const void *, (struct sqlite3_stmt *, int))                           \
    F(column_bytes, int, (struct sqlite3_stmt *, int))                                   \
    F(stmt_readonly, int, (struct sqlite3_stmt *))                                       \
    F(errmsg, const char *, (struct sqlite3 *))                                          \
    F(extended_errcode, int, (struct sqlite3 *))                                         \
    F(changes, int, (struct sqlite3 *))                                                  \
    F(last_insert_rowid, int64_t, (struct sqlite3 *))                                    \
    F(get_autocommit, int, (struct sqlite3 *))                                           \
    F(progress_handler, void, (struct sqlite3 *, int, int (*)(void *), void *))          \
    F(busy_timeout, int, (struct sqlite3 *, int))                                        \
    F(exec, int, (struct sqlite3 *, const char *, void *, void *, char **))

/* NOLINTNEXTLINE(bugprone-macro-parentheses): they are parts of a declaration */
#define LITE_MEMBER(name, result, arguments) result(*name) arguments;
extern struct lite_functions { LITE_FUNCTIONS(LITE_MEMBER) } lite_call;
#undef LITE_MEMBER
