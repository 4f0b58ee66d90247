/* walk.h: a path opened beneath a folder, and nothing outside of it, whatever the path
 * and the links in the folder say. By openat2 where the kernel has it, else name by name.
 */
#pragma once

#include <fcntl.h>

enum {
    WALK_LOOK =
        O_PATH | O_CLOEXEC, /* finds without opening: no side effect on a device */
    WALK_DEPTH = 64         /* folders below each other, where the kernel lacks openat2 */
};

/* As openat, for a path that must stay in the folder; the flags are WALK_LOOK or those of
 * open(2). Blocks. Returns a descriptor or a negative error: UV_EXDEV for what leaves the
 * folder. */
int walk_open(int folder, const char *path, int flags);
