/* keep.c: a small file that is written anew. */
#include "jobs/keep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "jobs/jobs.h"

enum { MODE = 0640, QUEUE = 16 };

struct keep {
    struct job job;
    char *other; /* the path of the new file, until it takes the place of the old one */
    const char *path;
    const char *text;
    size_t length;
    char bytes[]; /* of all three */
};

static int write_all(int fd, const char *text, size_t length) {
    while (length > 0) {
        ssize_t count = write(fd, text, length);
        if (count < 0 && errno != EINTR) {
            return -errno;
        }
        text += count > 0 ? count : 0;
        length -= count > 0 ? (size_t)count : 0;
    }
    return fsync(fd) < 0 ? -errno : 0;
}

static int32_t run(struct job *job, uint32_t seat) {
    struct keep *keep = (struct keep *)(void *)job;
    (void)seat;
    int fd = open(keep->other, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, MODE);
    if (fd < 0) {
        return -errno;
    }
    int error = write_all(fd, keep->text, keep->length);
    if (close(fd) < 0 && error == 0) {
        error = -errno;
    }
    if (error == 0 && rename(keep->other, keep->path) < 0) {
        error = -errno;
    }
    if (error < 0) {
        unlink(keep->other);
    }
    return error;
}

static void free_keep(struct job *job) {
    free(job);
}

static const struct job_kind kind = {.run = run, .free = free_keep};

static struct keep *new_keep(const char *path, const char *text, size_t length) {
    size_t size = strlen(path) + 1;
    struct keep *keep = calloc(1, sizeof(*keep) + 2 * size + sizeof(".new") + length);
    if (!keep) {
        return NULL;
    }
    char *bytes = keep->bytes;
    keep->job.kind = &kind;
    keep->path = memcpy(bytes, path, size);
    keep->other = bytes + size;
    snprintf(keep->other, size + sizeof(".new"), "%s.new", path);
    keep->text = memcpy(keep->other + size + sizeof(".new") - 1, text, length);
    keep->length = length;
    return keep;
}

int keep_file(struct core *core, const char *path, const char *text, size_t length) {
    const struct crew_options options = {
        .threads = 1, .queue = QUEUE, .name = "sync-keep"};
    struct keep *keep = new_keep(path, text, length);
    if (keep && !core->keepers) {
        core->keepers = crew_open(core, &options);
    }
    if (!keep || !core->keepers) {
        free(keep);
        return UV_ENOMEM;
    }
    return crew_do(core->keepers, &keep->job);
}
