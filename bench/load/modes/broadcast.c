/* broadcast.c: what one client sends, all get. A message is complete when it has reached
 * the last receiver; that is its latency, and then its sender sends the next. */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "load.h"

enum { EVENTS = 256, PROBE = 0xffff, PROBES = 20 };

static unsigned *next; /* [receiver][sender]: the number that must come */
static int *missing;   /* [sender][number % depth]: receivers that lack it */
static unsigned probe; /* number of the last probe */
static int probed;     /* receivers that got it */
static bool started;   /* probes are over */
static bool measuring;
static uint64_t deliveries;

static void send_next(struct link *sender) {
    unsigned number = sender->sent++;
    unsigned place = number % (unsigned)plan.depth;
    missing[sender->index * plan.depth + (int)place] = plan.connections;
    sender->times[place] = now_ns();
    link_send_message(sender, (unsigned)sender->index, number);
}

/* Something came that no sender has sent. What was due of the sender it names, or of the
 * first, is what it is compared with. */
static _Noreturn void blame(struct link *link, const char *message, size_t length,
                            unsigned sender) {
    if (!started) {
        check_blame(link, message, length, true, PROBE, probe);
    }
    sender = sender < (unsigned)plan.senders ? sender : 0;
    check_blame(link, message, length, true, sender,
                next[link->index * plan.senders + (int)sender]);
}

/* A whole message came to `link`. */
static void came(struct link *links, struct link *link, const char *message,
                 size_t length) {
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
    unsigned due = next[link->index * plan.senders + (int)sender]++;
    if (due != number) {
        fail("connection %d: message %u of sender %u came, and message %u was due: %s",
             link->index, number, sender, due,
             (int)(number - due) > 0 ? "one is missing, or late"
                                     : "one came twice, or late");
    }
    link->received++;
    deliveries += measuring;
    struct link *from = &links[sender];
    unsigned place = number % (unsigned)plan.depth;
    if (--missing[(int)sender * plan.depth + (int)place] == 0) {
        if (measuring) {
            histogram_add(now_ns() - from->times[place]);
        }
        if (!interrupted) {
            send_next(from);
        }
    }
}

static void receive(struct link *links, struct link *link) {
    char *bytes;
    size_t count = link_read(link, &bytes);
    size_t length = wire_answer_length();
    struct part part;
    while (link_part(link, &bytes, &count, &part)) {
        if (link->partial == 0 && part.ends) {
            came(links, link, part.bytes, part.length);
            continue;
        }
        if (part.length > length - link->partial) {
            fail("connection %d: a message is longer than the %zu bytes that were sent",
                 link->index, length);
        }
        memcpy(link->message + link->partial, part.bytes, part.length);
        link->partial += part.length;
        if (part.ends) {
            size_t whole = link->partial;
            link->partial = 0;
            came(links, link, link->message, whole);
        }
    }
}

/* Nothing has come for long. Names a message that is missing. */
static _Noreturn void stalled(const struct link *links) {
    for (int i = 0; i < plan.connections; i++) {
        if (links[i].partial > 0) {
            fail(
                "connection %d: %zu of %zu bytes of a message came, and then nothing for "
                "%g s: it was cut short, or is late",
                i, links[i].partial, wire_answer_length(), plan.patience);
        }
        for (int k = 0; k < plan.senders; k++) {
            unsigned due = next[i * plan.senders + k];
            if (due != links[k].sent) {
                fail(
                    "connection %d: message %u of sender %d has not come for %g s: it is "
                    "missing, or late",
                    i, due, k, plan.patience);
            }
        }
    }
    fail("nothing came for %g s, though no message is missing", plan.patience);
}

static int receive_ready(struct link *links, int wait) {
    struct epoll_event events[EVENTS];
    int ready = epoll_wait(epoll_fd, events, EVENTS, wait);
    for (int i = 0; i < ready; i++) {
        struct link *link = events[i].data.ptr;
        if (events[i].events & EPOLLOUT && link->unsent_length > 0) {
            link_write(link);
        }
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
            receive(links, link);
        }
    }
    return ready;
}

/* Connected isn't accepted: sends probes until one has reached everybody. */
static void wait_until_accepted(struct link *links) {
    for (probe = 1; probe < PROBES && !interrupted; probe++) {
        probed = 0;
        link_send_message(&links[0], PROBE, probe);
        int64_t end = now_ns() + 500000000;
        while (probed < plan.connections && now_ns() < end) {
            receive_ready(links, 50);
        }
        if (probed == plan.connections) {
            return;
        }
    }
    if (!interrupted) {
        fail("a message reached %d of %d clients", probed, plan.connections);
    }
}

void run_broadcast(struct result *result) {
    if (plan.size < WIRE_ID || plan.framing == FRAMING_RAW) {
        fail("broadcast needs a framing other than raw, and messages of %d bytes or more",
             WIRE_ID);
    }
    struct link *links = links_open(plan.connections);
    next = calloc((size_t)(plan.connections * plan.senders), sizeof(*next));
    missing = calloc((size_t)(plan.senders * plan.depth), sizeof(*missing));
    for (int i = 0; i < plan.connections; i++) {
        links[i].message = malloc(wire_answer_length());
        links[i].times = calloc((size_t)plan.depth, sizeof(int64_t));
        if (!links[i].message || !links[i].times || !next || !missing) {
            fail("not enough memory");
        }
    }
    wait_until_accepted(links);
    started = true;
    for (int i = 0; i < plan.senders; i++) {
        for (int k = 0; k < plan.depth; k++) {
            send_next(&links[i]);
        }
    }
    int64_t warm = now_ns() + (int64_t)(plan.warm_up * 1e9);
    int64_t end = warm + (int64_t)(plan.seconds * 1e9);
    int64_t from = warm;
    struct usage before = {0};
    for (int64_t time = now_ns(); time < end && !interrupted; time = now_ns()) {
        if (!measuring && time >= warm) {
            measuring = true;
            from = time;
            histogram_clear();
            before = server_usage(plan.pid);
        }
        if (receive_ready(links, (int)(plan.patience * 1000)) == 0) {
            stalled(links);
        }
    }
    struct usage after = server_usage(plan.pid);
    result->seconds = (double)(now_ns() - from) / 1e9;
    result->messages = (double)deliveries;
    result->user_ns = (after.user_ns - before.user_ns) / result->messages;
    result->system_ns = (after.system_ns - before.system_ns) / result->messages;
}
