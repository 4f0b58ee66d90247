/* fold.c: names of files found whatever the case of their letters. */
#include "http/fold.h"

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <uv.h>

#include "http/walk.h"

/* Opens a folder to read its names. What walk_open finds can't be read from. */
static DIR *open_folder(int folder, const char *path) {
    int seen = walk_open(folder, path, WALK_LOOK);
    if (seen < 0) {
        return NULL;
    }
    int fd = openat(seen, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close(seen);
    DIR *names = fd < 0 ? NULL : fdopendir(fd);
    if (!names && fd >= 0) {
        close(fd);
    }
    return names;
}

/* Writes over `name`. Returns whether there is one like it. */
static bool fold_name(DIR *names, char *name) {
    char best[NAME_MAX + 1] = "";
    const struct dirent *entry;
    for (int i = 0; i < FOLD_NAMES && (entry = readdir(names)); i++) {
        if (strcmp(entry->d_name, name) == 0) {
            return true;
        }
        if (strcasecmp(entry->d_name, name) == 0 &&
            (best[0] == '\0' || strcmp(entry->d_name, best) < 0)) {
            memcpy(best, entry->d_name, strlen(entry->d_name) + 1);
        }
    }
    memcpy(name, best, strlen(best)); /* as long as it was, or empty */
    return best[0] != '\0';
}

int fold_path(int folder, char *path) {
    char *name = path;
    while (*name != '\0') {
        char *end = name + strcspn(name, "/");
        char behind = *end;
        *end = '\0';
        if (name > path) {
            name[-1] = '\0';
        }
        DIR *names = open_folder(folder, name > path ? path : ".");
        bool found = names && fold_name(names, name);
        if (names) {
            closedir(names);
        }
        if (name > path) {
            name[-1] = '/';
        }
        *end = behind;
        if (!found) {
            return UV_ENOENT;
        }
        name = behind == '/' ? end + 1 : end;
    }
    return 0;
}
