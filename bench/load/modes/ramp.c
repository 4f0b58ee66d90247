/* ramp.c: adds users step by step and measures.
 *
 * Users send at their rate whatever the server does, and latency counts from when a
 * message was due, so that a server that stalls can't hide it. A step is measured once
 * all its users are connected. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ramp.h"

enum { CONNECTING_MOST = 128, FILES_KEPT = 16, MILLISECOND = 1000000 };

/* A user that is ready, and when its next message is due. */
struct turn {
    int64_t due;
    int index;
};

struct asked asked = {.start = 100, .step = 100, .limit_ms = 100};

static struct turn *heap; /* the earliest on top */
static int heap_count;
static int opened, users_ready;
static uint64_t errors, answers, sends, late_sends;
static bool answered; /* in this step or before */
static char first_error[450];

/* Called by user.c */

void ramp_answered(int64_t due) {
    answers++;
    answered = true;
    if (tally.on) {
        histogram_add(now_ns() - due);
    }
}

void ramp_failed(const char *why) {
    if (errors++ == 0) {
        snprintf(first_error, sizeof(first_error), "%s", why);
    }
}

/* The heap */

static bool earlier(int a, int b) {
    return heap[a].due < heap[b].due;
}

static void swap(int a, int b) {
    struct turn held = heap[a];
    heap[a] = heap[b];
    heap[b] = held;
}

static void heap_push(struct turn turn) {
    int at = heap_count++;
    heap[at] = turn;
    for (; at > 0 && earlier(at, (at - 1) / 2); at = (at - 1) / 2) {
        swap(at, (at - 1) / 2);
    }
}

/* The first has a later due time now, or is taken out. */
static void heap_sink(void) {
    for (int at = 0;;) {
        int least = at;
        for (int child = 2 * at + 1; child <= 2 * at + 2 && child < heap_count; child++) {
            least = earlier(child, least) ? child : least;
        }
        if (least == at) {
            return;
        }
        swap(at, least);
        at = least;
    }
}

/* The loop */

static void send_due(int64_t now) {
    int64_t period = (int64_t)(1e9 / plan.rate);
    while (heap_count > 0 && heap[0].due <= now) {
        struct link *link = &links[heap[0].index];
        int64_t due = heap[0].due;
        if (link->fd < 0) {
            heap[0] = heap[--heap_count];
        } else {
            heap[0].due += period;
            sends++;
            late_sends += (double)(now - due) > asked.limit_ms * 1e6 / 2;
            user_send(link, due, now);
        }
        heap_sink();
    }
}

static int64_t whole_milliseconds(int64_t wait) {
    return (wait + MILLISECOND - 1) / MILLISECOND * MILLISECOND;
}

static void turn(int64_t most) {
    int64_t now = now_ns();
    int64_t wait = most;
    send_due(now);
    if (heap_count > 0 && heap[0].due - now < most) {
        wait = heap[0].due > now ? heap[0].due - now : 0;
    }
    loop_turn(whole_milliseconds(wait));
}

/* A user that has become ready sends its first message at some time of its first period,
 * so that users don't send in step. */
static void ready(struct link *link) {
    static uint32_t random = 12345;
    random = random * 1664525 + 1013904223;
    int64_t later = (int64_t)(random / 4294967296.0 * 1e9 / plan.rate);
    users_ready++;
    heap_push((struct turn){now_ns() + later, link->index});
}

static void broke(struct link *link, const char *why) {
    char text[450];
    snprintf(text, sizeof(text), "connection %d: %s", link->index, why);
    user_free(link);
    ramp_failed(text);
}

static void expire_connecting(int from) {
    int64_t now = now_ns();
    for (int i = from; i < opened; i++) {
        if (links[i].fd >= 0 && !links[i].ready &&
            (double)(now - links[i].begun) > plan.patience * 1e9) {
            ramp_failed(links[i].connected ? "a handshake was not answered in time"
                                           : "a connection was not made in time");
            return;
        }
    }
}

/* Until there are so many users, or an error. */
static void connect_until(int wanted) {
    int first = opened;
    while (users_ready < wanted && errors == 0 && !interrupted) {
        while (opened < wanted && opened - users_ready < CONNECTING_MOST && errors == 0) {
            user_open(&links[opened], opened);
            opened++;
        }
        turn(20 * MILLISECOND);
        expire_connecting(first);
    }
}

static void count_waiting(void) {
    int64_t now = now_ns();
    for (int i = 0; i < opened; i++) {
        if (links[i].fd >= 0) {
            user_expire(&links[i], now);
            user_count_late(&links[i], now);
        }
    }
}

static void measure(struct step *step) {
    int64_t from = now_ns();
    int64_t end = from + (int64_t)(plan.seconds * 1e9);
    histogram_clear();
    answers = sends = late_sends = 0;
    tally.on = true;
    for (int64_t now = from; now < end && errors == 0 && !interrupted; now = now_ns()) {
        turn(end - now < SECOND / 10 ? end - now : SECOND / 10);
    }
    send_due(now_ns()); /* what was due while this program did not run is late, too */
    tally.on = false;
    count_waiting();
    step->per_second = (double)answers / ((double)(now_ns() - from) / 1e9);
    step->p50_ms = histogram_percentile(50) / 1e6;
    step->p99_ms = histogram_percentile(99) / 1e6;
}

/* Whether there can be a further step; else says why not. */
static bool judge(struct found *found, const struct step *step) {
    if (interrupted) {
        found->stop = STOP_INTERRUPT;
        snprintf(found->why, sizeof(found->why), "it was interrupted");
        return false;
    }
    if (errors > 0) {
        found->stop = STOP_ERRORS;
        snprintf(found->why, sizeof(found->why), "%s (%llu error%s)", first_error,
                 (unsigned long long)errors, errors == 1 ? "" : "s");
        return false;
    }
    if (step->p99_ms <= asked.limit_ms && histogram_count() > 0) {
        return true;
    }
    if (sends > 0 && !answered) {
        found->stop = STOP_ERRORS;
        snprintf(
            found->why, sizeof(found->why),
            "no answers came in %g s, to %llu messages: does the server cut messages "
            "as --framing says, and answer each",
            plan.seconds, (unsigned long long)sends);
    } else if (histogram_count() == 0) {
        found->stop = STOP_ERRORS;
        snprintf(
            found->why, sizeof(found->why),
            "no message was due or answered in %g s: --every is too short for --rate",
            plan.seconds);
    } else if (late_sends * 100 > sends) {
        found->stop = STOP_BEHIND;
        snprintf(found->why, sizeof(found->why),
                 "p99 was %.1f ms, but sync-bench itself sent late: this machine is too "
                 "busy to be so many users",
                 step->p99_ms);
    } else {
        found->stop = STOP_LATENCY;
        snprintf(found->why, sizeof(found->why), "p99 was %.1f ms, above %g ms",
                 step->p99_ms, asked.limit_ms);
    }
    return false;
}

static void add(struct found *found, struct step step) {
    found->steps = need(realloc(found->steps, (found->count + 1) * sizeof(step)));
    found->steps[found->count++] = step;
}

/* What this machine can be */

static int local_ports(void) {
    int low, high;
    FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "r");
    if (!file || fscanf(file, "%d %d", &low, &high) != 2) {
        low = 32768;
        high = 60999;
    }
    if (file) {
        fclose(file);
    }
    return high - low + 1;
}

/* The most users, and what bounds them. */
static int most_users(char *why, size_t room) {
    unsigned long long files = raise_file_limit();
    int most = files > 10000000 ? 10000000 : (int)files - FILES_KEPT;
    int ports = local_ports();
    snprintf(why, room,
             "this machine's file limit is %llu (ulimit -n), which is %d users", files,
             most);
    if (!target_is_loopback4(target_of(0)) && ports < most) {
        most = ports;
        snprintf(why, room,
                 "this machine has %d local ports towards one server "
                 "(net.ipv4.ip_local_port_range)",
                 ports);
    }
    return most;
}

/* One step. Returns whether it held. */
static bool take_step(struct found *found, int users) {
    struct step step = {.users = users};
    connect_until(users);
    if (errors == 0 && !interrupted) {
        measure(&step);
    }
    step.errors = errors;
    step.held = judge(found, &step);
    step.users = step.held ? users : users_ready;
    add(found, step);
    found->held = step.held ? users : found->held;
    return step.held;
}

void ramp_run(struct found *found, void (*progress)(const struct step *)) {
    char bound[200];
    int most = most_users(bound, sizeof(bound));
    int last = plan.connections < most ? plan.connections : most;
    links = need(calloc((size_t)last, sizeof(*links)));
    heap = need(calloc((size_t)last, sizeof(*heap)));
    for (int wanted = asked.start;; wanted += asked.step) {
        int users = wanted < last ? wanted : last;
        bool held = take_step(found, users);
        progress(&found->steps[found->count - 1]);
        if (!held) {
            return;
        }
        if (users == last) {
            found->stop = last < plan.connections ? STOP_MACHINE : STOP_MAX;
            snprintf(found->why, sizeof(found->why), "%s",
                     last < plan.connections ? bound : "--max was reached");
            return;
        }
    }
}

/* Of sync-bench alone, which calls ramp_run itself. */
const struct mode mode_ramp = {
    .name = "ramp",
    .any_kind = true,
    .greeted = true,
    .ready = ready,
    .received = user_received,
    .broke = broke,
};
