/* work_test.c: functions of Lua on threads, and how they are ended. */
#include <stdio.h>
#include <string.h>

#include "server.h"
#include "test.h"
/* It follows sync.h, as the text of the FFI does. */
#include "work/work.h"

/* Calls what the code makes, and returns its result as text. */
static const char prelude[] = "local load = loadstring\n"
                              "return function(name, code, given)\n"
                              "  return tostring(load(code)(given, name))\n"
                              "end";

enum { MEMORY = 8 * 1024 * 1024 };

static struct sync_work *begin(struct server *server) {
    char message[256];
    if (sync_work_load(message, sizeof(message)) < 0) {
        test_skip(message);
        return NULL;
    }
    server_open(server);
    return sync_work_open(server->sync, 2, 8, MEMORY, prelude, sizeof(prelude) - 1);
}

static int32_t give(struct sync_work *work, const char *code, uint32_t limit) {
    return sync_work_do(work, 7, code, strlen(code), "given", 5, limit, 100);
}

/* The value of a job's end, whose data must be the text, unless that is NULL. */
static int32_t value_of(struct server *server, int32_t id, const char *text) {
    if (!CHECK(id > 0)) {
        return -1;
    }
    WAIT(server, server_saw(server, SYNC_JOB, (uint32_t)id) == 1);
    const struct seen *seen = server_find(server, SYNC_JOB, (uint32_t)id);
    if (seen && text) {
        CHECK_BYTES(seen->data, seen->length, text, strlen(text));
    }
    return seen ? (int32_t)seen->value : -1;
}

TEST(work_calls_a_function_and_brings_what_it_returns) {
    struct server server;
    struct sync_work *work = begin(&server);
    if (!work) {
        return;
    }
    int32_t id = give(work, "local a, b = ... return a .. b", 5000);
    CHECK_INT(value_of(&server, id, "given7"), SYNC_WORK_DONE);
    id = give(work, "return ('x'):rep(101)", 5000);
    CHECK_INT(value_of(&server, id, ""), SYNC_WORK_LARGE);
    id = give(work, "error('wrong', 0)", 5000);
    CHECK_INT(value_of(&server, id, "wrong"), SYNC_WORK_FAILED);
    id = give(work, "local s = 'x' while true do s = s .. s end", 5000);
    CHECK_INT(value_of(&server, id, "not enough memory"), SYNC_WORK_FAILED);
    id = give(work, "return 'goes on'", 5000);
    CHECK_INT(value_of(&server, id, "goes on"), SYNC_WORK_DONE);
    CHECK_INT(sync_poll(server.sync, 1), -1);
    server_close(&server);
}

static const char *const endless[] = {
    "while true do end",
    "while true do pcall(error) end",
    "return (('a'):rep(50)):find(('a-'):rep(40) .. 'b')",
    "while true do local t = {{}} end",
    "local n = 0 while true do n = n + 1 local s = ('x'):rep(10) .. n end",
};

TEST(work_ends_what_takes_too_long_whatever_it_does) {
    if (test_skips_signals()) {
        return;
    }
    struct server server;
    struct sync_work *work = begin(&server);
    if (!work) {
        return;
    }
    for (int round = 0; round < 10; round++) {
        for (size_t i = 0; i < sizeof(endless) / sizeof(*endless); i++) {
            if (i == 2 && round > 0) {
                continue; /* it takes half a second */
            }
            int32_t id = give(work, endless[i], 30);
            CHECK_INT(value_of(&server, id, ""), SYNC_WORK_LATE);
        }
        int32_t id = give(work, "return 'goes on'", 5000);
        CHECK_INT(value_of(&server, id, "goes on"), SYNC_WORK_DONE);
    }
    server_close(&server);
}

TEST(work_that_waited_too_long_is_not_begun) {
    if (test_skips_signals()) {
        return;
    }
    struct server server;
    struct sync_work *work = begin(&server);
    if (!work) {
        return;
    }
    int32_t first = give(work, endless[0], 200);
    int32_t second = give(work, endless[0], 200);
    int32_t third = give(work, "return 'too late'", 1);
    CHECK_INT(value_of(&server, first, ""), SYNC_WORK_LATE);
    CHECK_INT(value_of(&server, second, ""), SYNC_WORK_LATE);
    CHECK_INT(value_of(&server, third, ""), SYNC_WORK_LATE);
    server_close(&server);
}

TEST(work_under_way_ends_with_its_cancelling_and_with_the_core) {
    if (test_skips_signals()) {
        return;
    }
    for (size_t i = 0; i < sizeof(endless) / sizeof(*endless); i++) {
        struct server server;
        struct sync_work *work = begin(&server);
        if (!work) {
            return;
        }
        int32_t cancelled = give(work, endless[i], 60000);
        REQUIRE(cancelled > 0);
        for (int turn = 0; turn < 3; turn++) {
            server_tick(&server, false);
        }
        sync_job_cancel(server.sync, (uint32_t)cancelled);
        CHECK(give(work, endless[i], 60000) > 0);
        server_tick(&server, false);
        CHECK(give(work, endless[i], 60000) > 0);
        if (i == 0) {
            sync_work_close(work);
        }
        server_close(&server);
        CHECK_INT(server_saw(&server, SYNC_JOB, (uint32_t)cancelled), 0);
    }
}
