/* room.c: a crowd in an open loop. Messages leave at a fixed rate whatever the servers
 * do, and the latency of each delivery counts from when its message was due. Messages may
 * be due in bursts. The senders take turns. */
#include "crowd.h"

static int64_t start; /* when message 0 was due */
static uint64_t sent;

/* When a message was due, by its number among those of all senders. */
static int64_t due(uint64_t number) {
    uint64_t first = number - number % (uint64_t)plan.burst;
    return start + (int64_t)((double)first / plan.rate * 1e9);
}

static void delivered(struct link *link, unsigned sender, unsigned number, int64_t now) {
    (void)link;
    tally_message(now - due((uint64_t)number * (uint64_t)plan.senders + sender));
}

static int64_t send_due(int64_t now) {
    while (due(sent) <= now) {
        crowd_send(&links[sent++ % (uint64_t)plan.senders]);
    }
    return due(sent) - now;
}

/* Waits for what was sent, so that a message that was lost shows. */
static void wait_for_rest(void) {
    int64_t heard = now_ns();
    for (int i = 0; i < plan.connections; i++) {
        while (!crowd_has_all(&links[i])) {
            if (loop_turn(SECOND / 10) > 0) {
                heard = now_ns();
            } else if (now_ns() - heard > (int64_t)(plan.patience * 1e9)) {
                crowd_stalled();
            }
        }
    }
}

static void begin(void) {
    crowd_open();
    start = now_ns();
}

static void prepare(void) {
    crowd_prepare(NULL, delivered);
}

static void prepare_socketio(void) {
    static const struct dialect dialect = {"42[\"m\",\"", "\"]", true};
    if (plan.framing != FRAMING_WS_TEXT) {
        fail("socketio needs the framing ws-text");
    }
    crowd_prepare(&dialect, delivered);
}

const struct mode mode_room = {
    .name = "room",
    .help = "the same at RATE messages a second, BURST at once; latency of each\n"
            "             delivery from when its message was due",
    .unit = "deliveries",
    .connecting = 1, /* servers that share a port get their shares */
    .prepare = prepare,
    .run = loop_run,
    .begin = begin,
    .due = send_due,
    .received = crowd_received,
    .finish = wait_for_rest,
};

const struct mode mode_socketio = {
    .name = "socketio",
    .help = "the same as Socket.IO's event `m` with one string",
    .unit = "deliveries",
    .connecting = 1,
    .greeted = true,
    .prepare = prepare_socketio,
    .run = loop_run,
    .begin = begin,
    .due = send_due,
    .received = crowd_received,
    .finish = wait_for_rest,
};
