/* transfer.h: one request of HTTP and its answer, as libcurl makes them. Knows no loop:
 * what has happened is told to a function. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fetch/guard.h"
#include "sync.h"
/* It follows sync.h, as the text of the FFI does. */
#include "fetch/fetch.h"

struct bytes {
    char *data;
    size_t length;
    size_t capacity;
};

struct transfer {
    struct sync_fetch public; /* first, so that the two pointers are one */
    void *easy;
    struct curl_slist *headers;
    struct guard guard;
    struct bytes head;
    struct bytes body;
    char *sent; /* the request's body */
    char text[256];
    uint32_t flags;
    uint32_t most_head;
    uint32_t most_body;
    uint32_t headed;  /* bytes of heads, those before the last one included */
    uint32_t problem; /* that was found in a call of libcurl's, which ends it */
    bool head_ended;
    bool looks_up;  /* its host's name */
    bool connected; /* the request may leave */
    bool asked;     /* it has left */
    bool moved;     /* something has come since this was last looked at */
    bool paused;

    void (*tell)(struct transfer *transfer); /* there is something new */
    /* The rest is the owner's. */
    void *owner;
    struct transfer *next;
    struct transfer **place;
    uint64_t begun, moved_at; /* ms */
    uint32_t connect_limit, idle_limit, total_limit;
    uint32_t told; /* in which tick */
    int64_t uploaded;
    bool added; /* to libcurl's transfers */
    bool taken; /* it may go on */
    bool given_up;
};

/* Makes a transfer that isn't begun. NULL: memory ran out, or a network isn't one. */
struct transfer *transfer_new(const struct sync_fetch_options *options,
                              void (*tell)(struct transfer *transfer));
void transfer_free(struct transfer *transfer);

/* It has come to its end: by libcurl's code, or by a problem of enum sync_fetch_problem.
 */
void transfer_end(struct transfer *transfer, int code, uint32_t problem);

/* The body that was there was taken. */
void transfer_empty(struct transfer *transfer);
