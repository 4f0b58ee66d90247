/* inflate.c: messages that were compressed, each by itself (RFC 7692). What many clients
 * are sent is the same, and was compressed once: it's inflated once, and then compared,
 * so that the load isn't the limit. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "load.h"

enum { MESSAGE_MOST = (1 << 24) + 64 };

static struct packed last; /* compressed */
static char *message;      /* and inflated */
static size_t message_length;

static void append(struct packed *to, const char *bytes, size_t length) {
    if (to->length + length > to->capacity) {
        to->capacity = 2 * (to->length + length);
        to->bytes = need(realloc(to->bytes, to->capacity));
    }
    memcpy(to->bytes + to->length, bytes, length);
    to->length += length;
}

static bool inflate_last(void) {
    static z_stream stream;
    if (!message) {
        message = need(malloc(MESSAGE_MOST));
        if (inflateInit2(&stream, -15) != Z_OK) {
            fail("zlib has no memory");
        }
    }
    inflateReset(&stream);
    stream.next_in = (unsigned char *)last.bytes;
    stream.avail_in = (unsigned)last.length;
    stream.next_out = (unsigned char *)message;
    stream.avail_out = MESSAGE_MOST;
    int done = inflate(&stream, Z_SYNC_FLUSH);
    message_length = MESSAGE_MOST - stream.avail_out;
    return (done == Z_OK || done == Z_STREAM_END) && stream.avail_in == 0;
}

ssize_t inflate_part(struct packed *gathered, const char *bytes, size_t length, bool ends,
                     char **whole) {
    append(gathered, bytes, length);
    if (!ends) {
        return -1;
    }
    append(gathered, "\0\0\xff\xff", 4); /* which the sender has left out */
    bool same = last.length == gathered->length &&
                memcmp(last.bytes, gathered->bytes, last.length) == 0;
    if (!same) {
        struct packed before = last;
        last = *gathered;
        *gathered = before;
        if (!inflate_last()) {
            last.length = 0;
            return -2;
        }
    }
    gathered->length = 0;
    *whole = message;
    return (ssize_t)message_length;
}
