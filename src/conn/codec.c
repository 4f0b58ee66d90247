/* codec.c: the framings of a byte stream.
 *
 * raw: chunks as they come. null: ends in NUL (Flash XMLSocket). line: ends in LF, one
 * CR before it is taken off. length16, length32: a big-endian length before each.
 * length24le: a little-endian one of three bytes.
 */
#include "conn/codec.h"

#include <string.h>

static ssize_t raw_cut(const char *bytes, size_t length, size_t *scanned,
                       size_t max_message, struct slice *message) {
    (void)scanned;
    if (length == 0) {
        return CODEC_PARTIAL;
    }
    if (max_message == 0) {
        return CODEC_TOO_LONG;
    }
    message->bytes = bytes;
    message->length = length < max_message ? length : max_message;
    return (ssize_t)message->length;
}

static void raw_frame(size_t length, struct frame *frame) {
    (void)length;
    frame->head_length = 0;
    frame->tail_length = 0;
}

/* Finds `end`, looking only at bytes that weren't looked at before. */
static const char *find_end(const char *bytes, size_t length, size_t *scanned, char end) {
    const char *found =
        length > *scanned ? memchr(bytes + *scanned, end, length - *scanned) : NULL;
    *scanned = found ? 0 : length;
    return found;
}

static ssize_t null_cut(const char *bytes, size_t length, size_t *scanned,
                        size_t max_message, struct slice *message) {
    const char *end = find_end(bytes, length, scanned, '\0');
    size_t body = end ? (size_t)(end - bytes) : length;
    if (body > max_message) {
        return CODEC_TOO_LONG;
    }
    if (!end) {
        return CODEC_PARTIAL;
    }
    message->bytes = bytes;
    message->length = body;
    return (ssize_t)body + 1;
}

static void null_frame(size_t length, struct frame *frame) {
    (void)length;
    frame->head_length = 0;
    frame->tail[0] = '\0';
    frame->tail_length = 1;
}

static ssize_t line_cut(const char *bytes, size_t length, size_t *scanned,
                        size_t max_message, struct slice *message) {
    const char *end = find_end(bytes, length, scanned, '\n');
    size_t body = end ? (size_t)(end - bytes) : length;
    size_t text = body > 0 && bytes[body - 1] == '\r' ? body - 1 : body;
    if (text > max_message) {
        return CODEC_TOO_LONG;
    }
    if (!end) {
        return CODEC_PARTIAL;
    }
    message->bytes = bytes;
    message->length = text;
    return (ssize_t)body + 1;
}

static void line_frame(size_t length, struct frame *frame) {
    (void)length;
    frame->head_length = 0;
    frame->tail[0] = '\n';
    frame->tail_length = 1;
}

/* Cuts off a message of `body` bytes that is behind a prefix. */
static ssize_t body_cut(const char *bytes, size_t length, size_t prefix, size_t body,
                        size_t max_message, struct slice *message) {
    if (body > max_message) {
        return CODEC_TOO_LONG;
    }
    if (length - prefix < body) {
        return CODEC_PARTIAL;
    }
    message->bytes = bytes + prefix;
    message->length = body;
    return (ssize_t)(prefix + body);
}

static ssize_t length_cut(const char *bytes, size_t length, size_t prefix,
                          size_t max_message, struct slice *message) {
    if (length < prefix) {
        return CODEC_PARTIAL;
    }
    size_t body = 0;
    for (size_t i = 0; i < prefix; i++) {
        body = body << 8 | (unsigned char)bytes[i];
    }
    return body_cut(bytes, length, prefix, body, max_message, message);
}

static void length_frame(size_t length, uint8_t prefix, struct frame *frame) {
    for (int i = prefix - 1; i >= 0; i--, length >>= 8) {
        frame->head[i] = (char)(length & 0xff);
    }
    frame->head_length = prefix;
    frame->tail_length = 0;
}

static ssize_t length16_cut(const char *bytes, size_t length, size_t *scanned,
                            size_t max_message, struct slice *message) {
    (void)scanned;
    return length_cut(bytes, length, 2, max_message, message);
}

static void length16_frame(size_t length, struct frame *frame) {
    length_frame(length, 2, frame);
}

static ssize_t length32_cut(const char *bytes, size_t length, size_t *scanned,
                            size_t max_message, struct slice *message) {
    (void)scanned;
    return length_cut(bytes, length, 4, max_message, message);
}

static void length32_frame(size_t length, struct frame *frame) {
    length_frame(length, 4, frame);
}

static ssize_t length24le_cut(const char *bytes, size_t length, size_t *scanned,
                              size_t max_message, struct slice *message) {
    (void)scanned;
    if (length < 3) {
        return CODEC_PARTIAL;
    }
    const unsigned char *head = (const unsigned char *)bytes;
    size_t body = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16;
    return body_cut(bytes, length, 3, body, max_message, message);
}

static void length24le_frame(size_t length, struct frame *frame) {
    for (int i = 0; i < 3; i++, length >>= 8) {
        frame->head[i] = (char)(length & 0xff);
    }
    frame->head_length = 3;
    frame->tail_length = 0;
}

const struct codec codecs[CODEC_COUNT] = {
    {"raw", UINT32_MAX, raw_cut, raw_frame},
    {"null", UINT32_MAX, null_cut, null_frame},
    {"line", UINT32_MAX, line_cut, line_frame},
    {"length16", UINT16_MAX, length16_cut, length16_frame},
    {"length32", UINT32_MAX, length32_cut, length32_frame},
    {"length24le", 0xffffff, length24le_cut, length24le_frame},
};
