/* server.h: a core under test, and all that it said.
 *
 * Each tick polls, records the events with copies of their bytes, lets the test's
 * handler answer, and flushes, as a program does.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sync.h"

struct seen {
    uint32_t tick, type, id, value, length;
    char *data; /* a copy */
};

struct server {
    struct sync *sync;
    struct seen *seen; /* every event, in order */
    size_t count, capacity;
    uint32_t ticks;
    uint32_t bound; /* the timer that ends a wait in vain */
    bool in_vain;
    void (*handle)(struct server *server, const struct sync_event *event);
};

/* Settings with generous limits and no time-outs. */
struct sync_options server_options(uint32_t framing);

/* Cores that are opened from now on have so many threads that send and receive, by
 * io_uring; 0: what the environment says. Returns false where that can't be. */
bool server_use_threads(uint32_t count);

void server_open(struct server *server);
void server_close(struct server *server);

/* One tick; returns what sync_poll did. */
int32_t server_tick(struct server *server, bool block);

/* Listens on 127.0.0.1 and returns the port, or 0; the first listener's id is 1. */
uint32_t server_listen(struct server *server, const struct sync_options *options);

/* A memory listener and `count` clients of it, whose SYNC_CONNECT was taken: slots 1 to
 * `count`. Returns the listener's id. */
uint32_t server_memory(struct server *server, const struct sync_options *options,
                       uint32_t count);

/* Ticks without sleeping until memory clients have no more to say. */
void server_settle(struct server *server);

/* How many events of the type were seen; with id 0 those of all ids. */
uint32_t server_saw(const struct server *server, uint32_t type, uint32_t id);
const struct seen *server_find(const struct server *server, uint32_t type, uint32_t id);

/* The value of the slot's SYNC_CLOSE, or 0. */
uint32_t server_close_reason(const struct server *server, uint32_t slot);

/* The messages of a slot, joined, each followed by `end` unless that is 0. The text
 * lives until the next call. */
const char *server_messages(const struct server *server, uint32_t slot, char end,
                            size_t *length);

void server_forget(struct server *server);

/* A handler that sends each message back. */
void server_echo(struct server *server, const struct sync_event *event);

/* Feeds a memory client all of it, ticking while the core takes no more. */
void server_feed(struct server *server, uint32_t slot, const char *bytes, size_t length);

/* Opens a server that sends each message back, on `host`; returns its port. */
uint32_t server_open_echo(struct server *server, const char *host, uint32_t framing);

/* Takes what memory client `slot` was sent; returns the length. */
uint32_t server_take(struct server *server, uint32_t slot, char *bytes, uint32_t size);

/* Runs ticks, each sleeping until something happens, until the condition holds; at most
 * WAIT_MS, and then the test has failed. */
enum { WAIT_MS = 60000 };
void server_wait_begin(struct server *server);
bool server_wait_tick(struct server *server);
void server_wait_end(struct server *server);

/* Ticks until so many connections hold a slot, or none; no event tells. */
void server_wait_left(struct server *server, uint32_t count);
void server_wait_gone(struct server *server);

#define WAIT(server, condition)                                                          \
    do {                                                                                 \
        server_wait_begin(server);                                                       \
        while (!(condition) && server_wait_tick(server)) {                               \
        }                                                                                \
        server_wait_end(server);                                                         \
        CHECK(condition);                                                                \
    } while (0)
