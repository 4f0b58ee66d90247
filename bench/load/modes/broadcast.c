/* broadcast.c: a crowd in a closed loop. A message is complete when it has reached the
 * last receiver; that is its latency, and then its sender sends the next. */
#include <stdlib.h>

#include "crowd.h"

static int *missing; /* [sender][number % depth]: receivers that lack it */

static int place_of(int sender, unsigned number) {
    return sender * plan.depth + (int)(number % (unsigned)plan.depth);
}

static void send_next(struct link *sender) {
    unsigned number = sender->sent;
    missing[place_of(sender->index, number)] = plan.connections;
    sender->times[number % (unsigned)plan.depth] = now_ns();
    crowd_send(sender);
}

static void delivered(struct link *link, unsigned sender, unsigned number, int64_t now) {
    struct link *from = &links[sender];
    (void)link, (void)now;
    tally.count += tally.on;
    if (--missing[place_of((int)sender, number)] > 0) {
        return;
    }
    if (tally.on) {
        histogram_add(now_ns() - from->times[number % (unsigned)plan.depth]);
    }
    if (!interrupted) {
        send_next(from);
    }
}

static void prepare(void) {
    crowd_prepare(NULL, delivered);
}

static void begin(void) {
    missing = need(calloc((size_t)plan.senders, (size_t)plan.depth * sizeof(*missing)));
    crowd_open();
    for (int i = 0; i < plan.senders; i++) {
        links[i].times = need(calloc((size_t)plan.depth, sizeof(int64_t)));
        for (int k = 0; k < plan.depth; k++) {
            send_next(&links[i]);
        }
    }
}

const struct mode mode_broadcast = {
    .name = "broadcast",
    .help = "SENDERS send, all connections get; latency to the last receiver",
    .unit = "deliveries",
    .prepare = prepare,
    .run = loop_run,
    .begin = begin,
    .received = crowd_received,
    .stalled = crowd_stalled,
};
