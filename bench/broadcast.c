/* broadcast.c: what one client sends, all get. A message is complete when it has reached
 * the last receiver; that is its latency, and then its sender sends the next. */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "load.h"

enum { EVENTS = 256, PROBE = 0xffff, PROBES = 100 };

static unsigned *next; /* [receiver][sender]: the number that must come */
static int *missing;   /* [sender][number % depth]: receivers that lack it */
static unsigned probe; /* number of the last probe */
static int probed;     /* receivers that got it */
static bool measuring;
static uint64_t deliveries;

static unsigned hex(const char *text, int digits) {
    unsigned value = 0;
    for (int i = 0; i < digits; i++) {
        char c = text[i];
        value = value << 4 | (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return value;
}

static void send_next(struct link *sender) {
    unsigned number = sender->sent++;
    unsigned place = number % (unsigned)plan.depth;
    missing[sender->index * plan.depth + (int)place] = plan.connections;
    sender->times[place] = now_ns();
    link_send(sender, wire_expected((unsigned)sender->index, number), wire_length());
}

/* A whole message came to `link`. */
static void came(struct link *links, struct link *link, const char *message,
                 size_t header) {
    unsigned sender = hex(message + header, 4);
    unsigned number = hex(message + header + 4, 8);
    if (memcmp(message, wire_expected(sender, number), wire_length()) != 0) {
        fail("connection %d: a message came wrong", link->index);
    }
    if (sender == PROBE) {
        probed += number == probe;
        return;
    }
    if (sender >= (unsigned)plan.senders ||
        next[link->index * plan.senders + (int)sender]++ != number) {
        fail("connection %d: message %u of sender %u is missing or came twice",
             link->index, number, sender);
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
    size_t length = wire_length();
    size_t header = plan.framing == 3 ? 2 : plan.framing == 4 ? 4 : 0;
    while (count > 0) {
        if (link->partial == 0 && count >= length) {
            came(links, link, bytes, header);
            bytes += length;
            count -= length;
            continue;
        }
        size_t part = length - link->partial < count ? length - link->partial : count;
        memcpy(link->message + link->partial, bytes, part);
        link->partial += part;
        bytes += part;
        count -= part;
        if (link->partial == length) {
            link->partial = 0;
            came(links, link, link->message, header);
        }
    }
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
        link_send(&links[0], wire_expected(PROBE, probe), wire_length());
        int64_t end = now_ns() + 500000000;
        while (probed < plan.connections && now_ns() < end) {
            receive_ready(links, 50);
        }
        if (probed == plan.connections) {
            return;
        }
    }
    fail("a message reached %d of %d clients", probed, plan.connections);
}

void run_broadcast(struct result *result) {
    if (plan.size < WIRE_HEADER || plan.framing == 0) {
        fail("broadcast needs a framing other than raw, and messages of %d bytes or more",
             WIRE_HEADER);
    }
    struct link *links = links_open(plan.connections);
    next = calloc((size_t)(plan.connections * plan.senders), sizeof(*next));
    missing = calloc((size_t)(plan.senders * plan.depth), sizeof(*missing));
    for (int i = 0; i < plan.connections; i++) {
        links[i].message = malloc(wire_length());
        links[i].times = calloc((size_t)plan.depth, sizeof(int64_t));
        if (!links[i].message || !links[i].times || !next || !missing) {
            fail("not enough memory");
        }
    }
    wait_until_accepted(links);
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
        if (receive_ready(links, 2000) == 0) {
            fail("nothing came for 2 s: a message is missing");
        }
    }
    struct usage after = server_usage(plan.pid);
    result->seconds = (double)(now_ns() - from) / 1e9;
    result->messages = (double)deliveries;
    result->user_ns = (after.user_ns - before.user_ns) / result->messages;
    result->system_ns = (after.system_ns - before.system_ns) / result->messages;
}
