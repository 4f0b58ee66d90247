/* log.c: writes the log's lines to standard error, in a thread, so that the loop never
 * waits for who reads them: a pipe that nobody empties, a terminal that was stopped, a
 * slow disk. The descriptor may be shared with others, so its flags stay as they are.
 *
 * Lines are gathered in one buffer while the thread writes the other. What finds no room
 * is dropped, and counted in a line of its own. The thread allocates nothing.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "sync.h"

enum { CAPACITY = 128 * 1024, STACK = 64 * 1024, LAST_WORDS_MS = 1000, NOTE = 256 };

static struct {
    uv_mutex_t lock;
    uv_cond_t filled;
    uv_cond_t written;
    char buffers[2][CAPACITY];
    size_t length;  /* of what is gathered */
    int gathering;  /* in which buffer */
    bool writing;   /* the other one */
    bool has_begun; /* there is a thread */
    bool json;
    uint64_t dropped; /* lines, since the last one that was not */
} logger;

static void write_all(const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t part = write(STDERR_FILENO, bytes, length);
        if (part >= 0) {
            bytes += part;
            length -= (size_t)part;
        } else if (errno == EAGAIN) { /* others have made it non-blocking */
            struct pollfd writable = {.fd = STDERR_FILENO, .events = POLLOUT};
            poll(&writable, 1, -1);
        } else if (errno != EINTR) {
            return; /* nobody will ever read it */
        }
    }
}

/* As many whole lines as one write to a pipe doesn't mix with those of other processes,
 * but at least one. */
static size_t piece_length(const char *bytes, size_t length) {
    if (length <= PIPE_BUF) {
        return length;
    }
    const char *end = memrchr(bytes, '\n', PIPE_BUF);
    if (!end) {
        end = memchr(bytes, '\n', length);
    }
    return end ? (size_t)(end - bytes) + 1 : length;
}

static void write_lines(const char *bytes, size_t length) {
    while (length > 0) {
        size_t part = piece_length(bytes, length);
        write_all(bytes, part);
        bytes += part;
        length -= part;
    }
}

/* Says how many lines were dropped, in a line as lua/sync/log.lua writes them. */
static void write_note(uint64_t dropped, bool json) {
    static const char text[] = "lines of the log were dropped: it was not read in time";
    char when[32];
    char note[NOTE];
    time_t now = time(NULL);
    struct tm parts;
    json ? gmtime_r(&now, &parts) : localtime_r(&now, &parts);
    strftime(when, sizeof(when), json ? "%Y-%m-%dT%H:%M:%SZ" : "%H:%M:%S", &parts);
    int length =
        snprintf(note, sizeof(note),
                 json ? "{\"time\":\"%s\",\"level\":\"error\",\"message\":\"%llu "
                        "%s\"}\n"
                      : "%s ERROR %llu %s\n",
                 when, (unsigned long long)dropped, text);
    write_all(note, (size_t)length);
}

static bool has_something(void) {
    return logger.length > 0 || logger.dropped > 0;
}

/* The thread. What was dropped came behind what is gathered then. */
static void write_for_ever(void *unused) {
    (void)unused;
    uv_mutex_lock(&logger.lock);
    for (;;) {
        while (!has_something()) {
            logger.writing = false;
            uv_cond_broadcast(&logger.written);
            uv_cond_wait(&logger.filled, &logger.lock);
        }
        const char *bytes = logger.buffers[logger.gathering];
        size_t length = logger.length;
        uint64_t dropped = logger.dropped;
        bool json = logger.json;
        logger.gathering = !logger.gathering;
        logger.length = 0;
        logger.dropped = 0;
        logger.writing = true;
        uv_mutex_unlock(&logger.lock);
        write_lines(bytes, length);
        if (dropped > 0) {
            write_note(dropped, json);
        }
        uv_mutex_lock(&logger.lock);
    }
}

static void write_last_words(void) {
    sync_log_flush(LAST_WORDS_MS);
}

/* The thread takes no signals: those are the loop's. */
static void begin(void) {
    sigset_t all, before;
    sigfillset(&all);
    uv_thread_t thread;
    uv_thread_options_t options = {.flags = UV_THREAD_HAS_STACK_SIZE,
                                   .stack_size = STACK};
    if (uv_mutex_init(&logger.lock) < 0 || uv_cond_init(&logger.filled) < 0 ||
        uv_cond_init(&logger.written) < 0) {
        return;
    }
    pthread_sigmask(SIG_SETMASK, &all, &before);
    logger.has_begun = uv_thread_create_ex(&thread, &options, write_for_ever, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    atexit(write_last_words);
}

int32_t sync_log_write(const char *line, size_t length, int32_t json) {
    static uv_once_t once = UV_ONCE_INIT;
    uv_once(&once, begin);
    if (!logger.has_begun) { /* no memory for a thread */
        write_all(line, length);
        return 0;
    }
    uv_mutex_lock(&logger.lock);
    bool fits = length <= CAPACITY - logger.length && logger.dropped == 0;
    if (fits) {
        memcpy(&logger.buffers[logger.gathering][logger.length], line, length);
        logger.length += length;
        logger.json = json != 0;
    } else {
        logger.dropped++;
    }
    uv_cond_signal(&logger.filled);
    uv_mutex_unlock(&logger.lock);
    return fits ? 0 : -1;
}

int32_t sync_log_flush(uint32_t milliseconds) {
    if (!logger.has_begun) {
        return 0;
    }
    uint64_t end = uv_hrtime() + milliseconds * UINT64_C(1000000);
    uv_mutex_lock(&logger.lock);
    uint64_t now;
    while ((has_something() || logger.writing) && (now = uv_hrtime()) < end) {
        uv_cond_timedwait(&logger.written, &logger.lock, end - now);
    }
    bool done = !has_something() && !logger.writing;
    uv_mutex_unlock(&logger.lock);
    return done ? 0 : -1;
}
