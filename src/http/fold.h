/* fold.h: names of files found whatever the case of their letters.
 *
 * Each folder on the way is read until the name is found, at most FOLD_NAMES of its
 * names. Blocks: it is for a thread of the pool.
 */
#pragma once

enum { FOLD_NAMES = 10000 /* of a folder that are looked at */ };

/* Writes the names that are there over those of a path beneath a folder, where they
 * differ in the case of ASCII letters alone. A name that is there as it is stays; of
 * several that are alike the first in the order of bytes is taken. Returns 0 or
 * UV_ENOENT; the path is then of no use. */
int fold_path(int folder, char *path);
