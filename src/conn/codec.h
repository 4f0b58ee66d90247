/* codec.h: cutting a byte stream into messages and framing messages into bytes.
 *
 * Pure: knows no connection, no socket and no allocation. Slices point into the input.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { CODEC_PARTIAL = -2, CODEC_TOO_LONG = -1 };

struct slice {
    const char *bytes;
    size_t length;
};

/* The bytes that go before and after a message. */
struct frame {
    char head[14]; /* a WebSocket header and a length */
    char tail[1];
    uint8_t head_length;
    uint8_t tail_length;
};

struct codec {
    const char *name;
    size_t longest; /* longest message the framing can express */

    /* Cuts the first message off `bytes`. Returns the bytes it took, framing included,
     * with *message set; or CODEC_PARTIAL when more must come; or CODEC_TOO_LONG when
     * the message is longer than max_message. *scanned is the cutter's own: how far it
     * has looked. It starts as 0 and is passed back with the same, longer input. */
    ssize_t (*cut)(const char *bytes, size_t length, size_t *scanned, size_t max_message,
                   struct slice *message);

    /* Sets the frame of a message of this length (at most `longest`). */
    void (*frame)(size_t length, struct frame *frame);
};

/* One codec for each enum sync_framing, in its order. */
enum { CODEC_COUNT = 6 };
extern const struct codec codecs[CODEC_COUNT];
