/* utf8.c: checks UTF-8 as its bytes arrive. */
#include "websocket/utf8.h"

#include <string.h>

/* Sixteen bytes that the machine takes at once. */
typedef uint64_t wide __attribute__((vector_size(16)));

static wide load(const unsigned char *bytes) {
    wide word;
    memcpy(&word, bytes, sizeof(word));
    return word;
}

/* How many bytes from the start are ASCII: most texts are all of it. Long ones are looked
 * at 64 bytes at a time. */
static size_t ascii_prefix(const unsigned char *bytes, size_t length) {
    const uint64_t high_bits = 0x8080808080808080U;
    size_t i = 0;
    while (length - i >= 64) {
        const unsigned char *at = bytes + i;
        wide all = (load(at) | load(at + 16)) | (load(at + 32) | load(at + 48));
        if ((all[0] | all[1]) & high_bits) {
            break;
        }
        i += 64;
    }
    while (length - i >= 16) {
        uint64_t first;
        uint64_t second;
        memcpy(&first, bytes + i, 8);
        memcpy(&second, bytes + i + 8, 8);
        if ((first | second) & high_bits) {
            break;
        }
        i += 16;
    }
    while (i < length && bytes[i] < 0x80) {
        i++;
    }
    return i;
}

/* Begins a character of several bytes; the table of RFC 3629 section 4. */
static bool begin(struct utf8 *utf8, unsigned char lead) {
    utf8->low = 0x80;
    utf8->high = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf) {
        utf8->missing = 1;
    } else if (lead >= 0xe0 && lead <= 0xef) {
        utf8->missing = 2;
        if (lead == 0xe0) {
            utf8->low = 0xa0; /* less is overlong */
        } else if (lead == 0xed) {
            utf8->high = 0x9f; /* more is a surrogate */
        }
    } else if (lead >= 0xf0 && lead <= 0xf4) {
        utf8->missing = 3;
        if (lead == 0xf0) {
            utf8->low = 0x90;
        } else if (lead == 0xf4) {
            utf8->high = 0x8f; /* more is above U+10FFFF */
        }
    } else {
        return false;
    }
    return true;
}

bool utf8_check(struct utf8 *utf8, const char *text, size_t length) {
    const unsigned char *bytes = (const unsigned char *)text;
    size_t i = 0;
    while (i < length) {
        if (utf8->missing > 0) {
            if (bytes[i] < utf8->low || bytes[i] > utf8->high) {
                return false;
            }
            utf8->missing--;
            utf8->low = 0x80;
            utf8->high = 0xbf;
            i++;
            continue;
        }
        i += ascii_prefix(bytes + i, length - i);
        if (i < length && !begin(utf8, bytes[i++])) {
            return false;
        }
    }
    return true;
}

bool utf8_valid(const char *bytes, size_t length) {
    struct utf8 utf8 = {0};
    return utf8_check(&utf8, bytes, length) && utf8_complete(&utf8);
}
