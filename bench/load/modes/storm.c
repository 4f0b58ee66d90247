/* storm.c: how fast clients are taken: connect, one round trip, leave. */
#include "../load.h"

enum { MOST = 1024 };

static struct link slots[MOST];
static uint64_t finished;

static void start(struct link *link, int index) {
    *link = (struct link){0};
    link_open(link, index);
}

/* The answer shows that the server has really taken the client: to a first message, or to
 * a WebSocket's handshake. */
static void finish(struct link *link) {
    int index = link->index;
    link_reset(link);
    finished++;
    tally.count += tally.on;
    start(link, index);
}

static void ready(struct link *link) {
    if (wire_is_websocket()) {
        finish(link);
    } else {
        link_send_message(link, (unsigned)link->index, link->sent++);
    }
}

static void received(struct link *link, char *bytes, size_t count, int64_t now) {
    struct part part;
    (void)now;
    while (link_part(link, &bytes, &count, &part)) {
        link_check(link, &part, (unsigned)link->index, 0);
        if (part.ends && count > 0) {
            fail("connection %d: %zu bytes more came than were sent", link->index, count);
        }
        if (part.ends) {
            finish(link);
            return;
        }
    }
}

static void stalled(void) {
    fail("%s was not answered for %g s, after %llu connections",
         wire_is_websocket() ? "a handshake" : "a first message", plan.patience,
         (unsigned long long)finished);
}

static void begin(void) {
    for (int i = 0; i < plan.connections && i < MOST; i++) {
        start(&slots[i], i);
    }
}

const struct mode mode_storm = {
    .name = "storm",
    .help = "connections a second: connect, one round trip (of a WebSocket the\n"
            "             handshake), leave",
    .unit = "connections",
    .run = loop_run,
    .begin = begin,
    .ready = ready,
    .received = received,
    .stalled = stalled,
};
