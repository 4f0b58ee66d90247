/* door.c: the Unix socket by which those who run a server reach it.
 *
 * The folder keeps others out, and who comes is asked of the kernel once more: where a
 * folder can't be closed, as on some file systems, that still holds.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "net/bind.h"
#include "sync.h"

enum {
    WAITING = 16,     /* visitors who may wait to be let in */
    MOST_SWEPT = 1000 /* names of a folder that are looked at for what was left */
};

/* Makes the folder, or looks at one that is there. */
static int own_folder(const char *path) {
    struct stat found;
    if (mkdir(path, S_IRWXU) < 0 && errno != EEXIST) {
        return -errno;
    }
    if (lstat(path, &found) < 0) {
        return -errno;
    }
    bool own = S_ISDIR(found.st_mode) && found.st_uid == geteuid() &&
               (found.st_mode & (S_IRWXG | S_IRWXO)) == 0;
    return own ? 0 : UV_EPERM;
}

/* What bind_unix has bound. Nobody gets in before it listens. */
static int take(void *context, int fd, int transport) {
    (void)transport;
    *(int *)context = fd;
    return 0;
}

/* Whether a name is that of a process's socket, and the process is gone. One that another
 * container has answers. */
static bool is_left(int folder, const char *path, const char *name) {
    int process = 0;
    int length = 0;
    struct stat found;
    if (sscanf(name, "%9d.sock%n", &process, &length) != 1 || name[length] != '\0' ||
        process <= 0 || kill(process, 0) == 0 || errno != ESRCH ||
        fstatat(folder, name, &found, AT_SYMLINK_NOFOLLOW) < 0) {
        return false;
    }
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int size = snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", path, name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool left = fd >= 0 && S_ISSOCK(found.st_mode) &&
                size < (int)sizeof(address.sun_path) &&
                connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 &&
                errno == ECONNREFUSED;
    if (fd >= 0) {
        close(fd);
    }
    return left;
}

/* Removes what processes have left that were killed. */
static void sweep(const char *path) {
    DIR *folder = opendir(path);
    const struct dirent *entry;
    for (int i = 0; folder && i < MOST_SWEPT && (entry = readdir(folder)); i++) {
        if (is_left(dirfd(folder), path, entry->d_name)) {
            unlinkat(dirfd(folder), entry->d_name, 0);
        }
    }
    if (folder) {
        closedir(folder);
    }
}

int32_t sync_door_open(const char *folder, const char *path) {
    int door = -1;
    int error = own_folder(folder);
    if (error == 0) {
        sweep(folder);
        error = bind_unix(path, take, &door);
    }
    if (error < 0) {
        return error;
    }
    if (chmod(path, S_IRUSR | S_IWUSR) < 0 || listen(door, WAITING) < 0) {
        error = -errno;
        sync_door_close(door, path);
        return error;
    }
    return door;
}

void sync_door_close(int32_t door, const char *path) {
    unlink(path);
    close(door);
}

int32_t sync_door_accept(int32_t door, struct sync_visitor *visitor) {
    struct ucred who = {0};
    socklen_t size = sizeof(who);
    int fd = accept4(door, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return errno == ECONNABORTED || errno == EINTR ? UV_EAGAIN : -errno;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0) {
        who.uid = (uid_t)-1;
    }
    visitor->user = who.uid;
    visitor->process = who.pid;
    if (who.uid != geteuid() && who.uid != 0) {
        close(fd);
        return UV_EPERM;
    }
    return fd;
}

void sync_door_refuse(int32_t visitor) {
    close(visitor);
}

int32_t sync_door_owner(int32_t process) {
    struct stat found;
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d", process);
    return stat(path, &found) < 0 ? -errno : (int32_t)found.st_uid;
}

int32_t sync_at_terminal(void) {
    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}
