/* calls.c: how many calls a message holds. It only tells elements apart: that the array
 * is well formed is for its reader to find. */
#include "conn/calls.h"

#include <stdbool.h>

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

size_t calls_count(const char *bytes, size_t length) {
    size_t at = 0;
    while (at < length && is_space(bytes[at])) {
        at++;
    }
    if (at == length || bytes[at] != '[') {
        return 1;
    }
    size_t count = 1;
    size_t depth = 0;
    bool quoted = false;
    for (; at < length; at++) {
        char c = bytes[at];
        if (quoted) {
            at += c == '\\'; /* whatever follows is no end */
            quoted = c != '"';
        } else {
            quoted = c == '"';
            depth += c == '[' || c == '{';
            depth -= c == ']' || c == '}';
            count += c == ',' && depth == 1;
        }
    }
    return count;
}
