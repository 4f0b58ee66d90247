/* path.c: where a file really is, and whether it has changed. */
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sync.h"

int32_t sync_path_real(const char *path, char *real, size_t size) {
    char found[PATH_MAX];
    if (!realpath(path, found) || strlen(found) >= size) {
        return -1;
    }
    memcpy(real, found, strlen(found) + 1);
    return 0;
}

double sync_path_stamp(const char *path) {
    struct stat found;
    if (stat(path, &found) < 0) {
        return 0;
    }
    /* Not only the time: two writes within one of its steps differ in size or inode. */
    return (double)found.st_mtim.tv_sec + (double)found.st_mtim.tv_nsec / 1e9 +
           (double)found.st_size * 1e-3 + (double)(found.st_ino % 1000) * 1e-4;
}
