/* wire.c: messages as they go over the wire. Each says whose and which it is in twelve
 * hexadecimal digits, as far as they fit, and is filled with a letter that follows from
 * that, so that a byte that is wrong, missing or out of order shows. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

enum { LETTERS = 26 };

const char *const wire_framings[] = {"raw", "null", "line", "length16", "length32", NULL};
enum { RAW, NUL, LINE, LENGTH16, LENGTH32 };

static char *patterns[LETTERS];
static size_t head, body, total;

void wire_init(int size, int framing) {
    body = (size_t)size;
    head = framing == LENGTH16 ? 2 : framing == LENGTH32 ? 4 : 0;
    total = head + body + (framing == NUL || framing == LINE);
    for (int i = 0; i < LETTERS; i++) {
        char *pattern = malloc(total + WIRE_HEADER);
        if (!pattern) {
            fail("not enough memory");
        }
        uint32_t length = htonl((uint32_t)body);
        memcpy(pattern, (char *)&length + (sizeof(length) - head), head);
        memset(pattern + head, 'a' + i, body);
        if (total > head + body) {
            pattern[total - 1] = framing == NUL ? '\0' : '\n';
        }
        patterns[i] = pattern;
    }
}

size_t wire_length(void) {
    return total;
}

static void put_hex(char *to, unsigned value, size_t digits) {
    for (size_t i = digits; i-- > 0; value >>= 4) {
        to[i] = "0123456789abcdef"[value & 15];
    }
}

const char *wire_expected(unsigned sender, unsigned number) {
    char *pattern = patterns[(number + sender) % LETTERS];
    if (body >= WIRE_HEADER) {
        put_hex(pattern + head, sender, 4);
        put_hex(pattern + head + 4, number, 8);
    }
    return pattern;
}

void wire_write(char *to, unsigned sender, unsigned number) {
    memcpy(to, wire_expected(sender, number), total);
}
