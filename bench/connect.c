/* connect.c: how fast clients are taken, and what they cost while they are silent. */
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "load.h"

enum { EVENTS = 256 };

static struct link slots[1024];
static uint64_t finished;

static void start(struct link *link, int index) {
    *link = (struct link){0};
    link_open(link, index);
}

/* One round trip shows that the server has really taken the client. It leaves with a
 * reset, so that no port stays in TIME-WAIT. */
static void finish(struct link *link) {
    struct linger linger = {1, 0};
    setsockopt(link->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(link->fd);
    finished++;
}

static void step(struct link *link, uint32_t events) {
    if (!link->connected) {
        if (events & (EPOLLERR | EPOLLHUP)) {
            fail("a connection was refused after %llu", (unsigned long long)finished);
        }
        link->connected = true;
        link_watch(link, false);
        link_send(link, wire_expected(0, 0), wire_length());
        return;
    }
    char *bytes;
    size_t count = link_read(link, &bytes);
    if (link->partial + count > wire_length() ||
        memcmp(bytes, wire_expected(0, 0) + link->partial, count) != 0) {
        fail("the answer to a first message came wrong");
    }
    link->partial += count;
    if (link->partial == wire_length()) {
        int index = link->index;
        finish(link);
        start(link, index);
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
        int ready = epoll_wait(epoll_fd, events, EVENTS, 2000);
        if (ready == 0) {
            fail("nothing happened for 2 s after %llu connections",
                 (unsigned long long)finished);
        }
        for (int i = 0; i < ready; i++) {
            step(events[i].data.ptr, events[i].events);
        }
    }
    struct usage after = server_usage(plan.pid);
    result->seconds = (double)(now_ns() - from) / 1e9;
    result->messages = (double)(finished - before);
    result->user_ns = (after.user_ns - used.user_ns) / result->messages;
    result->system_ns = (after.system_ns - used.system_ns) / result->messages;
}

/* Sends one message on each connection and takes the answer, so that each is accepted
 * and what a first message costs is counted. */
static void greet(struct link *links) {
    int answered = 0;
    for (int i = 0; i < plan.connections; i++) {
        link_send(&links[i], wire_expected(0, 0), wire_length());
    }
    while (answered < plan.connections && !interrupted) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll_fd, events, EVENTS, 5000);
        if (ready == 0) {
            fail("%d of %d connections were answered", answered, plan.connections);
        }
        for (int i = 0; i < ready; i++) {
            struct link *link = events[i].data.ptr;
            char *bytes;
            link->partial += link_read(link, &bytes);
            if (link->partial == wire_length()) {
                link->received++;
                answered++;
            }
        }
    }
}

void run_idle(struct result *result) {
    if (plan.pid == 0) {
        fail("idle needs the server's process: -p PID");
    }
    double rss = server_rss_kib(plan.pid);
    double slab = system_slab_kib();
    struct link *links = links_open(plan.connections);
    greet(links);
    int64_t end = now_ns() + (int64_t)(plan.seconds * 1e9);
    while (now_ns() < end && !interrupted) {
        usleep(50000);
    }
    result->seconds = plan.seconds;
    result->messages = plan.connections;
    result->bytes_per_connection =
        (server_rss_kib(plan.pid) - rss) * 1024 / plan.connections;
    result->slab_bytes_per_connection =
        (system_slab_kib() - slab) * 1024 / plan.connections;
}
