// Clocks that are wrong, for a program that this is loaded into (LD_PRELOAD): the wall
// clock is off by so many nanoseconds, and the clock that only goes on does so at another
// rate. The file that SYNC_CHAOS_CLOCK names says how, and spec/chaos/clock.mjs writes it
// while the program runs. Times that threads wait for by a condition are those of the
// wrong clocks, too. The kernel's own waits (epoll, io_uring) last what the real clock
// says, and a program that wakes early waits anew.

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NANO   INT64_C(1000000000)
#define PUBLIC __attribute__((visibility("default")))

// From a time of the real clock on.
struct course {
    int64_t from, offset; // nanoseconds
    double rate;
};

struct setting {
    int64_t wall; // nanoseconds
    struct course before, now;
};

struct control {
    _Atomic uint64_t which; // of the two settings
    struct setting settings[2];
};

static struct setting right = {.before.rate = 1, .now.rate = 1};
static struct control *control;
static int (*real_time)(clockid_t, struct timespec *);
static int (*real_wait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("SYNC_CHAOS_CLOCK");
    real_time = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    real_wait =
        (int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *))dlsym(
            RTLD_NEXT, "pthread_cond_timedwait");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *bytes = fd < 0
                      ? MAP_FAILED
                      : mmap(NULL, sizeof(struct control), PROT_READ, MAP_SHARED, fd, 0);
    if (bytes != MAP_FAILED) {
        control = bytes;
    }
    if (fd >= 0) {
        close(fd);
    }
}

static const struct setting *setting(void) {
    return control ? &control->settings[control->which & 1] : &right;
}

static const struct course *course_at(const struct setting *now, int64_t time) {
    return time < now->now.from ? &now->before : &now->now;
}

static int64_t real(clockid_t clock) {
    struct timespec time = {0};
    if (real_time) {
        real_time(clock, &time);
    }
    return time.tv_sec * NANO + time.tv_nsec;
}

// What a real time of the clock that goes on is to the program.
static int64_t wrong(int64_t time) {
    const struct course *course = course_at(setting(), time);
    return time + course->offset +
           (int64_t)((double)(time - course->from) * (course->rate - 1));
}

static struct timespec parts(int64_t time) {
    return (struct timespec){.tv_sec = time / NANO, .tv_nsec = time % NANO};
}

PUBLIC int clock_gettime(clockid_t clock, struct timespec *time) {
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE: *time = parts(real(clock) + setting()->wall); return 0;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_BOOTTIME: *time = parts(wrong(real(clock))); return 0;
    default: return real_time(clock, time);
    }
}

PUBLIC int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    int64_t now = real(CLOCK_REALTIME) + setting()->wall;
    *time = (struct timeval){.tv_sec = now / NANO, .tv_usec = now % NANO / 1000};
    return 0;
}

PUBLIC time_t time(time_t *result) {
    time_t now = (real(CLOCK_REALTIME) + setting()->wall) / NANO;
    if (result) {
        *result = now;
    }
    return now;
}

// A condition doesn't tell its clock: it's the one that is nearer.
PUBLIC int pthread_cond_timedwait(pthread_cond_t *restrict condition,
                                  pthread_mutex_t *restrict mutex,
                                  const struct timespec *restrict until) {
    int64_t due = until->tv_sec * NANO + until->tv_nsec;
    int64_t now = real(CLOCK_MONOTONIC), left = due - wrong(now);
    int64_t wall = real(CLOCK_REALTIME), wall_left = due - wall - setting()->wall;
    struct timespec then;
    if (llabs(left) < llabs(wall_left)) {
        then = parts(now + (int64_t)((double)left / course_at(setting(), now)->rate));
    } else {
        then = parts(wall + wall_left);
    }
    return real_wait(condition, mutex, &then);
}
