/* calls.c: a closed loop of calls of add(a, b) by JSON-RPC 2.0, over any framing. Answers
 * may come in any order, with their members in any order. */
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "texts.h"

/* A call under way. Its id is DEPTH × its turn + its place, so that the id says where it
 * stands, and an answer that comes twice or late has an id that is not expected. */
struct call {
    int64_t id;
    int32_t a, b;
    bool waits;
};

/* What a link has besides. */
struct caller {
    uint64_t done; /* of its calls, in the measured time */
    struct call calls[];
};

/* xorshift: operands that no one can foresee cost nearly nothing. */
static uint32_t random_bits(void) {
    static uint32_t state = 2463534242;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

/* Calls */

/* printf would be a quarter of the load's time. */
static char *write_number(char *to, int64_t number) {
    char digits[20];
    int count = 0;
    if (number < 0) {
        *to++ = '-';
        number = -number;
    }
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    while (count > 0) {
        *to++ = digits[--count];
    }
    return to;
}

static char *write_text(char *to, const char *text, size_t length) {
    memcpy(to, text, length);
    return to + length;
}
#define WRITE(to, literal) write_text(to, literal, sizeof(literal) - 1)

static size_t write_call(char *text, const struct call *call) {
    char *to = WRITE(text, "{\"jsonrpc\":\"2.0\",\"id\":");
    to = write_number(to, call->id);
    to = WRITE(to, ",\"method\":\"add\",\"params\":[");
    to = write_number(to, call->a);
    *to++ = ',';
    to = write_number(to, call->b);
    to = WRITE(to, "]}");
    return (size_t)(to - text);
}

/* Queues the next call at this place. */
static void call_next(struct call *call) {
    char text[TEXT_MOST];
    call->id += plan.depth;
    call->a = (int32_t)(random_bits() % 2000001) - 1000000;
    call->b = (int32_t)(random_bits() % 2000001) - 1000000;
    call->waits = true;
    texts_queue(text, write_call(text, call));
}

static void answered(struct link *link, const char *text, size_t length) {
    struct caller *caller = link->state;
    int64_t id, result;
    if (!answer_read(text, length, &id, &result)) {
        fail("connection %d: this is no answer to add: %.*s", link->index, (int)length,
             text);
    }
    struct call *call = &caller->calls[(id % plan.depth + plan.depth) % plan.depth];
    if (!call->waits || call->id != id) {
        fail("connection %d: an answer that was not asked for: %.*s", link->index,
             (int)length, text);
    }
    if (result != call->a + call->b) {
        fail("connection %d: %d + %d is not %lld", link->index, call->a, call->b,
             (long long)result);
    }
    call->waits = false;
    link->received++;
    caller->done += tally.on;
    tally.count += tally.on;
    call_next(call);
}

static void received(struct link *link, char *bytes, size_t count, int64_t now) {
    (void)now;
    texts_received(link, bytes, count, answered);
    texts_flush(link);
}

/* A server that forgets one connection over the others has failed, too. */
static void finish(void) {
    for (int i = 0; i < plan.connections && !interrupted; i++) {
        struct caller *caller = links[i].state;
        if (caller->done == 0) {
            fail("connection %d: nothing was answered in the measured time", i);
        }
    }
}

static void begin(void) {
    size_t size = sizeof(struct caller) + (size_t)plan.depth * sizeof(struct call);
    links_open(plan.connections);
    for (int i = 0; i < plan.connections; i++) {
        struct caller *caller = links[i].state = need(calloc(1, size));
        for (int place = 0; place < plan.depth; place++) {
            caller->calls[place].id = place;
            call_next(&caller->calls[place]);
        }
        texts_flush(&links[i]);
    }
}

const struct mode mode_calls = {
    .name = "calls",
    .help = "closed loop of calls add(a, b) by JSON-RPC, answered in any order",
    .unit = "calls",
    .run = loop_run,
    .begin = begin,
    .finish = finish,
    .received = received,
    .stalled = texts_stalled,
};
