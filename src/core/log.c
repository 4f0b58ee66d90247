/* log.c: writes lines of the log to standard error or to a file, and what scripts print
 * to standard output, each in a thread, so that the loop never waits for who reads them:
 * a pipe that nobody empties, a terminal that was stopped, a slow disk. Descriptors may
 * be shared with others, so their flags stay as they are.
 *
 * Lines are gathered in one buffer while the thread writes the other. What finds no room,
 * or can't be written, is dropped, and counted in a line of the log. The threads allocate
 * nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "core/log.h"
#include "sync.h"

enum {
    CAPACITY = 128 * 1024,
    STACK = 64 * 1024,
    LAST_WORDS_MS = 1000,
    NOTE = 256,
    RETRY_MS = 250, /* until what can't be written is tried again: the disk may be full */
};

/* Where lines go. */
struct sink {
    uv_once_t once;
    uv_mutex_t lock;
    uv_cond_t filled;
    uv_cond_t written;
    char buffers[2][CAPACITY];
    size_t length;         /* of what is gathered */
    int gathering;         /* in which buffer */
    bool writing;          /* the other one */
    atomic_bool has_begun; /* there is a thread; any thread may begin or flush */
    bool json;
    bool reopen;      /* the file, before more is written */
    bool is_torn;     /* the last line was written in part: the thread's */
    int fd;           /* the thread's */
    uint64_t dropped; /* lines, since the last one that was not */
};

static struct sink logger = {.once = UV_ONCE_INIT, .fd = STDERR_FILENO};
static struct sink printer = {.once = UV_ONCE_INIT, .fd = STDOUT_FILENO};

static char
    log_path[PATH_MAX]; /* of the log's file, or empty; set before the thread is */

/* Returns how many bytes were written. */
static size_t write_all(int fd, const char *bytes, size_t length) {
    size_t written = 0;
    while (written < length) {
        ssize_t part = write(fd, bytes + written, length - written);
        if (part >= 0) {
            written += (size_t)part;
        } else if (errno == EAGAIN) { /* others have made it non-blocking */
            struct pollfd writable = {.fd = fd, .events = POLLOUT};
            poll(&writable, 1, -1);
        } else if (errno != EINTR) {
            break;
        }
    }
    return written;
}

/* Whole lines; returns how many bytes were written. A disk that gets full in the middle
 * of a line leaves its beginning, behind which the next one must not stand. */
static size_t put(struct sink *sink, const char *bytes, size_t length) {
    if (sink->is_torn && write_all(sink->fd, "\n", 1) == 0) {
        return 0;
    }
    size_t written = write_all(sink->fd, bytes, length);
    sink->is_torn = written > 0 && written < length && bytes[written - 1] != '\n';
    return written;
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

static uint64_t count_lines(const char *bytes, size_t length) {
    uint64_t count = 0;
    for (size_t i = 0; i < length; i++) {
        count += bytes[i] == '\n';
    }
    return count;
}

/* Returns how many lines couldn't be written. */
static uint64_t write_lines(struct sink *sink, const char *bytes, size_t length) {
    while (length > 0) {
        size_t part = piece_length(bytes, length);
        size_t written = put(sink, bytes, part);
        bytes += written;
        length -= written;
        if (written < part) {
            return count_lines(bytes, length);
        }
    }
    return 0;
}

void log_time(char when[LOG_TIME], bool json) {
    time_t now = time(NULL);
    struct tm parts;
    json ? gmtime_r(&now, &parts) : localtime_r(&now, &parts);
    strftime(when, LOG_TIME, json ? "%Y-%m-%dT%H:%M:%SZ" : "%H:%M:%S", &parts);
}

/* A line as lua/sync/log.lua writes them; its length. */
static size_t make_note(char note[NOTE], const char *text, bool json) {
    char when[LOG_TIME];
    log_time(when, json);
    const char *form = json ? "{\"time\":\"%s\",\"level\":\"error\",\"message\":\"%s\"}\n"
                            : "%s ERROR %s\n";
    int length = snprintf(note, NOTE, form, when, text);
    return length < NOTE ? (size_t)length : NOTE - 1;
}

/* Says how many lines were dropped. Returns whether that could be said. */
static bool write_dropped(struct sink *sink, uint64_t dropped, bool json) {
    char text[NOTE / 2];
    char note[NOTE];
    bool prints = sink == &printer;
    snprintf(text, sizeof(text), "%llu lines of %s were dropped: %s",
             (unsigned long long)dropped, prints ? "what was printed" : "the log",
             prints ? "it was not read in time" : "it was not read, or written, in time");
    size_t length = make_note(note, text, json);
    if (prints) {
        return sync_log_write(note, length, json) == 0;
    }
    return put(sink, note, length) == length;
}

static int open_file(void) {
    return open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);
}

/* The log's file may have been moved away: another one takes its place. */
static void reopen(struct sink *sink, bool json) {
    int fd = open_file();
    if (fd >= 0) {
        close(sink->fd);
        sink->fd = fd;
        return;
    }
    char note[NOTE];
    char text[NOTE / 2];
    snprintf(text, sizeof(text),
             "the log's file can't be opened again, the old one is kept: %s",
             uv_strerror(-errno));
    put(sink, note, make_note(note, text, json));
}

static bool has_something(const struct sink *sink) {
    return sink->length > 0 || sink->dropped > 0 || sink->reopen;
}

static void rest(void) {
    nanosleep(&(struct timespec){.tv_nsec = RETRY_MS * 1000000L}, NULL);
}

/* Writes what there was when the lock was held, without the lock. Returns how many lines
 * were dropped and aren't told of. */
static uint64_t write_out(struct sink *sink, const char *bytes, size_t length,
                          uint64_t dropped, bool json, bool anew) {
    if (anew) {
        reopen(sink, json);
    }
    uint64_t lost = write_lines(sink, bytes, length);
    dropped += lost;
    if (dropped > 0 && (lost > 0 || !write_dropped(sink, dropped, json))) {
        rest();
        return dropped;
    }
    return 0;
}

/* The thread. What was dropped came behind what is gathered then. */
static void write_for_ever(void *argument) {
    struct sink *sink = argument;
    uv_mutex_lock(&sink->lock);
    for (;;) {
        while (!has_something(sink)) {
            sink->writing = false;
            uv_cond_broadcast(&sink->written);
            uv_cond_wait(&sink->filled, &sink->lock);
        }
        const char *bytes = sink->buffers[sink->gathering];
        size_t length = sink->length;
        uint64_t dropped = sink->dropped;
        bool json = sink->json;
        bool anew = sink->reopen;
        sink->gathering = !sink->gathering;
        sink->length = 0;
        sink->dropped = 0;
        sink->reopen = false;
        sink->writing = true;
        uv_mutex_unlock(&sink->lock);
        uint64_t untold = write_out(sink, bytes, length, dropped, json, anew);
        uv_mutex_lock(&sink->lock);
        sink->dropped += untold;
    }
}

static void write_last_words(void) {
    sync_print_flush(LAST_WORDS_MS);
    sync_log_flush(LAST_WORDS_MS);
}

/* The thread takes no signals: those are the loop's. */
static void begin(struct sink *sink) {
    sigset_t all, before;
    sigfillset(&all);
    uv_thread_t thread;
    uv_thread_options_t options = {.flags = UV_THREAD_HAS_STACK_SIZE,
                                   .stack_size = STACK};
    if (uv_mutex_init(&sink->lock) < 0 || uv_cond_init(&sink->filled) < 0 ||
        uv_cond_init(&sink->written) < 0) {
        return;
    }
    pthread_sigmask(SIG_SETMASK, &all, &before);
    sink->has_begun = uv_thread_create_ex(&thread, &options, write_for_ever, sink) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void begin_logger(void) {
    begin(&logger);
    atexit(write_last_words);
}

static void begin_printer(void) {
    begin(&printer);
}

static int32_t gather(struct sink *sink, const char *line, size_t length, bool json) {
    if (!sink->has_begun) { /* no memory for a thread */
        write_all(sink->fd, line, length);
        return 0;
    }
    uv_mutex_lock(&sink->lock);
    bool fits = length <= CAPACITY - sink->length && sink->dropped == 0;
    if (fits) {
        memcpy(&sink->buffers[sink->gathering][sink->length], line, length);
        sink->length += length;
        sink->json = json;
    } else {
        sink->dropped++;
    }
    uv_cond_signal(&sink->filled);
    uv_mutex_unlock(&sink->lock);
    return fits ? 0 : -1;
}

static int32_t flush(struct sink *sink, uint32_t milliseconds) {
    if (!sink->has_begun) {
        return 0;
    }
    uint64_t end = uv_hrtime() + milliseconds * UINT64_C(1000000);
    uv_mutex_lock(&sink->lock);
    uint64_t now;
    while ((has_something(sink) || sink->writing) && (now = uv_hrtime()) < end) {
        uv_cond_timedwait(&sink->written, &sink->lock, end - now);
    }
    bool done = !has_something(sink) && !sink->writing;
    uv_mutex_unlock(&sink->lock);
    return done ? 0 : -1;
}

int32_t sync_log_write(const char *line, size_t length, int32_t json) {
    uv_once(&logger.once, begin_logger);
    return gather(&logger, line, length, json != 0);
}

int32_t sync_log_flush(uint32_t milliseconds) {
    return flush(&logger, milliseconds);
}

int32_t sync_log_open(const char *path) {
    if (strlen(path) >= sizeof(log_path)) {
        return UV_ENAMETOOLONG;
    }
    memcpy(log_path, path, strlen(path) + 1);
    int fd = open_file();
    if (fd < 0) {
        int error = -errno;
        log_path[0] = 0;
        return error;
    }
    sync_log_flush(LAST_WORDS_MS);
    logger.fd = fd;
    return 0;
}

int32_t sync_log_reopen(void) {
    if (!log_path[0]) {
        return 0;
    }
    uv_once(&logger.once, begin_logger);
    if (!logger.has_begun) {
        return UV_ENOMEM;
    }
    uv_mutex_lock(&logger.lock);
    logger.reopen = true;
    uv_cond_signal(&logger.filled);
    uv_mutex_unlock(&logger.lock);
    return 1;
}

int32_t sync_log_is_journal(void) {
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device;
    unsigned long long inode;
    struct stat standard;
    return stream && !log_path[0] && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &standard) == 0 && standard.st_dev == device &&
           standard.st_ino == inode;
}

int32_t sync_print(const char *line, size_t length) {
    uv_once(&logger.once, begin_logger); /* tells of what is dropped, at the end too */
    uv_once(&printer.once, begin_printer);
    return gather(&printer, line, length, logger.json);
}

int32_t sync_print_flush(uint32_t milliseconds) {
    return flush(&printer, milliseconds);
}
