/* keep.h: a small file that is written anew, on a thread: it is the old one or the new
 * one, whenever the machine stops. */
#pragma once

#include <stddef.h>

#include "core/core.h"

/* See sync_keep_file. */
int keep_file(struct core *core, const char *path, const char *text, size_t length);
