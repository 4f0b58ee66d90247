/* echo.c: each connection gets back what it has sent, in order.
 *
 * Closed loop: so many messages in flight, a new one when one has come back. Open loop:
 * messages leave at a fixed rate whatever the server does, and a latency counts from the
 * time its message was due, so that a server that stalls can't hide it (no coordinated
 * omission). */
#include <stdlib.h>

#include "../load.h"

enum { FLUSH = 128 * 1024 };

static int64_t start; /* open loop: when message 0 was due */
static int64_t patience_ns;
static bool finishing; /* nothing more is sent */

static int64_t due(const struct link *link, unsigned number) {
    double position = (double)number * plan.connections + link->index;
    return start + (int64_t)(position / plan.rate * 1e9);
}

/* More came than was sent: most likely the last one again. */
static _Noreturn void came_too_many(struct link *link, const struct part *part) {
    if (link->received > 0 && part->ends &&
        wire_same(part->bytes, 0, part->length, (unsigned)link->index,
                  link->received - 1)) {
        fail("connection %d: message %u came twice", link->index, link->received - 1);
    }
    link_check(link, part, (unsigned)link->index, link->received);
    fail("connection %d: %zu bytes more came than were sent", link->index,
         part->length + part->more);
}

/* Sends messages so that `link->sent` becomes `until`. */
static void send_until(struct link *link, unsigned until, int64_t time) {
    static char *buffer;
    static size_t room;
    size_t used = 0;
    size_t length = wire_length();
    if (!buffer) {
        room = length > FLUSH ? length : FLUSH;
        buffer = need(malloc(room));
    }
    while (link->sent != until) {
        if (used + length > room) {
            link_send(link, buffer, used);
            used = 0;
        }
        wire_write(buffer + used, (unsigned)link->index, link->sent);
        used += length;
        if (link->times) {
            link->times[link->sent % (unsigned)plan.depth] = time;
        }
        link->sent++;
    }
    if (used > 0) {
        link_send(link, buffer, used);
    }
}

static void message_came(struct link *link, int64_t time) {
    unsigned number = link->received++;
    int64_t sent =
        link->times ? link->times[number % (unsigned)plan.depth] : due(link, number);
    if (link->times && time - sent > patience_ns) {
        fail("connection %d: message %u came back late, after %.1f s", link->index,
             number, (double)(time - sent) / 1e9);
    }
    tally_message(time - sent);
}

/* Compares what came with what was sent. */
static void check(struct link *link, char *bytes, size_t count, int64_t time) {
    struct part part;
    while (link_part(link, &bytes, &count, &part)) {
        if (link->received == link->sent) {
            came_too_many(link, &part);
        }
        link_check(link, &part, (unsigned)link->index, link->received);
        if (part.ends) {
            message_came(link, time);
        }
    }
}

static void received(struct link *link, char *bytes, size_t count, int64_t time) {
    check(link, bytes, count, time);
    if (link->times && !finishing) {
        send_until(link, link->received + (unsigned)plan.depth, time);
    }
}

/* Open loop: sends what is due on every connection. There is no wait, so that no message
 * leaves late. */
static int64_t send_due(int64_t time) {
    double position = (double)(time - start) / 1e9 * plan.rate;
    for (int i = 0; i < plan.connections; i++) {
        double count = (position - i) / plan.connections;
        if (count >= 0 && (unsigned)count + 1 > links[i].sent) {
            send_until(&links[i], (unsigned)count + 1, time);
        }
    }
    return 0;
}

/* Nothing has come for long. Names a message that is missing. */
static void stalled(void) {
    for (int i = 0; i < plan.connections; i++) {
        const struct link *link = &links[i];
        if (link->partial > 0) {
            fail("connection %d: %zu of %zu bytes of message %u came, and then nothing "
                 "for %g s: it was cut short, or is late",
                 i, link->partial, wire_answer_length(), link->received, plan.patience);
        }
        if (link->received != link->sent) {
            fail("connection %d: message %u has not come back for %g s: it is missing, "
                 "or late",
                 i, link->received, plan.patience);
        }
    }
    fail("nothing came for %g s, though no message is missing", plan.patience);
}

/* Takes what is still to come, so that a message that was lost on the way shows. */
static void wait_for_rest(void) {
    int64_t end = now_ns() + patience_ns;
    finishing = true;
    for (int i = 0; i < plan.connections; i++) {
        while (links[i].received != links[i].sent) {
            if (loop_turn(SECOND / 10) > 0) {
                end = now_ns() + patience_ns;
            } else if (now_ns() > end) {
                stalled();
            }
        }
    }
}

static void begin_rate(void) {
    links_open(plan.connections);
    start = now_ns();
    patience_ns = (int64_t)(plan.patience * 1e9);
}

static void begin_echo(void) {
    begin_rate();
    for (int i = 0; i < plan.connections; i++) {
        links[i].times = need(calloc((size_t)plan.depth, sizeof(int64_t)));
        send_until(&links[i], (unsigned)plan.depth, start);
    }
}

const struct mode mode_echo = {
    .name = "echo",
    .help = "closed loop: DEPTH messages in flight on each connection",
    .unit = "messages",
    .run = loop_run,
    .begin = begin_echo,
    .received = received,
    .stalled = stalled,
    .finish = wait_for_rest,
};

const struct mode mode_rate = {
    .name = "rate",
    .help = "open loop: RATE messages a second in all; latency counts from when\n"
            "             a message was due",
    .unit = "messages",
    .run = loop_run,
    .begin = begin_rate,
    .due = send_due,
    .received = received,
    .finish = wait_for_rest,
};
