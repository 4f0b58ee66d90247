/* run.c: adds users step by step and measures.
 *
 * Users send at their rate whatever the server does, and latency counts from when a
 * message was due, so that a server that stalls can't hide it. A step is measured once
 * all its users are connected. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "../load.h"
#include "ramp.h"

enum { EVENTS = 512, CONNECTING_MOST = 128 };

static struct user *users;
static int *heap; /* of ready users, the one whose message is due first on top */
static int heap_count;
static int epoll;
static int opened, ready;
static uint64_t errors, answers, sends, late_sends;
static bool measuring;
static char first_error[200];

/* Called by user.c */

void run_answered(int64_t due) {
    answers++;
    if (measuring) {
        histogram_add(ramp_now() - due);
    }
}

void run_failed(const char *why) {
    if (errors++ == 0) {
        snprintf(first_error, sizeof(first_error), "%s", why);
    }
}

void run_ready(void) {
    ready++;
}

/* The heap */

static bool earlier(int a, int b) {
    return users[heap[a]].due < users[heap[b]].due;
}

static void swap(int a, int b) {
    int held = heap[a];
    heap[a] = heap[b];
    heap[b] = held;
}

static void heap_push(int index) {
    int at = heap_count++;
    heap[at] = index;
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
    int64_t period = (int64_t)(1e9 / asked.rate);
    while (heap_count > 0 && users[heap[0]].due <= now) {
        struct user *user = &users[heap[0]];
        if (user->fd < 0) {
            heap[0] = heap[--heap_count];
        } else {
            int64_t due = user->due;
            user->due += period;
            sends++;
            late_sends += (double)(now - due) > asked.limit_ms * 1e6 / 2;
            user_send(user, due, now);
        }
        heap_sink();
    }
}

static int until_due(int64_t now, int most) {
    if (heap_count == 0) {
        return most;
    }
    int64_t wait = (users[heap[0]].due - now + 999999) / 1000000;
    return wait < 0 ? 0 : wait < most ? (int)wait : most;
}

/* A user that has become ready sends its first message at some time of its first period,
 * so that users don't send in step. */
static void turn(int wait) {
    static uint32_t random = 12345;
    struct epoll_event events[EVENTS];
    int64_t now = ramp_now();
    send_due(now);
    int count = epoll_wait(epoll, events, EVENTS, until_due(now, wait));
    for (int i = 0; i < count; i++) {
        struct user *user = events[i].data.ptr;
        bool was = user->ready;
        user_event(user, events[i].events);
        if (!was && user->ready) {
            random = random * 1664525 + 1013904223;
            user->due = ramp_now() + (int64_t)(random / 4294967296.0 * 1e9 / asked.rate);
            heap_push(user->index);
        }
    }
}

static void expire_connecting(int from) {
    int64_t now = ramp_now();
    for (int i = from; i < opened; i++) {
        if (users[i].fd >= 0 && !users[i].ready &&
            (double)(now - users[i].begun) > asked.timeout * 1e9) {
            run_failed(users[i].connected ? "a handshake was not answered in time"
                                          : "a connection was not made in time");
            return;
        }
    }
}

/* Until there are so many users, or an error. */
static void connect_until(int wanted) {
    int first = opened;
    while (ready < wanted && errors == 0 && !interrupted) {
        while (opened < wanted && opened - ready < CONNECTING_MOST && errors == 0) {
            user_open(&users[opened], opened, epoll);
            opened++;
        }
        turn(20);
        expire_connecting(first);
    }
}

/* What still waits for an answer counts as late as it is by now. */
static void count_waiting(void) {
    int64_t now = ramp_now();
    for (int i = 0; i < opened; i++) {
        struct user *user = &users[i];
        if (user->fd < 0) {
            continue;
        }
        user_expire(user, now);
        for (unsigned k = 0; k < user->count; k++) {
            int64_t age = now - user->waiting[(user->first + k) % user_ring()].due;
            if ((double)age > asked.limit_ms * 1e6) {
                histogram_add(age);
            }
        }
    }
}

static void measure(struct step *step) {
    int64_t from = ramp_now();
    int64_t end = from + (int64_t)(asked.every * 1e9);
    histogram_clear();
    answers = sends = late_sends = 0;
    measuring = true;
    for (int64_t now = from; now < end && errors == 0 && !interrupted; now = ramp_now()) {
        int64_t left = (end - now + 999999) / 1000000;
        turn(left < 100 ? (int)left : 100);
    }
    send_due(ramp_now()); /* what was due while this program did not run is late, too */
    measuring = false;
    count_waiting();
    step->per_second = (double)answers / ((double)(ramp_now() - from) / 1e9);
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
    if (histogram_count() == 0) {
        found->stop = STOP_ERRORS;
        snprintf(
            found->why, sizeof(found->why),
            "no message was due or answered in %g s: --every is too short for --rate",
            asked.every);
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
    struct step *more = realloc(found->steps, (found->count + 1) * sizeof(step));
    if (!more) {
        refuse("not enough memory");
    }
    found->steps = more;
    found->steps[found->count++] = step;
}

void run_steps(struct found *found, void (*progress)(const struct step *)) {
    const char *bound;
    int most = target_most(&bound);
    int last = asked.most < most ? asked.most : most;
    users = calloc((size_t)last, sizeof(*users));
    heap = calloc((size_t)last, sizeof(*heap));
    epoll = epoll_create1(0);
    if (!users || !heap || epoll < 0) {
        refuse("not enough memory");
    }
    for (int wanted = asked.start;; wanted += asked.step) {
        struct step step = {.users = wanted < last ? wanted : last};
        connect_until(step.users);
        if (errors == 0 && !interrupted) {
            measure(&step);
        }
        step.errors = errors;
        step.held = judge(found, &step);
        step.users = step.held ? step.users : ready;
        add(found, step);
        progress(&step);
        if (!step.held) {
            return;
        }
        found->held = step.users;
        if (step.users == last) {
            found->stop = last < asked.most ? STOP_MACHINE : STOP_MAX;
            snprintf(found->why, sizeof(found->why), "%s",
                     last < asked.most ? bound : "--max was reached");
            return;
        }
    }
}
