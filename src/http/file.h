/* file.h: the files of a web folder, opened, read and closed off the loop's thread.
 *
 * Knows libuv's loop and no connection. Each step is one job of libuv's thread pool (four
 * threads, or UV_THREADPOOL_SIZE), so a slow disk holds up other files and never the
 * loop. Nothing outside the folder is ever opened, whatever the path and the links in the
 * folder say, and nothing but regular files.
 *
 * What a file costs: a descriptor (while it is being opened, WALK_DEPTH + 1 at most where
 * the kernel lacks openat2); its path twice; a buffer as long as the longest read so far.
 * To open, to read and to close are a job each, which takes 2 us of the loop's thread
 * when many are under way, and 12 us when it is alone and a thread has to be woken. How
 * many are under way at once is the caller's to bound.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

enum { FILE_READ = 64 * 1024 /* the longest read, in bytes */ };

struct file;

/* Called on the loop's thread, once for each file_open and file_read that was not cut
 * short by file_close. `status` is 0 or a negative libuv error. It may call file_read and
 * file_close. */
typedef void file_callback(struct file *file, int status);

/* One file, from file_open to file_close. The first part is to be read, once the file is
 * open; the second is file.c's own. */
struct file {
    void *context;      /* as given to file_open */
    uint64_t size;      /* bytes, when it was opened */
    int64_t mtime;      /* seconds since 1970 of the last change */
    uint32_t mtime_ns;  /* and nanoseconds */
    bool slash_missing; /* the index of a folder whose path had no slash at its end */
    const char *name;   /* the path that was opened, the index's for a folder */
    const char *bytes;  /* what was read; until the next file_read or file_close */
    uint32_t length;    /* of bytes */

    uv_work_t work;
    uv_loop_t *loop;
    file_callback *callback;
    char *buffer;
    char *index_path; /* of the index, should the path be a folder; or NULL */
    uint64_t offset;
    uint32_t buffer_size;
    uint32_t wanted; /* bytes of the read */
    int folder;
    int fd;
    int status;
    bool busy; /* a job is under way */
    bool closed;
    bool any_case; /* names are found whatever the case of their letters */
    char path[];
};

/* Opens a folder to find files in. Links on the way to it are followed: who configures a
 * server may use them. Blocks. Returns a descriptor or a negative error. */
int file_root_open(const char *path);

/* Files that are open stay so. But none may be about to be opened, not even one that
 * file_close was called for: run the loop until that is done. */
void file_root_close(int folder);

/* Opens a regular file of a folder. `path` is relative, decoded, and ends at its NUL;
 * "" is the folder itself. For a folder, its `index` is opened instead ("index.html";
 * NULL for none). Both are copied.
 *
 * Links are followed as long as they stay in the folder; a link with an absolute target
 * leaves it, wherever it ends. Errors: UV_EXDEV for what leaves the folder, UV_EFTYPE for
 * what is no regular file, UV_EISDIR for a folder when there's no index to look for, and
 * those of open(2). See file_http_status.
 *
 * Returns the file, which the caller closes in any case, or NULL when memory ran out;
 * then the callback isn't called. It is never called before file_open returns. */
struct file *file_open(uv_loop_t *loop, int folder, const char *path, const char *index,
                       file_callback *callback, void *context);

/* The same, whatever the case of the letters in the path's names: see fold.h. */
struct file *file_open_any_case(uv_loop_t *loop, int folder, const char *path,
                                const char *index, file_callback *callback,
                                void *context);

/* Reads `length` bytes, 1 to FILE_READ, at `offset` into file->bytes. The callback gets
 * UV_EOF when the file ends before that, having been cut since; file->length is then what
 * there was. Returns 0, or, without calling back: UV_EINVAL for another length or a file
 * that isn't open, UV_EBUSY while the file is being opened or read, UV_ENOMEM. */
int file_read(struct file *file, uint64_t offset, uint32_t length,
              file_callback *callback);

/* Ends a file, whether it is being opened, is being read or idle, or couldn't be opened.
 * It is called once. The callback isn't called any more, and the file must not be used.
 * A job that has not begun never does; one that has goes on, and then another closes the
 * descriptor. The loop must run until then, before it is closed itself. */
void file_close(struct file *file);

/* The HTTP status (RFC 9110, section 15) that tells a client of an error: 403 for what it
 * may not see, 404 for what isn't there, 503 when descriptors or memory ran out and a
 * later request may succeed, and 500. */
int file_http_status(int error);
