/* link.h: what the parts of a link share, and how they tell its program something.
 *
 * A link has one thread, which polls three things: the program's socket, NATS' socket
 * (libnats lets a loop of ours do its reads and writes, so that what the program sends in
 * one go leaves in one go), and a wake-up. libnats' delivery thread, one for all links so
 * that messages keep their order, only puts frames into `filling`. It never waits, so the
 * bound of all that waits for a slow program is most_waiting. */
#pragma once

#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>

#include "buffer.h"
#include "natslink.h"

enum { FRAME_HEAD = 9 /* length, type, number */ };

struct link {
    /* Of the link's own thread. */
    int fd;                 /* our end of the program's socket */
    struct buffer commands; /* received, not yet done */
    struct buffer leaving;  /* frames on their way */
    size_t left;            /* bytes of it that have gone */
    natsConnection *connection;
    natsSubscription *answers;
    natsSubscription **subscriptions; /* by number */
    uint32_t subscription_count;
    char inbox[64]; /* an answer's subject is this and a request's number */
    pthread_t thread;
    bool shut; /* the last frame has gone */

    /* Of all threads. */
    pthread_mutex_t mutex;
    struct buffer filling; /* frames that will leave next */
    uint32_t lost;         /* messages dropped and not told yet */
    bool ended;            /* the connection is no more: nothing follows */
    atomic_int references; /* the thread, the connection, each subscription */
    atomic_int socket;     /* NATS', or -1 */
    atomic_bool wants_read, wants_write;
    atomic_bool slow; /* libnats has dropped messages: its counts must be asked for */
    int wake;         /* an eventfd */

    struct natslink_options options;
    struct link *next; /* of the connected ones */
};

/* Puts a frame of a text and of bytes among those that leave next. */
void link_tell(struct link *link, char type, uint32_t number, const char *text,
               size_t text_length, const void *bytes, size_t length);
void link_tell_text(struct link *link, char type, const char *text);

/* So many messages were dropped; the program will be told. */
void link_count_lost(struct link *link, uint32_t count);

/* No frame follows those that were told. */
void link_end(struct link *link);

/* Lets the link's thread look around. */
void link_wake(struct link *link);

/* Gives one reference back; the last one frees the link. */
void link_release(struct link *link);
