/* walk.c: a path opened beneath a folder, and nothing outside of it. */
#include "http/walk.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>
#ifdef SYS_openat2
#include <linux/openat2.h>
#endif

enum {
    LINKS = 40,  /* followed in one path, as many as the kernel does */
    ATTEMPTS = 8 /* at a path with ".." while something is being renamed */
};

/* Looking up beneath a folder without openat2: the path is walked name by name, with the
 * folders on the way kept open, so that ".." goes back to where the walk came from. */
struct walk {
    int fds[WALK_DEPTH]; /* the folders below the first one */
    int folder;
    int depth;
    int links;
    char rest[PATH_MAX]; /* what is to be walked */
    char name[NAME_MAX + 1];
};

static int walk_top(const struct walk *walk) {
    return walk->depth > 0 ? walk->fds[walk->depth - 1] : walk->folder;
}

static int walk_up(struct walk *walk) {
    if (walk->depth == 0) {
        return UV_EXDEV;
    }
    close(walk->fds[--walk->depth]);
    return 0;
}

static int walk_down(struct walk *walk, int fd) {
    if (walk->depth == WALK_DEPTH) {
        close(fd);
        return UV_ENAMETOOLONG;
    }
    walk->fds[walk->depth++] = fd;
    return 0;
}

/* Puts a link's target in the place of its name. */
static int walk_link(struct walk *walk, int fd) {
    char target[PATH_MAX];
    ssize_t length = readlinkat(fd, "", target, sizeof(target));
    int error = length < 0 ? -errno : 0;
    close(fd);
    if (error < 0) {
        return error;
    }
    if (length > 0 && target[0] == '/') {
        return UV_EXDEV;
    }
    if (++walk->links > LINKS) {
        return UV_ELOOP;
    }
    size_t rest = strlen(walk->rest);
    if ((size_t)length + rest >= sizeof(walk->rest)) {
        return UV_ENAMETOOLONG;
    }
    memmove(walk->rest + length, walk->rest, rest + 1);
    memcpy(walk->rest, target, (size_t)length);
    return 0;
}

/* Takes the next name off the rest, "" when there's none. The slashes behind it stay:
 * they say that it has to be a folder. */
static int walk_next(struct walk *walk) {
    const char *name = walk->rest + strspn(walk->rest, "/");
    size_t length = strcspn(name, "/");
    if (length >= sizeof(walk->name)) {
        return UV_ENAMETOOLONG;
    }
    memcpy(walk->name, name, length);
    walk->name[length] = '\0';
    memmove(walk->rest, name + length, strlen(name + length) + 1);
    return 0;
}

/* Goes to the name in the folder that was reached. What isn't a folder ends the walk:
 * *found is its descriptor, opened with the flags. */
static int walk_step(struct walk *walk, int flags, int *found) {
    if (strcmp(walk->name, ".") == 0) {
        return 0;
    }
    if (strcmp(walk->name, "..") == 0) {
        return walk_up(walk);
    }
    struct stat seen;
    int fd = openat(walk_top(walk), walk->name, WALK_LOOK | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &seen) < 0) {
        int error = -errno;
        if (fd >= 0) {
            close(fd);
        }
        return error;
    }
    if (S_ISLNK(seen.st_mode)) {
        return walk_link(walk, fd);
    }
    if (S_ISDIR(seen.st_mode)) {
        return walk_down(walk, fd);
    }
    if (walk->rest[0] != '\0') {
        close(fd);
        return UV_ENOTDIR;
    }
    if (flags != WALK_LOOK) {
        close(fd);
        fd = openat(walk_top(walk), walk->name, flags | O_NOFOLLOW);
    }
    *found = fd;
    return fd < 0 ? -errno : 0;
}

/* Takes the descriptor of the folder that was reached. */
static int walk_take(struct walk *walk, int flags) {
    if (flags != WALK_LOOK) {
        return UV_EISDIR;
    }
    if (walk->depth > 0) {
        return walk->fds[--walk->depth];
    }
    int fd = openat(walk->folder, ".", WALK_LOOK);
    return fd < 0 ? -errno : fd;
}

static int open_by_walk(int folder, const char *path, int flags) {
    struct walk walk = {.folder = folder};
    size_t length = strlen(path);
    if (path[0] == '/') {
        return UV_EXDEV;
    }
    if (length >= sizeof(walk.rest)) {
        return UV_ENAMETOOLONG;
    }
    memcpy(walk.rest, path, length + 1);
    int found = -1;
    int error = 0;
    while (error == 0 && found < 0) {
        error = walk_next(&walk);
        if (error == 0 && walk.name[0] == '\0') {
            found = walk_take(&walk, flags);
            error = found < 0 ? found : 0;
        } else if (error == 0) {
            error = walk_step(&walk, flags, &found);
        }
    }
    while (walk.depth > 0) {
        walk_up(&walk);
    }
    return error < 0 ? error : found;
}

int walk_open(int folder, const char *path, int flags) {
#ifdef SYS_openat2
    struct open_how how = {.flags = (unsigned)flags,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    for (int i = 0; i < ATTEMPTS; i++) {
        long fd = syscall(SYS_openat2, folder, path, &how, sizeof(how));
        if (fd >= 0) {
            return (int)fd;
        }
        if (errno != EAGAIN && errno != EINTR) {
            break;
        }
    }
    /* Linux has it from 5.6 on, and a container's filter may refuse it with EPERM. When
     * the file is what isn't permitted, the walk says the same. */
    if (errno != ENOSYS && errno != EPERM) {
        return -errno;
    }
#endif
    return open_by_walk(folder, path, flags);
}
