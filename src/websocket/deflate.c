/* deflate.c: permessage-deflate's payloads, by zlib. */
#include "websocket/deflate.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define ZLIB_CONST
#include <zlib.h>

enum {
    /* zlib's own default, 8, takes 112 KiB more for each deflater and 56 KiB to be
     * cleared with each reset. JSON messages come out 0.5% longer, a large text takes a
     * quarter more time. */
    MOST_MEM_LEVEL = 5,
    /* What deflateBound() leaves out: the header of the flush's empty block, the tail and
     * a byte that stays free where all was written. Nine more, for it's one too few for
     * stored messages below 8 bytes. */
    FLUSH_BOUND = 15,
    /* What zlib says in data_type: no bits left over, and a block has ended that isn't
     * the last. */
    AFTER_BLOCK = 128,
    MOST_KEPT = 16 * 1024 * 1024, /* compressed bytes of an unfinished message */
    SCRATCH = 16 * 1024
};

/* What ends each message, and isn't sent. */
static const char tail[4] = {'\0', '\0', '\xff', '\xff'};

struct deflater {
    z_stream stream;
};

struct inflater {
    z_stream stream;
    bool after_block; /* what came so far ends where a block and a byte end */
    bool lost;        /* what was to be kept of the message is not */
    char *kept;
    size_t kept_length;
    size_t kept_capacity;
    size_t produced; /* by what is kept */
};

static bool is_window(int bits) {
    return bits >= DEFLATE_LEAST_BITS && bits <= DEFLATE_MOST_BITS;
}

/* The part of a length that zlib can count. */
static uInt countable(size_t length) {
    return length < UINT_MAX ? (uInt)length : UINT_MAX;
}

/* Deflating */

struct deflater *deflater_new(int window_bits, int level) {
    if (!is_window(window_bits) || level < Z_NO_COMPRESSION ||
        level > Z_BEST_COMPRESSION) {
        return NULL;
    }
    struct deflater *deflater = calloc(1, sizeof(*deflater));
    if (!deflater) {
        return NULL;
    }
    /* A small window needs no more hashes than it has bytes. */
    int fitting = window_bits - 7;
    int mem_level = fitting < MOST_MEM_LEVEL ? fitting : MOST_MEM_LEVEL;
    if (deflateInit2(&deflater->stream, level, Z_DEFLATED, -window_bits, mem_level,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        free(deflater);
        return NULL;
    }
    return deflater;
}

void deflater_free(struct deflater *deflater) {
    if (deflater) {
        deflateEnd(&deflater->stream);
        free(deflater);
    }
}

size_t deflater_bound(const struct deflater *deflater, size_t length) {
    /* It only reads, but zlib doesn't say so. */
    z_stream *stream = (z_stream *)&deflater->stream;
    return deflateBound(stream, length) + FLUSH_BOUND;
}

/* Section 7.2.3.6: a flush of nothing writes nothing, so the header is put by hand. */
static ssize_t put_empty(char *out, size_t capacity) {
    if (capacity == 0) {
        return -1;
    }
    out[0] = '\0';
    return 1;
}

static ssize_t put_blocks(z_stream *stream, const char *bytes, size_t length, char *out,
                          size_t capacity) {
    if (length > UINT_MAX) {
        return -1;
    }
    uInt room = countable(capacity);
    stream->next_in = (const Bytef *)bytes;
    stream->avail_in = (uInt)length;
    stream->next_out = (Bytef *)out;
    stream->avail_out = room;
    if (deflate(stream, Z_SYNC_FLUSH) != Z_OK || stream->avail_out == 0) {
        return -1;
    }
    return (ssize_t)(room - stream->avail_out - sizeof(tail));
}

ssize_t deflater_message(struct deflater *deflater, bool keep_context, const char *bytes,
                         size_t length, char *out, size_t capacity) {
    ssize_t size = length == 0
                       ? put_empty(out, capacity)
                       : put_blocks(&deflater->stream, bytes, length, out, capacity);
    if (size < 0 || !keep_context) {
        deflateReset(&deflater->stream);
    }
    return size;
}

void deflater_reset(struct deflater *deflater) {
    deflateReset(&deflater->stream);
}

/* Inflating */

struct inflater *inflater_new(int window_bits) {
    struct inflater *inflater =
        is_window(window_bits) ? calloc(1, sizeof(*inflater)) : NULL;
    if (!inflater) {
        return NULL;
    }
    if (inflateInit2(&inflater->stream, -window_bits) != Z_OK) {
        free(inflater);
        return NULL;
    }
    inflater->after_block = true;
    return inflater;
}

void inflater_free(struct inflater *inflater) {
    if (inflater) {
        inflateEnd(&inflater->stream);
        free(inflater->kept);
        free(inflater);
    }
}

/* Inflates until the input is used up, the output is full or a last block ends. Returns
 * what zlib says. */
static int inflate_some(struct inflater *inflater, const char **bytes, size_t *length) {
    z_stream *stream = &inflater->stream;
    uInt given = countable(*length);
    stream->next_in = (const Bytef *)*bytes;
    stream->avail_in = given;
    int result = inflate(stream, Z_SYNC_FLUSH);
    *bytes += given - stream->avail_in;
    *length -= given - stream->avail_in;
    if (result == Z_STREAM_END) {
        /* More blocks may follow, at the next byte. inflateReset() would forget the
         * window, and to put it back would cost 64 KiB of copying for two bytes. */
        result = inflateResetKeep(stream);
        inflater->after_block = true;
    } else if (result == Z_OK) { /* which isn't said where nothing could be done */
        inflater->after_block = stream->data_type == AFTER_BLOCK;
    }
    return result;
}

enum inflated inflater_run(struct inflater *inflater, const char **bytes, size_t *length,
                           char *out, size_t *out_length) {
    z_stream *stream = &inflater->stream;
    uInt room = countable(*out_length);
    stream->next_out = (Bytef *)out;
    stream->avail_out = room;
    int result;
    do {
        result = inflate_some(inflater, bytes, length);
    } while (result == Z_OK && *length > 0 && stream->avail_out > 0);
    *out_length = room - stream->avail_out;
    switch (result) {
    case Z_OK:
    case Z_BUF_ERROR: return stream->avail_out == 0 ? INFLATE_MORE : INFLATE_DONE;
    case Z_MEM_ERROR: return INFLATE_NO_MEMORY;
    default: return INFLATE_CORRUPT;
    }
}

/* Takes the tail. It says nothing that is given out, except where the message was cut off
 * and the tail is read as what is missing. */
static enum inflated take_tail(struct inflater *inflater) {
    const char *bytes = tail;
    size_t length = sizeof(tail);
    char byte;
    size_t room = sizeof(byte);
    enum inflated state = inflater_run(inflater, &bytes, &length, &byte, &room);
    bool ended = state == INFLATE_DONE && inflater->after_block;
    return ended || state == INFLATE_NO_MEMORY ? state : INFLATE_CORRUPT;
}

enum inflated inflater_finish(struct inflater *inflater, bool keep_context, char *out,
                              size_t *out_length) {
    const char *bytes = tail;
    size_t length = 0;
    enum inflated state = inflater_run(inflater, &bytes, &length, out, out_length);
    if (state == INFLATE_DONE && !inflater->after_block) {
        state = take_tail(inflater);
    }
    if (state == INFLATE_DONE && !keep_context) {
        inflateReset(&inflater->stream);
    }
    return state;
}

/* Going on elsewhere */

void inflater_forget(struct inflater *inflater) {
    if (inflater->kept_capacity > 0 || inflater->lost) {
        free(inflater->kept);
        inflater->kept = NULL;
        inflater->kept_length = inflater->kept_capacity = inflater->produced = 0;
        inflater->lost = false;
    }
}

static bool has_room(struct inflater *inflater, size_t length) {
    size_t needed = inflater->kept_length + length;
    if (needed <= inflater->kept_capacity) {
        return true;
    }
    size_t capacity = needed > MOST_KEPT / 2 ? (size_t)MOST_KEPT : 2 * needed;
    char *grown = needed > MOST_KEPT ? NULL : realloc(inflater->kept, capacity);
    if (grown) {
        inflater->kept = grown;
        inflater->kept_capacity = capacity;
    }
    return grown != NULL;
}

void inflater_keep(struct inflater *inflater, const char *bytes, size_t length,
                   size_t produced) {
    if (inflater->after_block) {
        inflater_forget(inflater);
    } else if (inflater->lost || !has_room(inflater, length)) {
        inflater_forget(inflater);
        inflater->lost = true;
    } else if (length > 0 || produced > 0) {
        memcpy(inflater->kept + inflater->kept_length, bytes, length);
        inflater->kept_length += length;
        inflater->produced += produced;
    }
}

bool inflater_state(struct inflater *inflater, char *window,
                    struct inflater_state *state) {
    uInt length = 0;
    inflateGetDictionary(&inflater->stream, (Bytef *)window, &length);
    *state = (struct inflater_state){inflater->kept, inflater->kept_length,
                                     inflater->produced, window, length};
    return !inflater->lost;
}

/* The next symbol's bits may be taken where there is no room for what it says. */
static enum inflated run_without_room(struct inflater *inflater, const char **bytes,
                                      size_t *length, char *out) {
    inflater->stream.next_out = (Bytef *)out;
    inflater->stream.avail_out = 0;
    size_t before = *length;
    inflate_some(inflater, bytes, length);
    return *length < before ? INFLATE_DONE : INFLATE_CORRUPT;
}

/* Has the inflater read what was kept, and give out as much as it did. */
static bool read_again(struct inflater *inflater, const struct inflater_state *state) {
    char out[SCRATCH];
    const char *bytes = state->kept;
    size_t length = state->length;
    size_t due = state->produced;
    while (length > 0 || due > 0) {
        size_t before = length;
        size_t size = due < sizeof(out) ? due : sizeof(out);
        enum inflated said = size > 0
                                 ? inflater_run(inflater, &bytes, &length, out, &size)
                                 : run_without_room(inflater, &bytes, &length, out);
        bool stands = size == 0 && length == before;
        if (said == INFLATE_CORRUPT || said == INFLATE_NO_MEMORY || stands) {
            return false;
        }
        due -= size;
    }
    return true;
}

/* A window that is full doesn't hold any more what was before the message. What is
 * inflated again comes out wrong then, but what matters of it are the lengths and the
 * codes: the window is put right behind that. */
struct inflater *inflater_resume(int window_bits, const struct inflater_state *state) {
    static const char blank[1 << DEFLATE_MOST_BITS];
    struct inflater *inflater = inflater_new(window_bits);
    size_t most = (size_t)1 << window_bits;
    bool full = state->window_length == most;
    bool fine = inflater && state->window_length <= most && state->length <= MOST_KEPT &&
                (full || state->produced <= state->window_length);
    if (fine && state->length > 0) {
        const char *before = full ? blank : state->window;
        size_t length = full ? most : state->window_length - state->produced;
        fine = inflateSetDictionary(&inflater->stream, (const Bytef *)before,
                                    (uInt)length) == Z_OK &&
               read_again(inflater, state);
        bool ended = inflater->after_block;
        inflater->after_block = false; /* else nothing would be kept */
        inflater_keep(inflater, state->kept, state->length, state->produced);
        inflater->after_block = ended;
    }
    fine = fine && (!(full || state->length == 0) ||
                    inflateSetDictionary(&inflater->stream, (const Bytef *)state->window,
                                         (uInt)state->window_length) == Z_OK);
    if (!fine) {
        inflater_free(inflater);
        return NULL;
    }
    return inflater;
}
