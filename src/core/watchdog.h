/* watchdog.h: a thread that tells of a handler which doesn't come to its end. */
#pragma once

#include "core/core.h"

/* The most bytes of a class's name, its NUL included. */
enum { WATCHDOG_NAME = 64 };

/* What an event's connection is, as far as that is known. */
struct watched_client {
    char class[WATCHDOG_NAME]; /* or empty: it is nobody's */
    char address[46];
    uint32_t port;
    double name; /* see sync_name; 0: it has none */
};

/* Fills that in for a slot, which may be gone. It runs within a signal's handler. */
typedef void watchdog_describe(struct core *core, uint32_t slot,
                               struct watched_client *client);

/* See sync_watchdog_start. */
int watchdog_start(struct core *core, const struct sync_watchdog *options,
                   watchdog_describe *describe, char *message, size_t size);
void watchdog_caught(void);
void watchdog_stop(struct core *core);
void watchdog_allow(struct core *core, uint32_t milliseconds);
bool watchdog_asks(struct core *core);
void watchdog_tell(struct core *core, const char *stack);
bool watchdog_sees_profiler(void);

/* At which event of this tick the loop was seen longest, counted from 1; 0: at none. */
int32_t watchdog_dwelt(struct core *core);
