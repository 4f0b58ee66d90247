/* utf8.h: checks UTF-8 as its bytes arrive (RFC 3629).
 *
 * Pure. Overlong forms, surrogates and what lies above U+10FFFF are refused at the first
 * byte that shows them, so a peer that sends garbage is found out before its message
 * ends.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the next byte must be; all 0 between characters, so also at the beginning. */
struct utf8 {
    uint8_t missing; /* bytes of the character under way */
    uint8_t low;     /* bounds of the next one */
    uint8_t high;
};

/* Checks the next part of a text. Returns false at a byte that can't stand where it
 * stands; the state is then of no use. */
bool utf8_check(struct utf8 *utf8, const char *bytes, size_t length);

/* Whether the text may end here. */
static inline bool utf8_complete(const struct utf8 *utf8) {
    return utf8->missing == 0;
}

/* Whether a whole text is valid. */
bool utf8_valid(const char *bytes, size_t length);
