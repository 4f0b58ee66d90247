/* file.c: files looked up beneath a folder, and read, in libuv's thread pool. */
#include "http/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "http/fold.h"
#include "http/walk.h"

enum { OPEN_FLAGS = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC };

/* Whether it is a regular file: 0 or an error. */
static int check_kind(int fd, struct stat *seen) {
    if (fstat(fd, seen) < 0) {
        return -errno;
    }
    return S_ISREG(seen->st_mode) ? 0 : S_ISDIR(seen->st_mode) ? UV_EISDIR : UV_EFTYPE;
}

/* Looks before it opens: to open a device can do things, and to open a FIFO lets its
 * writer go on. And looks again, at what it has opened. A folder of which only the index
 * is served need not be readable. */
static int open_regular(struct file *file, const char *path) {
    struct stat seen;
    int fd = walk_open(file->folder, path, WALK_LOOK);
    if (fd < 0) {
        return fd;
    }
    int error = check_kind(fd, &seen);
    close(fd);
    if (error < 0) {
        return error;
    }
    fd = walk_open(file->folder, path, OPEN_FLAGS);
    if (fd < 0) {
        return fd;
    }
    error = check_kind(fd, &seen);
    if (error < 0) {
        close(fd);
        return error;
    }
    file->fd = fd;
    file->name = path;
    file->size = (uint64_t)seen.st_size;
    file->mtime = seen.st_mtim.tv_sec;
    file->mtime_ns = (uint32_t)seen.st_mtim.tv_nsec;
    return 0;
}

/* Jobs, in a thread of the pool. Until they end, the loop's thread leaves alone what they
 * use. */

static void run_open(uv_work_t *work) {
    struct file *file = work->data;
    size_t length = strlen(file->path);
    file->status = file->any_case ? fold_path(file->folder, file->path) : 0;
    if (file->status == 0) {
        file->status = open_regular(file, length > 0 ? file->path : ".");
    }
    if (file->status == UV_EISDIR && file->index_path) {
        memcpy(file->index_path, file->path, length);
        file->status = file->any_case ? fold_path(file->folder, file->index_path) : 0;
        if (file->status == 0) {
            file->status = open_regular(file, file->index_path);
        }
        file->slash_missing = length > 0 && file->path[length - 1] != '/';
    }
}

static void run_read(uv_work_t *work) {
    struct file *file = work->data;
    file->status = 0;
    while (file->length < file->wanted) {
        ssize_t count =
            pread(file->fd, file->buffer + file->length, file->wanted - file->length,
                  (off_t)(file->offset + file->length));
        if (count > 0) {
            file->length += (uint32_t)count;
        } else if (count == 0) {
            file->status = UV_EOF;
            return;
        } else if (errno != EINTR) {
            file->status = -errno;
            return;
        }
    }
}

/* The last close of a file that was deleted frees its blocks, and on a network's disk any
 * close may wait. */
static void run_close(uv_work_t *work) {
    struct file *file = work->data;
    close(file->fd);
    file->fd = -1;
}

static void on_worked(uv_work_t *work, int status);

static void start(struct file *file, uv_work_cb run) {
    file->busy = true;
    uv_queue_work(file->loop, &file->work, run, on_worked); /* cannot fail */
}

static void let_go(struct file *file) {
    if (file->fd >= 0) {
        start(file, run_close);
        return;
    }
    free(file->buffer);
    free(file);
}

static void on_worked(uv_work_t *work, int status) {
    (void)status; /* not 0 only when file_close has cancelled it */
    struct file *file = work->data;
    file->busy = false;
    if (file->closed) {
        let_go(file);
    } else {
        file->callback(file, file->status);
    }
}

int file_root_open(const char *path) {
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

void file_root_close(int folder) {
    close(folder);
}

static struct file *file_new(uv_loop_t *loop, int folder, const char *path,
                             const char *index, file_callback *callback, void *context) {
    size_t length = strlen(path);
    size_t index_size = index ? length + 1 + strlen(index) + 1 : 0;
    struct file *file = calloc(1, sizeof(*file) + length + 1 + index_size);
    if (!file) {
        return NULL;
    }
    memcpy(file->path, path, length + 1);
    if (index) {
        bool slash = length > 0 && path[length - 1] != '/';
        file->index_path = file->path + length + 1;
        snprintf(file->index_path, index_size, "%s%s%s", path, slash ? "/" : "", index);
    }
    file->context = context;
    file->callback = callback;
    file->loop = loop;
    file->folder = folder;
    file->fd = -1;
    file->name = file->path;
    file->work.data = file;
    return file;
}

struct file *file_open(uv_loop_t *loop, int folder, const char *path, const char *index,
                       file_callback *callback, void *context) {
    struct file *file = file_new(loop, folder, path, index, callback, context);
    if (file) {
        start(file, run_open);
    }
    return file;
}

struct file *file_open_any_case(uv_loop_t *loop, int folder, const char *path,
                                const char *index, file_callback *callback,
                                void *context) {
    struct file *file = file_new(loop, folder, path, index, callback, context);
    if (file) {
        file->any_case = true;
        start(file, run_open);
    }
    return file;
}

static int reserve(struct file *file, uint32_t length) {
    if (file->buffer_size < length) {
        free(file->buffer);
        file->buffer = malloc(length);
        file->buffer_size = file->buffer ? length : 0;
    }
    file->bytes = file->buffer;
    file->length = 0;
    return file->buffer ? 0 : UV_ENOMEM;
}

int file_read(struct file *file, uint64_t offset, uint32_t length,
              file_callback *callback) {
    if (file->busy) {
        return UV_EBUSY;
    }
    if (file->fd < 0 || length == 0 || length > FILE_READ ||
        offset > INT64_MAX - FILE_READ) {
        return UV_EINVAL;
    }
    if (reserve(file, length) < 0) {
        return UV_ENOMEM;
    }
    file->callback = callback;
    file->offset = offset;
    file->wanted = length;
    start(file, run_read);
    return 0;
}

void file_close(struct file *file) {
    file->closed = true;
    if (file->busy) {
        uv_cancel((uv_req_t *)&file->work); /* a job that runs ends by itself */
    } else {
        let_go(file);
    }
}

int file_http_status(int error) {
    switch (error) {
    case UV_EACCES:
    case UV_EPERM:
    case UV_EXDEV:
    case UV_EFTYPE: return 403;
    case UV_ENOENT:
    case UV_ENOTDIR:
    case UV_EISDIR:
    case UV_ELOOP:
    case UV_ENAMETOOLONG: return 404;
    case UV_EMFILE:
    case UV_ENFILE:
    case UV_ENOMEM:
    case UV_EAGAIN:
    case UV_EINTR: return 503;
    default: return 500;
    }
}
