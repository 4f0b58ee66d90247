/* user.c: one user: what it sends, and which answer belongs to what it has sent.
 *
 * Without {id} a message that comes answers the oldest that waits. With it, one answers
 * the message whose id it contains, and others are let pass: so a broadcast server is
 * measured by what a user's own message took. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ramp.h"

enum {
    ID = 15, /* digits: a number that JSON and a double hold */
    KEEP_MOST = 64 * 1024,
    UNSENT_MOST = 4 * 1024 * 1024
};

struct waiting {
    int64_t due; /* when its message was to leave */
    uint32_t number;
};

/* What a link has besides. */
struct user {
    char *kept; /* the message that is coming in, when ids are matched */
    size_t kept_length;
    unsigned first, count;    /* of the messages that wait for an answer */
    struct waiting waiting[]; /* a ring */
};

/* The message */

static char *body;   /* with digits for the ids */
static char *framed; /* what leaves */
static size_t body_length;
static size_t *ids; /* where they are in the body */
static size_t id_count;
static unsigned ring; /* messages that can wait for an answer */

static void make_body(void) {
    const char *text = asked.message;
    size_t length = text ? strlen(text) : (size_t)plan.size;
    body = need(malloc(length * ID + 1)); /* each {id} is 4 bytes, and becomes ID */
    ids = need(calloc(length / 4 + 1, sizeof(*ids)));
    for (size_t i = 0; i < length; i++) {
        if (text && strncmp(text + i, "{id}", 4) == 0) {
            ids[id_count++] = body_length;
            memset(body + body_length, '0', ID);
            body_length += ID;
            i += 3;
        } else {
            body[body_length++] = text ? text[i] : (char)('a' + wire_mask() % 26);
        }
    }
}

void user_prepare(void) {
    wire_init_framing(plan.framing);
    make_body();
    if (plan.framing == FRAMING_LINE && memchr(body, '\n', body_length)) {
        fail("a message of the framing line can't have a line feed in it");
    }
    wire_check_length(plan.framing, body_length);
    if (body_length == 0 && plan.framing == FRAMING_RAW) {
        fail("without framing a message can't be empty");
    }
    framed = need(malloc(body_length + WIRE_FRAME_MOST));
    ring = (unsigned)(plan.rate * plan.patience) + 2;
}

static void write_id(char *to, const struct link *link, uint32_t number) {
    char digits[ID + 1];
    snprintf(digits, sizeof(digits), "1%07u%07u", (unsigned)link->index % 10000000,
             number % 10000000);
    memcpy(to, digits, ID);
}

/* Beginning and end */

void user_open(struct link *link, int index) {
    link->state = need(calloc(1, sizeof(struct user) + ring * sizeof(struct waiting)));
    link_open(link, index);
}

void user_free(struct link *link) {
    struct user *user = link->state;
    free(user->kept);
    free(user);
    link->state = NULL;
}

/* Sending */

static struct waiting *waiting_at(struct user *user, unsigned place) {
    return &user->waiting[(user->first + place) % ring];
}

static void forget_first(struct user *user) {
    user->first = (user->first + 1) % ring;
    user->count--;
}

void user_expire(struct link *link, int64_t now) {
    struct user *user = link->state;
    char why[80];
    while (user->count > 0 &&
           now - waiting_at(user, 0)->due > (int64_t)(plan.patience * 1e9)) {
        forget_first(user);
        snprintf(why, sizeof(why), "a message had no answer within %g s", plan.patience);
        ramp_failed(why);
    }
}

void user_count_late(struct link *link, int64_t now) {
    struct user *user = link->state;
    for (unsigned i = 0; i < user->count; i++) {
        int64_t age = now - waiting_at(user, i)->due;
        if ((double)age > asked.limit_ms * 1e6) {
            histogram_add(age);
        }
    }
}

void user_send(struct link *link, int64_t due, int64_t now) {
    struct user *user = link->state;
    user_expire(link, now);
    if (user->count == ring) {
        return; /* can't be: what would not fit has waited too long */
    }
    uint32_t number = link->sent++;
    *waiting_at(user, user->count++) = (struct waiting){due, number};
    for (size_t i = 0; i < id_count; i++) {
        write_id(body + ids[i], link, number);
    }
    if (link->unsent_length + body_length > UNSENT_MOST) {
        link_broke(link, "the server does not read what is sent");
        return;
    }
    link_send(link, framed, wire_frame(framed, body, body_length));
}

/* Receiving */

static void answer(struct link *link, unsigned place) {
    struct user *user = link->state;
    ramp_answered(waiting_at(user, place)->due);
    for (; place > 0; place--) {
        *waiting_at(user, place) = *waiting_at(user, place - 1);
    }
    forget_first(user);
}

/* Bytes of a message, kept when an id is looked for in it. */
static void keep(struct user *user, const char *bytes, size_t length) {
    size_t room = KEEP_MOST - user->kept_length;
    length = length < room ? length : room;
    if (id_count == 0 || length == 0) {
        return;
    }
    user->kept = need(realloc(user->kept, user->kept_length + length));
    memcpy(user->kept + user->kept_length, bytes, length);
    user->kept_length += length;
}

/* Without framing an id may be cut in two by a read. */
static void forget(struct user *user) {
    if (plan.framing != FRAMING_RAW) {
        free(user->kept);
        user->kept = NULL;
        user->kept_length = 0;
    } else if (user->kept && user->kept_length >= ID) {
        size_t rest = ID - 1;
        memmove(user->kept, user->kept + user->kept_length - rest, rest);
        user->kept_length = rest;
    }
}

static void answer_by_ids(struct link *link) {
    struct user *user = link->state;
    for (unsigned i = 0; i < user->count;) {
        char id[ID];
        write_id(id, link, waiting_at(user, i)->number);
        if (user->kept && memmem(user->kept, user->kept_length, id, ID)) {
            answer(link, i);
        } else {
            i++;
        }
    }
    forget(user);
}

void user_received(struct link *link, char *bytes, size_t count, int64_t now) {
    struct user *user = link->state;
    struct part part;
    (void)now;
    while (link_cut(link, &bytes, &count, &part)) {
        keep(user, part.bytes, part.length);
        if (!part.ends) {
            continue;
        }
        link->received++;
        if (id_count > 0) {
            answer_by_ids(link);
        } else if (user->count > 0) {
            answer(link, 0);
        }
    }
}
