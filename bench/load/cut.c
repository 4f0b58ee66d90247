/* cut.c: messages of any length, cut off a byte stream by their framing. */
#include <stdlib.h>
#include <string.h>

#include "load.h"

static void cut_at(char end, char **bytes, size_t *count, struct part *part) {
    char *found = memchr(*bytes, end, *count);
    size_t length = found ? (size_t)(found - *bytes) : *count;
    *part = (struct part){*bytes, length, found != NULL, 0};
    *bytes += length + part->ends;
    *count -= length + part->ends;
}

/* False while the length isn't all there. */
static bool take_prefix(struct link *link, char **bytes, size_t *count) {
    while (link->prefix_length < wire_framings[plan.framing].prefix) {
        if (*count == 0) {
            return false;
        }
        link->left = link->prefix_length == 0 ? 0 : link->left;
        unsigned shift = wire_shift(plan.framing, link->prefix_length++);
        link->left |= (size_t)(uint8_t)(*bytes)[0] << shift;
        ++*bytes;
        --*count;
    }
    return true;
}

static bool cut_prefixed(struct link *link, char **bytes, size_t *count,
                         struct part *part) {
    if (!take_prefix(link, bytes, count)) {
        return false;
    }
    size_t length = link->left < *count ? link->left : *count;
    link->left -= length;
    *part = (struct part){*bytes, length, link->left == 0, 0};
    *bytes += length;
    *count -= length;
    link->prefix_length = part->ends ? 0 : link->prefix_length;
    return length > 0 || part->ends;
}

bool link_cut(struct link *link, char **bytes, size_t *count, struct part *part) {
    if (*count == 0) {
        return false;
    }
    if (wire_framings[plan.framing].prefix > 0) {
        return cut_prefixed(link, bytes, count, part);
    }
    switch (plan.framing) {
    case FRAMING_RAW:
        *part = (struct part){*bytes, *count, true, 0};
        *count = 0;
        return true;
    case FRAMING_NULL: cut_at('\0', bytes, count, part); return true;
    case FRAMING_LINE: cut_at('\n', bytes, count, part); return true;
    default: return session_part(link, bytes, count, part);
    }
}

bool link_gather(struct link *link, struct part *part, size_t most) {
    if (link->partial == 0 && part->ends) {
        return true;
    }
    if (part->length > most - link->partial) {
        link_broke(link, "a message is longer than %zu bytes", most);
        return false;
    }
    if (!link->message) {
        link->message = need(malloc(most));
    }
    memcpy(link->message + link->partial, part->bytes, part->length);
    link->partial += part->length;
    if (!part->ends) {
        return false;
    }
    part->bytes = link->message;
    part->length = link->partial;
    link->partial = 0;
    return true;
}
