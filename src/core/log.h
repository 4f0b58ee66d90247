/* log.h: lines of the log that are not the program's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct log_field {
    const char *name; /* a plain word */
    const char *value;
    bool bare; /* a number */
};

enum { LOG_TIME = 32 };

/* When a line is written, as lines begin: hours to seconds here, or in JSON with the date
 * in UTC. */
void log_time(char when[LOG_TIME], bool json);

/* Writes an entry of level "error" as lua/sync/log.lua does, with a traceback unless that
 * is NULL. Texts are UTF-8. */
void log_error(bool json, const char *message, const struct log_field *fields,
               size_t count, const char *traceback);
