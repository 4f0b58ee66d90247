/* crowd.c: what some clients send, all get. */
#include <stdlib.h>
#include <string.h>

#include "crowd.h"

enum {
    PROBE = 0xffff, /* the sender that probes name */
    PROBES = 20,
    PROBE_EACH = 200000, /* ns that one takes for each receiver, on a busy machine */
    WRAP_MOST = 16,      /* bytes of a dialect */
    GREETING_MOST = 4096 /* bytes of a message of the dialect's own */
};

static const struct dialect *dialect;
static crowd_delivered *delivered;
static unsigned *next; /* [receiver][sender]: the number that must come */
static size_t message_most;
static unsigned probe; /* number of the last probe */
static int probed;     /* receivers that got it */
static bool started;   /* probes are over */
static int greeted;    /* links whose greeting is over */

static unsigned *next_of(const struct link *link, unsigned sender) {
    return &next[link->index * plan.senders + (int)sender];
}

void crowd_prepare(const struct dialect *wanted, crowd_delivered *called) {
    static const struct dialect plain = {"", "", false};
    if (plan.size < WIRE_ID || plan.framing == FRAMING_RAW) {
        fail("%s needs a framing other than raw, and messages of %d bytes or more",
             plan.mode->name, WIRE_ID);
    }
    dialect = wanted ? wanted : &plain;
    delivered = called;
    message_most = wire_answer_length() + (dialect->greets ? GREETING_MOST : 0);
}

/* Sending */

static void send_message(struct link *link, unsigned sender, unsigned number) {
    static char *text, *framed;
    if (!dialect->greets) {
        link_send_message(link, sender, number);
        return;
    }
    if (!text) {
        text = need(malloc(message_most));
        framed = need(malloc(message_most + WIRE_FRAME_MOST));
    }
    char *to = stpcpy(text, dialect->before);
    wire_answer(to, sender, number);
    to = stpcpy(to + wire_answer_length(), dialect->after);
    link_send(link, framed, wire_frame(framed, text, (size_t)(to - text)));
}

void crowd_send(struct link *sender) {
    send_message(sender, (unsigned)sender->index, sender->sent++);
}

static void send_text(struct link *link, const char *text) {
    char framed[WRAP_MOST + WIRE_FRAME_MOST];
    link_send(link, framed, wire_frame(framed, text, strlen(text)));
}

/* What comes */

/* Something came that no sender has sent. What was due of the sender it names, or of the
 * first, is what it is compared with. */
static _Noreturn void blame(struct link *link, const char *message, size_t length,
                            unsigned sender) {
    if (!started) {
        check_blame(link, message, length, true, PROBE, probe);
    }
    sender = sender < (unsigned)plan.senders ? sender : 0;
    check_blame(link, message, length, true, sender, *next_of(link, sender));
}

static void check_order(struct link *link, unsigned sender, unsigned number) {
    unsigned due = (*next_of(link, sender))++;
    if (number >= links[sender].sent) {
        fail("connection %d: message %u of sender %u came, which was not sent",
             link->index, number, sender);
    }
    if (due != number) {
        fail("connection %d: message %u of sender %u came, and message %u was due: %s",
             link->index, number, sender, due,
             (int)(number - due) > 0 ? "one is missing, or late"
                                     : "one came twice, or late");
    }
}

static void came(struct link *link, const char *message, size_t length, int64_t now) {
    unsigned sender = 0;
    unsigned number = 0;
    if (length != wire_answer_length() || !wire_id(message, &sender, &number) ||
        !wire_same(message, 0, length, sender, number) ||
        (sender != PROBE && sender >= (unsigned)plan.senders)) {
        blame(link, message, length, sender);
    }
    if (sender == PROBE) {
        probed += number == probe;
        return;
    }
    check_order(link, sender, number);
    link->received++;
    delivered(link, sender, number, now);
}

/* Engine.IO's and Socket.IO's own messages: open, ping, connected. */
static bool greet(struct link *link, const char *text, size_t length) {
    if (length > 0 && text[0] == '0' && !link->state) {
        send_text(link, "40");
    } else if (length == 1 && text[0] == '2') {
        send_text(link, "3");
    } else if (length >= 2 && memcmp(text, "40", 2) == 0 && !link->state) {
        link->state = link; /* is greeted */
        greeted++;
    } else {
        return false;
    }
    return true;
}

/* Takes the dialect's wrapping off; what has none is a greeting, or wrong. */
static void unwrap(struct link *link, const char *text, size_t length, int64_t now) {
    size_t before = strlen(dialect->before), after = strlen(dialect->after);
    if (length >= before + after && memcmp(text, dialect->before, before) == 0 &&
        memcmp(text + length - after, dialect->after, after) == 0) {
        came(link, text + before, length - before - after, now);
    } else if (!greet(link, text, length)) {
        fail("connection %d: this was not sent: %.*s", link->index,
             length < 200 ? (int)length : 200, text);
    }
}

void crowd_received(struct link *link, char *bytes, size_t count, int64_t now) {
    struct part part;
    while (link_part(link, &bytes, &count, &part)) {
        if (!link_gather(link, &part, message_most)) {
            continue;
        }
        if (dialect->greets) {
            unwrap(link, part.bytes, part.length, now);
        } else {
            came(link, part.bytes, part.length, now);
        }
    }
}

/* Beginning and end */

static void wait_until_greeted(void) {
    while (dialect->greets && greeted < plan.connections && !interrupted) {
        if (loop_turn((int64_t)(plan.patience * 1000) * 1000000) == 0) {
            fail("%d of %d clients were greeted", greeted, plan.connections);
        }
    }
}

static void wait_until_accepted(void) {
    for (probe = 1; probe < PROBES && !interrupted; probe++) {
        probed = 0;
        send_message(&links[0], PROBE, probe);
        int64_t end = now_ns() + SECOND / 2 + plan.connections * PROBE_EACH;
        while (probed < plan.connections && now_ns() < end) {
            loop_turn(SECOND / 20);
        }
        if (probed == plan.connections) {
            return;
        }
    }
    if (!interrupted) {
        fail("a message reached %d of %d clients", probed, plan.connections);
    }
}

void crowd_open(void) {
    next = need(calloc((size_t)plan.connections, (size_t)plan.senders * sizeof(*next)));
    links_open(plan.connections);
    wait_until_greeted();
    wait_until_accepted();
    started = true;
}

bool crowd_has_all(const struct link *link) {
    for (int i = 0; i < plan.senders; i++) {
        if (*next_of(link, (unsigned)i) != links[i].sent) {
            return false;
        }
    }
    return true;
}

void crowd_stalled(void) {
    for (int i = 0; i < plan.connections; i++) {
        if (links[i].partial > 0) {
            fail("connection %d: %zu of %zu bytes of a message came, and then nothing "
                 "for %g s: it was cut short, or is late",
                 i, links[i].partial, wire_answer_length(), plan.patience);
        }
        for (int k = 0; k < plan.senders; k++) {
            unsigned due = *next_of(&links[i], (unsigned)k);
            if (due != links[k].sent) {
                fail("connection %d: message %u of sender %d has not come for %g s: it "
                     "is missing, or late",
                     i, due, k, plan.patience);
            }
        }
    }
    fail("nothing came for %g s, though no message is missing", plan.patience);
}
