/* loop.c: the loop that all modes share: one epoll, whose links each have their turn, and
 * the time that is measured. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "load.h"

enum { EVENTS = 256, CONNECTING_MOST = 256, MILLISECOND = 1000000 };

struct link *links;
int links_ready;
struct tally tally;

static void handle(struct link *link, uint32_t events) {
    if (link->fd >= 0 && !link->ready) {
        link_establish(link);
        return;
    }
    if (link->fd >= 0 && events & EPOLLOUT && link->unsent_length > 0) {
        link_write(link);
    }
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
        return;
    }
    while (link->fd >= 0) {
        char *bytes;
        size_t count = link_read(link, &bytes);
        if (count > 0) {
            plan.mode->received(link, bytes, count, now_ns());
        }
        if (count == 0 || link->fd < 0 || !link_pending(link)) {
            return;
        }
    }
}

/* epoll_wait counts milliseconds; what is due sooner is waited for by ppoll. */
static int wait_events(struct epoll_event *events, int64_t wait) {
    if (wait > 0 && wait % MILLISECOND != 0) {
        struct timespec time = {wait / SECOND, wait % SECOND};
        struct pollfd all = {epoll_fd, POLLIN, 0};
        ppoll(&all, 1, &time, NULL);
        wait = 0;
    }
    int ready = epoll_wait(epoll_fd, events, EVENTS, (int)(wait / MILLISECOND));
    if (ready < 0 && errno != EINTR) {
        fail("epoll: %s", strerror(errno));
    }
    return ready;
}

int loop_turn(int64_t wait) {
    struct epoll_event events[EVENTS];
    int ready = wait_events(events, wait);
    for (int i = 0; i < ready; i++) {
        handle(events[i].data.ptr, events[i].events);
    }
    return ready;
}

static int64_t patience(void) {
    return (int64_t)(plan.patience * 1000) * MILLISECOND;
}

struct link *links_open(int count) {
    int most = plan.mode->connecting ? plan.mode->connecting : CONNECTING_MOST;
    int before = links_ready;
    links = need(calloc((size_t)count, sizeof(*links)));
    for (int opened = 0; links_ready - before < count && !interrupted;) {
        while (opened < count && opened - (links_ready - before) < most) {
            link_open(&links[opened], opened);
            opened++;
        }
        if (loop_turn(patience()) == 0) {
            fail("%d of %d connections were %s, and then none for %g s",
                 links_ready - before, count,
                 wire_is_websocket() ? "made and their handshake answered" : "made",
                 plan.patience);
        }
    }
    return links;
}

/* What is due only tells how long the wait may be: the run ends in time. */
static int64_t next_wait(int64_t now, int64_t end) {
    int64_t wait = plan.mode->due ? plan.mode->due(now) : -1;
    if (wait < 0) {
        return patience();
    }
    return wait < end - now ? wait : end - now;
}

static void run_until(int64_t end) {
    for (int64_t now = now_ns(); now < end && !interrupted; now = now_ns()) {
        int64_t wait = next_wait(now, end);
        if (loop_turn(wait) == 0 && wait == patience() && plan.mode->stalled) {
            plan.mode->stalled();
        }
    }
}

/* Seconds of processor time that this program has had. */
static double own_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void measure(struct result *result) {
    struct usage before = server_usage(plan.pid);
    double own = own_seconds();
    int64_t from = now_ns();
    histogram_clear();
    tally = (struct tally){.on = true};
    run_until(from + (int64_t)(plan.seconds * 1e9));
    tally.on = false;
    struct usage after = server_usage(plan.pid);
    double user = after.user_ns - before.user_ns;
    double system = after.system_ns - before.system_ns;
    result->seconds = (double)(now_ns() - from) / 1e9;
    result->messages = (double)tally.count;
    result->user_ns = user / result->messages;
    result->system_ns = system / result->messages;
    result->server_busy = (user + system) / 1e9 / result->seconds;
    result->load_busy = (own_seconds() - own) / result->seconds;
}

void loop_run(struct result *result) {
    plan.mode->begin();
    run_until(now_ns() + (int64_t)(plan.warm_up * 1e9));
    measure(result);
    if (plan.mode->finish) {
        plan.mode->finish();
    }
}
