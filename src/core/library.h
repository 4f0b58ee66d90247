/* library.h: libraries of the system, opened when they are first needed, so that the
 * program needs none of them to begin. */
#pragma once

#include <stddef.h>

/* Opens the first of these files (a NULL is behind the last) that is there. Returns NULL,
 * and the message says which package lacks. */
void *library_open(const char *const *files, const char *name, const char *package,
                   char *message, size_t size);

/* Finds functions by their names behind a prefix, `count` of them, and writes them to a
 * struct that has nothing else, in this order. Returns 0, or -1 and which lacks. */
int library_find(void *library, const char *prefix, const char *const *names,
                 size_t count, void *functions, char *message, size_t size);
