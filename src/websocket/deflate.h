/* deflate.h: the payloads of permessage-deflate, RFC 7692 sections 7.2.1 and 7.2.2.
 *
 * A deflater makes a message into a payload, an inflater makes payloads into messages.
 * Either may keep its context, the last bytes of the messages before, so that the next
 * message refers to them. Pure: knows no frame, no connection and no socket.
 *
 * What they cost, with zlib 1.2.13 on a machine of 64 bits: a deflater 150 KiB at 15
 * window bits, 54 KiB at 13, 8 KiB at 9; an inflater 7 KiB, and with the first byte it
 * inflates its window, 32 KiB at 15 window bits. Neither grows with what passes it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct deflater;
struct inflater;

/* A window of 8 bits can be negotiated, but zlib can't deflate with it. */
enum { DEFLATE_LEAST_BITS = 9, DEFLATE_MOST_BITS = 15 };

/* Returns NULL when memory ran out, the window isn't one of 9 to 15 bits or the level
 * isn't one of 0 (stored) to 9 (smallest). The caller frees it. */
struct deflater *deflater_new(int window_bits, int level);

/* NULL is fine. */
void deflater_free(struct deflater *deflater);

/* Returns the bytes that a message of this length takes at most, with some to spare. */
size_t deflater_bound(const struct deflater *deflater, size_t length);

/* Writes the payload of one whole message to `out` and returns its length, which is
 * at least 1. With keep_context the next message may refer to this one, else it refers
 * to nothing before. Returns -1 when the capacity is too small, which one of
 * deflater_bound() never is, or the message is longer than an unsigned int can say; the
 * deflater has then forgotten all that came before. */
ssize_t deflater_message(struct deflater *deflater, bool keep_context, const char *bytes,
                         size_t length, char *out, size_t capacity);

/* The next message refers to nothing before: for when the other side didn't get the
 * last one, or got it from another deflater. */
void deflater_reset(struct deflater *deflater);

enum inflated {
    INFLATE_DONE,     /* the input is used up and all that it says was given out */
    INFLATE_MORE,     /* `out` is full; there may be more, or nothing */
    INFLATE_CORRUPT,  /* not deflated, cut off, or refers to what isn't there */
    INFLATE_NO_MEMORY /* for the window */
};

/* Returns NULL when memory ran out or the window isn't one of 9 to 15 bits. The caller
 * frees it. A payload that refers further back than a window below 15 bits is corrupt,
 * but it's found only where what is referred to wasn't inflated in the same call. */
struct inflater *inflater_new(int window_bits);

/* NULL is fine. */
void inflater_free(struct inflater *inflater);

/* Inflates the next part of a message's payload, of any length. Moves *bytes and *length
 * past what was used; *out_length is the room at `out`, at least 1, and becomes what was
 * written. The caller goes on until INFLATE_DONE, or stops where it has had enough, and
 * then frees the inflater, as it does after INFLATE_CORRUPT and INFLATE_NO_MEMORY: there
 * is no way back into the stream. */
enum inflated inflater_run(struct inflater *inflater, const char **bytes, size_t *length,
                           char *out, size_t *out_length);

/* Ends a message whose payload inflater_run() has used up. Gives out what was held back
 * for want of room; after INFLATE_MORE it is called again. Once it is DONE, the next
 * message may begin, which with keep_context may refer to this one.
 *
 * Blocks that are marked as the last of a stream are taken like others (section 7.2.3.4).
 * So is a payload without bytes, and one whose last block was sent to its very end
 * instead of without the four bytes 00 00 ff ff: those who send them mean nothing else. A
 * payload that ends within a block is corrupt. */
enum inflated inflater_finish(struct inflater *inflater, bool keep_context, char *out,
                              size_t *out_length);

/* The next process goes on where an inflater stands. zlib can't say that within a block:
 * so of a message that is begun the payload's bytes are kept, back to where a block has
 * last ended with a byte. inflater_keep is told, when the message is left unfinished,
 * what inflater_run has used since it was told last, and how many bytes came out of that;
 * inflater_forget, that the message has ended. */
void inflater_keep(struct inflater *inflater, const char *bytes, size_t length,
                   size_t produced);
void inflater_forget(struct inflater *inflater);

/* What inflater_resume makes an inflater of: what was kept, how much that became, and the
 * window, into memory of at least 1 << DEFLATE_MOST_BITS bytes. Returns false when that
 * can't be said: too much was to be kept, or there was no memory for it. */
struct inflater_state {
    const char *kept;
    size_t length;
    size_t produced;
    const char *window;
    size_t window_length;
};
bool inflater_state(struct inflater *inflater, char *window,
                    struct inflater_state *state);

/* Returns NULL when memory ran out, or what was said is impossible. */
struct inflater *inflater_resume(int window_bits, const struct inflater_state *state);
