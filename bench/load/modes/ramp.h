/* ramp.h: what the parts of sync-bench share. It connects users to a server step by step
 * until the server answers too late. ../sync-bench.c reads the command line and reports,
 * ../url.c finds the server, ramp.c adds users and measures, user.c is one user. */
#pragma once

#include "../load.h"

/* What was asked for, beside what stands in the plan: of it `connections` are the most
 * users, `seconds` is how long a step is measured, and `rate` is that of each user. */
struct asked {
    int start, step; /* users */
    double limit_ms;
    const char *message; /* its text, or NULL: so many letters as the plan's size */
};
extern struct asked asked;

/* url.c */
struct url {
    char name[256], port[8];
    char host[300]; /* as HTTP's Host names it */
    const char *path;
};
/* Takes it to pieces. Returns whether it is a WebSocket's. */
bool url_parse(const char *url, struct url *parsed);
/* Looks the name up and takes the first of its addresses that lets a client connect. */
void url_find(const char *url, const struct url *parsed);

/* user.c */
/* Makes the message; refuses one that the framing can't carry. */
void user_prepare(void);
void user_open(struct link *link, int index);
void user_received(struct link *link, char *bytes, size_t count, int64_t now);
void user_free(struct link *link);
/* Sends the message that was due then. */
void user_send(struct link *link, int64_t due, int64_t now);
/* A message that has waited longer than --timeout is an error. */
void user_expire(struct link *link, int64_t now);
/* What waits for longer than the limit counts as late as it is by now. */
void user_count_late(struct link *link, int64_t now);

/* Called by user.c. */
void ramp_answered(int64_t due);
void ramp_failed(const char *why);

/* ramp.c */
enum stop {
    STOP_MAX,
    STOP_LATENCY,
    STOP_ERRORS,
    STOP_MACHINE,
    STOP_BEHIND,
    STOP_INTERRUPT
};
struct step {
    int users;
    double per_second, p50_ms, p99_ms;
    uint64_t errors;
    bool held;
};
struct found {
    struct step *steps;
    size_t count;
    int held;       /* users, in the last step that held */
    enum stop stop; /* why there was no further step */
    char why[500];
};
/* Adds users until the server or this machine can take no more. Calls `progress` after
 * each step. */
void ramp_run(struct found *found, void (*progress)(const struct step *));
