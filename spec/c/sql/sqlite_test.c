/* sqlite_test.c: SQLite on threads. What statements mean is tested from Lua. */
#include "sql/connection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "server.h"
#include "test.h"

enum { ROWS = 1000, BYTES = 1024 * 1024 };

/* A database of the test's own; NULL where the library is missing. */
static struct sync_lite *open_lite(struct server *server, char *path, uint32_t readers,
                                   uint32_t queue) {
    char message[256] = "";
    server_open(server);
    if (sync_lite_load(message, sizeof(message)) < 0) {
        test_skip(message);
        server_close(server);
        return NULL;
    }
    strcpy(path, "/tmp/sync-sqlite-XXXXXX");
    int fd = mkstemp(path);
    close(fd);
    return sync_lite_open(server->sync, path, readers, queue, 1000);
}

static void remove_all(const char *path) {
    char name[64];
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof(name), "%s%s", path, ends[i]);
        unlink(name);
    }
}

static int32_t begin(struct sync_lite *lite, uint32_t flags, const char *sql) {
    return sync_lite_do(lite, flags, sql, strlen(sql), NULL, 0, ROWS, BYTES);
}

/* Waits for a job; its event stays among those that were seen. */
static const struct seen *result_of(struct server *server, int32_t id) {
    CHECK(id > 0);
    WAIT(server, server_saw(server, SYNC_JOB, (uint32_t)id) == 1);
    return server_find(server, SYNC_JOB, (uint32_t)id);
}

static int32_t write_all(struct server *server, struct sync_lite *lite, const char *sql) {
    return (int32_t)result_of(server, begin(lite, SYNC_LITE_WRITER, sql))->value;
}

static struct sync_lite_result head_of(const struct seen *seen) {
    struct sync_lite_result head = {0};
    CHECK(seen->length >= sizeof(head));
    memcpy(&head, seen->data, sizeof(head));
    return head;
}

TEST(sqlite_writes_by_one_thread_and_reads_by_others) {
    struct server server;
    char path[32];
    struct sync_lite *lite = open_lite(&server, path, 3, 10000);
    if (!lite) {
        return;
    }
    CHECK_INT(write_all(&server, lite, "create table t (k integer primary key, v)"), 0);
    struct sync_sql_value value = {.type = SYNC_SQL_TEXT, .length = 3, .bytes = "a\0b"};
    static const char insert[] = "insert into t (v) values (?)";
    for (int i = 0; i < 100; i++) {
        CHECK(sync_lite_do(lite, SYNC_LITE_WRITER, insert, strlen(insert), &value, 1,
                           ROWS, BYTES) > 0);
    }
    WAIT(&server, server_saw(&server, SYNC_JOB, 0) == 101);
    CHECK_INT(head_of(&server.seen[100]).last_id, 100);
    server_forget(&server);
    for (int i = 0; i < 500; i++) {
        CHECK(begin(lite, 0, i % 2 ? "select * from t" : "select count(*) from t") > 0);
    }
    WAIT(&server, server_saw(&server, SYNC_JOB, 0) == 500);
    for (int i = 0; i < 500; i++) {
        struct sync_lite_result head = head_of(&server.seen[i]);
        CHECK_INT(server.seen[i].value, 0);
        CHECK(head.rows == (head.columns == 1 ? 1 : 100));
    }
    server_close(&server);
    remove_all(path);
}

TEST(sqlite_says_what_is_wrong) {
    struct server server;
    char path[32];
    struct sync_lite *lite = open_lite(&server, path, 1, 100);
    if (!lite) {
        return;
    }
    static const struct {
        const char *sql;
        int32_t code;
    } cases[] = {
        {"select", 1},
        {"", SYNC_LITE_SEVERAL},
        {"select 1; select 2", SYNC_LITE_SEVERAL},
        {"select ?", SYNC_LITE_COUNT},
        {"begin", SYNC_LITE_LEFT_OPEN},
        {"with recursive c(x) as (select 1 union all select x + 1 from c) select x from "
         "c",
         SYNC_LITE_TOO_LARGE},
        {"select 1;  ", 0},
    };
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        for (uint32_t flags = 0; flags <= SYNC_LITE_WRITER; flags++) {
            int32_t id = begin(lite, flags, cases[i].sql);
            CHECK_INT((int32_t)result_of(&server, id)->value, cases[i].code);
        }
    }
    const struct seen *seen = result_of(&server, begin(lite, 0, "create table t (k)"));
    CHECK_INT(seen->value, 0);
    CHECK_INT(head_of(seen).found, SYNC_LITE_WRITES); /* and nothing was done */
    CHECK_INT((int32_t)result_of(&server, begin(lite, 0, "select * from t"))->value, 1);
    server_close(&server);
    remove_all(path);
}

static const char *const ENDLESS = "with recursive c(x) as (select 1 union all select x "
                                   "+ 1 from c) select count(*) from c";

TEST(sqlite_statement_is_interrupted_by_cancel_and_by_close) {
    struct server server;
    char path[32];
    struct sync_lite *lite = open_lite(&server, path, 1, 100);
    if (!lite) {
        return;
    }
    CHECK_INT((int32_t)result_of(&server, begin(lite, 0, "select 1"))->value, 0);
    int32_t endless = begin(lite, 0, ENDLESS);
    int32_t next = begin(lite, 0, "select 1");
    struct server *waiting = &server;
    server_tick(waiting, false);
    sync_job_cancel(server.sync, (uint32_t)endless);
    CHECK_INT((int32_t)result_of(&server, next)->value, 0);
    CHECK_INT(server_saw(&server, SYNC_JOB, (uint32_t)endless), 0);
    CHECK(begin(lite, 0, ENDLESS) > 0);
    CHECK(begin(lite, SYNC_LITE_WRITER, ENDLESS) > 0);
    sync_lite_close(lite);
    CHECK_INT(sync_poll(server.sync, 1), -1);
    server_close(&server);
    remove_all(path);
}

TEST(sqlite_cursor_brings_rows_in_parts_and_may_end_before) {
    struct server server;
    char path[32];
    struct sync_lite *lite = open_lite(&server, path, 2, 100);
    if (!lite) {
        return;
    }
    static const char sql[] =
        "with recursive c(x) as (select 1 union all select x + 1 from "
        "c where x < 250) select x from c";
    for (int parts = 1; parts <= 3; parts++) {
        struct sync_lite_cursor *cursor =
            sync_lite_cursor_open(lite, 0, sql, strlen(sql), NULL, 0);
        REQUIRE(cursor);
        for (int i = 1; i <= parts; i++) {
            const struct seen *seen =
                result_of(&server, sync_lite_fetch(cursor, 100, BYTES));
            CHECK_INT(head_of(seen).rows, i < 3 ? 100 : 50);
            CHECK_INT(head_of(seen).found, i < 3 ? SYNC_LITE_MORE : 0);
        }
        sync_lite_cursor_close(cursor);
    }
    struct sync_lite_cursor *left =
        sync_lite_cursor_open(lite, 0, sql, strlen(sql), NULL, 0);
    result_of(&server, sync_lite_fetch(left, 10, BYTES));
    sync_lite_cursor_close(left); /* and the core is closed before a thread comes to it */
    server_close(&server);
    remove_all(path);
}

/* The other reader is free, and must not end what the first is still at. */
TEST(sqlite_cursor_is_closed_while_its_cancelled_fetch_runs) {
    struct server server;
    char path[32];
    struct sync_lite *lite = open_lite(&server, path, 2, 100);
    if (!lite) {
        return;
    }
    for (int i = 0; i < 50; i++) {
        struct sync_lite_cursor *cursor =
            sync_lite_cursor_open(lite, 0, ENDLESS, strlen(ENDLESS), NULL, 0);
        REQUIRE(cursor);
        int32_t fetch = sync_lite_fetch(cursor, 10, BYTES);
        CHECK(fetch > 0);
        server_tick(&server, false); /* a thread takes it */
        if (i % 2 == 0) {
            result_of(&server, begin(lite, 0, "select 1"));
        }
        sync_job_cancel(server.sync, (uint32_t)fetch);
        sync_lite_cursor_close(cursor);
        result_of(&server, begin(lite, 0, "select 2"));
        CHECK_INT(server_saw(&server, SYNC_JOB, (uint32_t)fetch), 0);
    }
    server_close(&server);
    remove_all(path);
}
