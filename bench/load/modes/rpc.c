/* rpc.c: calls by JSON-RPC that are answered in order. */
#include <stdio.h>

#include "answer.h"
#include "texts.h"

static size_t request(char *text, int index, unsigned number) {
    return (size_t)snprintf(
        text, TEXT_MOST,
        "{\"jsonrpc\":\"2.0\",\"method\":\"add\",\"params\":[%u,%d],\"id\":%u}",
        number % 1000, index, number);
}

static bool check(const char *text, size_t length, int index, unsigned number) {
    int64_t id, sum;
    return answer_read(text, length, &id, &sum) && id == number &&
           sum == (int64_t)(number % 1000) + index;
}

static void begin(void) {
    static const struct loop_of_texts texts = {request, check};
    texts_begin(&texts);
}

const struct mode mode_rpc = {
    .name = "rpc",
    .help = "closed loop of calls add(a, b) by JSON-RPC, answered in order",
    .unit = "calls",
    .run = loop_run,
    .begin = begin,
    .received = texts_loop,
    .stalled = texts_stalled,
};
