/* idle.c: what clients cost a server while they are silent. */
#include <stdio.h>

#include "../load.h"

enum { FIRST = 100 /* connections that are not counted */ };

static int answered;

static void received(struct link *link, char *bytes, size_t count, int64_t now) {
    struct part part;
    (void)now;
    while (link_part(link, &bytes, &count, &part)) {
        if (link->received > 0) {
            fail("connection %d: more came than was sent", link->index);
        }
        link_check(link, &part, (unsigned)link->index, 0);
        link->received += part.ends;
        answered += part.ends;
    }
}

/* Opens connections, sends one message on each and takes the answer, so that each is
 * accepted and what a first message costs is counted. */
static void greet(int count) {
    links_open(count);
    answered = 0;
    for (int i = 0; i < count; i++) {
        link_send_message(&links[i], (unsigned)i, 0);
    }
    while (answered < count && !interrupted) {
        if (loop_turn((int64_t)(plan.patience * 1000) * 1000000) == 0) {
            fail("%d of %d connections were answered", answered, count);
        }
    }
}

/* Pings are answered. */
static void hold(double seconds) {
    int64_t end = now_ns() + (int64_t)(seconds * 1e9);
    while (now_ns() < end && !interrupted) {
        loop_turn(SECOND / 20);
    }
}

/* The first connections make a server load code, and compile some; what each more costs
 * is asked here. They stay, so that what they took isn't there for others. */
static void run(struct result *result) {
    greet(plan.connections < FIRST ? plan.connections : FIRST);
    hold(plan.warm_up);
    double rss = server_rss_kib(plan.pid);
    double slab = system_slab_kib();
    greet(plan.connections);
    hold(plan.seconds);
    result->seconds = plan.seconds;
    result->messages = plan.connections;
    result->bytes_per_connection =
        (server_rss_kib(plan.pid) - rss) * 1024 / plan.connections;
    result->slab_bytes_per_connection =
        (system_slab_kib() - slab) * 1024 / plan.connections;
}

static void prepare(void) {
    if (plan.pid == 0) {
        fail("idle needs the server's process: -p PID");
    }
}

static void report_text(const struct result *result) {
    printf("%d connections: %.0f bytes each in the server, %.0f in the kernel (both "
           "ends)\n",
           plan.connections, result->bytes_per_connection,
           result->slab_bytes_per_connection);
}

const struct mode mode_idle = {
    .name = "idle",
    .help = "memory of a server for each connection that it holds, after the\n"
            "             first 100 (needs -p)",
    .unit = "connections",
    .prepare = prepare,
    .run = run,
    .received = received,
    .report = report_text,
};
