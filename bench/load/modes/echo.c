/* echo.c: each connection gets back what it has sent, in order.
 *
 * Closed loop: so many messages in flight, a new one when one has come back. Open loop:
 * messages leave at a fixed rate whatever the server does, and a latency counts from the
 * time its message was due, so that a server that stalls can't hide it (no coordinated
 * omission). */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "load.h"

enum { EVENTS = 256, FLUSH = 128 * 1024 };

static int64_t start; /* open loop: when message 0 was due */
static int64_t measured_from;
static uint64_t measured_messages;
static bool measuring;
static int64_t patience_ns;

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
        if (!(buffer = malloc(room))) {
            fail("not enough memory");
        }
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
    if (measuring) {
        measured_messages++;
        histogram_add(time - sent);
    }
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

static void begin_measuring(struct usage *before) {
    measuring = true;
    measured_messages = 0;
    measured_from = now_ns();
    histogram_clear();
    *before = server_usage(plan.pid);
}

static void handle(struct link *link, uint32_t events, bool closed_loop) {
    if (events & EPOLLOUT && link->unsent_length > 0) {
        link_write(link);
    }
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
        return;
    }
    char *bytes;
    size_t count = link_read(link, &bytes);
    int64_t time = now_ns();
    check(link, bytes, count, time);
    if (closed_loop) {
        send_until(link, link->received + (unsigned)plan.depth, time);
    }
}

/* Open loop: sends what is due on every connection. Returns ms until more is. */
static int send_due(struct link *links) {
    int64_t time = now_ns();
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
static _Noreturn void stalled(const struct link *links) {
    for (int i = 0; i < plan.connections; i++) {
        const struct link *link = &links[i];
        if (link->partial > 0) {
            fail("connection %d: %zu of %zu bytes of message %u came, and then nothing "
                 "for "
                 "%g s: it was cut short, or is late",
                 i, link->partial, wire_answer_length(), link->received, plan.patience);
        }
        if (link->received != link->sent) {
            fail(
                "connection %d: message %u has not come back for %g s: it is missing, or "
                "late",
                i, link->received, plan.patience);
        }
    }
    fail("nothing came for %g s, though no message is missing", plan.patience);
}

/* Takes what is still to come, so that a message that was lost on the way shows. */
static void wait_for_rest(const struct link *links) {
    int64_t end = now_ns() + patience_ns;
    for (int i = 0; i < plan.connections; i++) {
        while (links[i].received != links[i].sent) {
            struct epoll_event events[EVENTS];
            int ready = epoll_wait(epoll_fd, events, EVENTS, 100);
            for (int k = 0; k < ready; k++) {
                handle(events[k].data.ptr, events[k].events, false);
            }
            if (ready > 0) {
                end = now_ns() + patience_ns;
            } else if (now_ns() > end) {
                stalled(links);
            }
        }
    }
}

static void run(struct result *result, bool closed_loop) {
    struct link *links = links_open(plan.connections);
    int64_t begun = now_ns();
    int64_t warm = begun + (int64_t)(plan.warm_up * 1e9);
    int64_t end = warm + (int64_t)(plan.seconds * 1e9);
    struct usage before = {0};
    start = begun;
    patience_ns = (int64_t)(plan.patience * 1e9);
    for (int i = 0; closed_loop && i < plan.connections; i++) {
        links[i].times = calloc((size_t)plan.depth, sizeof(int64_t));
        if (!links[i].times) {
            fail("not enough memory");
        }
        send_until(&links[i], (unsigned)plan.depth, begun);
    }
    for (int64_t time = begun; time < end && !interrupted; time = now_ns()) {
        if (!measuring && time >= warm) {
            begin_measuring(&before);
        }
        int wait = closed_loop ? (int)(plan.patience * 1000) : send_due(links);
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll_fd, events, EVENTS, wait);
        for (int i = 0; i < ready; i++) {
            handle(events[i].data.ptr, events[i].events, closed_loop);
        }
        if (closed_loop && ready == 0) {
            stalled(links);
        }
    }
    struct usage after = server_usage(plan.pid);
    result->seconds = (double)(now_ns() - measured_from) / 1e9;
    result->messages = (double)measured_messages;
    result->user_ns = (after.user_ns - before.user_ns) / result->messages;
    result->system_ns = (after.system_ns - before.system_ns) / result->messages;
    measuring = false;
    wait_for_rest(links);
}

void run_echo(struct result *result) {
    run(result, true);
}

void run_rate(struct result *result) {
    run(result, false);
}
