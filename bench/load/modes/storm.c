/* connect.c: how fast clients are taken, and what they cost while they are silent. */
#include <sys/epoll.h>

#include "load.h"

enum { EVENTS = 256, FIRST = 100 /* of idle ones, that are not counted */ };

static struct link slots[1024];
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
    start(link, index);
}

static void step(struct link *link) {
    if (link->sent == 0) {
        if (!link_establish(link)) {
            return;
        }
        if (wire_is_websocket()) {
            finish(link);
            return;
        }
        link_send_message(link, (unsigned)link->index, link->sent++);
        return;
    }
    if (link->unsent_length > 0) {
        link_write(link);
    }
    char *bytes;
    struct part part;
    size_t count = link_read(link, &bytes);
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

void run_storm(struct result *result) {
    int count = plan.connections < 1024 ? plan.connections : 1024;
    for (int i = 0; i < count; i++) {
        start(&slots[i], i);
    }
    int64_t warm = now_ns() + (int64_t)(plan.warm_up * 1e9);
    int64_t end = warm + (int64_t)(plan.seconds * 1e9);
    int64_t from = 0;
    uint64_t before = 0;
    struct usage used = {0};
    for (int64_t time = now_ns(); time < end && !interrupted; time = now_ns()) {
        if (from == 0 && time >= warm) {
            from = time;
            before = finished;
            used = server_usage(plan.pid);
        }
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll_fd, events, EVENTS, (int)(plan.patience * 1000));
        if (ready == 0) {
            fail("%s was not answered for %g s, after %llu connections",
                 wire_is_websocket() ? "a handshake" : "a first message", plan.patience,
                 (unsigned long long)finished);
        }
        for (int i = 0; i < ready; i++) {
            step(events[i].data.ptr);
        }
    }
    struct usage after = server_usage(plan.pid);
    result->seconds = (double)(now_ns() - from) / 1e9;
    result->messages = (double)(finished - before);
    result->user_ns = (after.user_ns - used.user_ns) / result->messages;
    result->system_ns = (after.system_ns - used.system_ns) / result->messages;
}

/* Takes what comes on the connections, as long as something does within `wait` ms. Pings
 * are answered. Returns the messages that came. */
static int take(int wait) {
    struct epoll_event events[EVENTS];
    int came = 0;
    int ready = epoll_wait(epoll_fd, events, EVENTS, wait);
    for (int i = 0; i < ready; i++) {
        struct link *link = events[i].data.ptr;
        char *bytes;
        struct part part;
        if (events[i].events & EPOLLOUT && link->unsent_length > 0) {
            link_write(link);
        }
        size_t count = link_read(link, &bytes);
        while (link_part(link, &bytes, &count, &part)) {
            if (link->received > 0) {
                fail("connection %d: more came than was sent", link->index);
            }
            link_check(link, &part, (unsigned)link->index, 0);
            link->received += part.ends;
            came += part.ends;
        }
    }
    return ready > 0 ? came : -1;
}

/* Sends one message on each connection and takes the answer, so that each is accepted
 * and what a first message costs is counted. */
static void greet(struct link *links, int count) {
    int answered = 0;
    for (int i = 0; i < count; i++) {
        link_send_message(&links[i], (unsigned)i, 0);
    }
    while (answered < count && !interrupted) {
        int came = take((int)(plan.patience * 1000));
        if (came < 0 && !interrupted) {
            fail("%d of %d connections were answered", answered, count);
        }
        answered += came > 0 ? came : 0;
    }
}

static void hold(double seconds) {
    int64_t end = now_ns() + (int64_t)(seconds * 1e9);
    while (now_ns() < end && !interrupted) {
        take(50);
    }
}

/* The first connections make a server load code, and compile some; what each more costs
 * is asked here. They stay, so that what they took isn't there for others. */
void run_idle(struct result *result) {
    if (plan.pid == 0) {
        fail("idle needs the server's process: -p PID");
    }
    int first = plan.connections < FIRST ? plan.connections : FIRST;
    greet(links_open(first), first);
    hold(plan.warm_up);
    double rss = server_rss_kib(plan.pid);
    double slab = system_slab_kib();
    greet(links_open(plan.connections), plan.connections);
    hold(plan.seconds);
    result->seconds = plan.seconds;
    result->messages = plan.connections;
    result->bytes_per_connection =
        (server_rss_kib(plan.pid) - rss) * 1024 / plan.connections;
    result->slab_bytes_per_connection =
        (system_slab_kib() - slab) * 1024 / plan.connections;
}
