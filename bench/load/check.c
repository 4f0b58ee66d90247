/* check.c: what came beside what had to come. When they differ, the run is over, so there
 * is time to find out what went wrong: the rest of the message is waited for, and looked
 * at for the faults that servers have. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

enum { WAIT_MS = 300, NEAR = 8 /* messages before and after */, TELLING = 4 /* bytes */ };

/* A message that isn't what had to come. */
struct found {
    struct link *link;
    const char *bytes;
    size_t length;
    bool ends;
    const char *wanted; /* what had to come */
    unsigned sender, number;
    size_t wrong; /* first byte that differs */
};

/* Each of these ends the run when it knows what happened. */

static void blame_length(const struct found *f) {
    size_t total = wire_answer_length();
    size_t prefix = wire_prefix_length();
    size_t said = prefix && f->length >= prefix ? wire_prefix(f->bytes) : 0;
    size_t cut = wire_cut(f->bytes, f->length < total ? f->length : total);
    if (prefix && f->length >= prefix && said != total - prefix) {
        fail("connection %d: message %u was %s: its length says %zu bytes, not %zu",
             f->link->index, f->number,
             said < total - prefix ? "cut short" : "made longer", said, total - prefix);
    }
    if (cut > 0 && cut < total) {
        fail("connection %d: message %u was cut short: it ended after %zu of %zu bytes",
             f->link->index, f->number, cut - 1, total - 1);
    }
    if (f->ends && wire_is_websocket() && f->length != total) {
        fail("connection %d: message %u was %s: it came with %zu bytes, not %zu",
             f->link->index, f->number, f->length < total ? "cut short" : "made longer",
             f->length, total);
    }
}

/* Which message it is from the first wrong byte on, if it is one that could have come. */
static bool identify(const struct found *f, unsigned *sender, unsigned *number) {
    size_t total = wire_answer_length();
    size_t end = f->length < total ? f->length : total;
    size_t at = f->wrong;
    if (end == total && wire_id(f->bytes, sender, number) &&
        wire_same(f->bytes, 0, total, *sender, *number)) {
        return true;
    }
    if (end - at < TELLING) {
        return false;
    }
    for (int who = -1; who < plan.connections; who++) {
        *sender = who < 0 ? f->sender : (unsigned)who;
        for (int step = -NEAR; step <= NEAR; step++) {
            *number = f->number + (unsigned)step;
            if ((*sender != f->sender || *number != f->number) &&
                wire_same(f->bytes + at, at, end - at, *sender, *number)) {
                return true;
            }
        }
    }
    return false;
}

static void blame_other(const struct found *f) {
    unsigned sender, number;
    if (!identify(f, &sender, &number)) {
        return;
    }
    if (f->wrong > wire_prefix_length() + WIRE_ID) {
        fail("connection %d: message %u is mixed with another: from byte %zu on it is "
             "message %u of connection %u",
             f->link->index, f->number, f->wrong, number, sender);
    }
    if (sender != f->sender) {
        fail("connection %d: message %u of connection %u came, and message %u of "
             "connection %u was due: clients are mixed up",
             f->link->index, number, sender, f->number, f->sender);
    }
    int later = (int)(number - f->number);
    fail("connection %d: message %u of connection %u came, and message %u was due: %s",
         f->link->index, number, sender, f->number,
         later > 0 ? "one is missing, or late" : "one came twice, or late");
}

/* On a byte stream without framing the next message follows a cut one. */
static void blame_cut(const struct found *f) {
    size_t rest = f->length - f->wrong;
    size_t total = wire_answer_length();
    if (rest >= TELLING && wire_same(f->bytes + f->wrong, 0, rest < total ? rest : total,
                                     f->sender, f->number + 1)) {
        fail("connection %d: message %u was cut short: after %zu of %zu bytes message %u "
             "begins",
             f->link->index, f->number, f->wrong, total, f->number + 1);
    }
}

static _Noreturn void blame_bytes(const struct found *f) {
    size_t total = wire_answer_length();
    size_t end = f->length < total ? f->length : total;
    size_t wrong = 0;
    size_t last = f->wrong;
    for (size_t i = f->wrong; i < end; i++) {
        if (f->bytes[i] != f->wanted[i]) {
            wrong++;
            last = i;
        }
    }
    if (wrong == 2 && f->bytes[f->wrong] == f->wanted[last] &&
        f->bytes[last] == f->wanted[f->wrong]) {
        fail("connection %d: bytes %zu and %zu of message %u are swapped", f->link->index,
             f->wrong, last, f->number);
    }
    if (wrong == 0) {
        fail("connection %d: message %u does not end where it was to", f->link->index,
             f->number);
    }
    fail("connection %d: message %u came wrong: byte %zu is 0x%02x, not 0x%02x; %zu of "
         "%zu "
         "bytes differ",
         f->link->index, f->number, f->wrong, (unsigned char)f->bytes[f->wrong],
         (unsigned char)f->wanted[f->wrong], wrong, total);
}

void check_blame(struct link *link, const char *bytes, size_t length, bool ends,
                 unsigned sender, unsigned number) {
    char *wanted = need(malloc(wire_answer_length()));
    wire_answer(wanted, sender, number);
    struct found found = {link, bytes, length, ends, wanted, sender, number, 0};
    size_t end = length < wire_answer_length() ? length : wire_answer_length();
    while (found.wrong < end && bytes[found.wrong] == wanted[found.wrong]) {
        found.wrong++;
    }
    blame_length(&found);
    blame_other(&found);
    blame_cut(&found);
    blame_bytes(&found);
}

/* Bytes of the message that is wrong, and of what follows it. */
struct gathered {
    char *bytes;
    size_t length, most;
    bool ends;
};

static void gather(struct gathered *all, const char *bytes, size_t length) {
    size_t room = all->most - all->length;
    size_t part = length < room ? length : room;
    memcpy(all->bytes + all->length, bytes, part);
    all->length += part;
}

static void gather_rest(struct gathered *all, struct link *link) {
    struct pollfd wait = {link->fd, POLLIN, 0};
    while (!all->ends && all->length < all->most && poll(&wait, 1, WAIT_MS) > 0) {
        char bytes[4096];
        ssize_t count = link_receive(link, bytes, sizeof(bytes));
        if (count <= 0) {
            return;
        }
        char *from = bytes;
        size_t left = (size_t)count;
        struct part part;
        if (!link->session) {
            gather(all, bytes, left);
        }
        while (link->session && !all->ends && session_part(link, &from, &left, &part)) {
            gather(all, part.bytes, part.length);
            all->ends = part.ends;
        }
    }
}

static _Noreturn void blame_part(struct link *link, const struct part *part,
                                 unsigned sender, unsigned number) {
    size_t total = wire_answer_length();
    struct gathered all = {.most = 2 * total + part->length + part->more};
    all.bytes = need(malloc(all.most));
    wire_answer(all.bytes, sender, number);
    all.length = link->partial < total ? link->partial : total;
    all.ends = link->session && part->ends;
    gather(&all, part->bytes, part->length + part->more);
    gather_rest(&all, link);
    check_blame(link, all.bytes, all.length, all.ends, sender, number);
}

void link_check(struct link *link, const struct part *part, unsigned sender,
                unsigned number) {
    size_t total = wire_answer_length();
    size_t end = link->partial + part->length;
    if (end > total || (part->ends && end != total) ||
        !wire_same(part->bytes, link->partial, part->length, sender, number)) {
        blame_part(link, part, sender, number);
    }
    link->partial = part->ends ? 0 : end;
}
