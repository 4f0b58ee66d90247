/* finding.h: what is found out about a handler that is stuck: the event, whose it is, and
 * where in C its thread is. The first two run within a signal's handler, on that thread;
 * the last, on another, tells. */
#pragma once

#include "core/traces.h"
#include "core/watchdog.h"

enum { FINDING_CALLS = 32, FINDING_STACK = 2048 };

struct finding {
    struct watched_client client;
    uint32_t type;              /* of the event; 0: none, the tick was about to end */
    void *calls[FINDING_CALLS]; /* of C, innermost first */
    int call_count;
    char stack[FINDING_STACK]; /* where Lua is: lines of file:line, innermost first; empty
                                  when that is not known */
    char trace[TRACES_PLACE]; /* where compiled code begins that runs, if that is known */
    bool stands;              /* it is the event that was asked about */
    bool compiled;            /* they were made by compiled code */
};

/* Of the batch's event at this place, counted from 1; 0: none. */
void finding_note(struct finding *finding, struct core *core, int32_t which,
                  watchdog_describe *describe);

/* "onData of Echo". */
void finding_name(const struct finding *finding, char *text, size_t size);

void finding_trace(struct finding *finding);

/* Logs that the handler has not ended for so many seconds. */
void finding_say(const struct finding *finding, bool json, double seconds);
