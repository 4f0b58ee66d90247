/* reader.h: what is left to be read of some bytes. What ends too early, or is no such
 * thing, is false; nothing behind the end is read. */
#pragma once

#include "state/bytes.h"

struct reader {
    const char *at;
    const char *end;
};

static inline bool reader_varint(struct reader *from, uint64_t *value) {
    *value = 0;
    for (unsigned shift = 0; shift < 7 * VARINT_MOST && from->at < from->end;
         shift += 7) {
        unsigned char byte = (unsigned char)*from->at++;
        *value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) {
            return *value < 1ULL << 53;
        }
    }
    return false;
}

static inline bool reader_little(struct reader *from, unsigned count, uint64_t *value) {
    *value = 0;
    if (from->end - from->at < (ptrdiff_t)count) {
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        *value |= (uint64_t)(unsigned char)*from->at++ << (8 * i);
    }
    return true;
}

static inline bool reader_text(struct reader *from, const char **text, size_t *length) {
    uint64_t count;
    if (!reader_varint(from, &count) || count > (uint64_t)(from->end - from->at)) {
        return false;
    }
    *text = from->at;
    *length = (size_t)count;
    from->at += count;
    return true;
}
