/* answer.c: reads answers of JSON-RPC. A reader of all of JSON would be most of the
 * load's time. */
#include <string.h>

#include "answer.h"

static const char *skip_blanks(const char *at, const char *end_of_text) {
    while (at < end_of_text && (*at == ' ' || *at == '\t' || *at == '\r')) {
        at++;
    }
    return at;
}

static bool take(const char **at, const char *end_of_text, char wanted) {
    *at = skip_blanks(*at, end_of_text);
    if (*at == end_of_text || **at != wanted) {
        return false;
    }
    ++*at;
    return true;
}

/* A string without escapes: an answer of add needs none. */
static bool take_string(const char **at, const char *end_of_text, const char **text,
                        size_t *length) {
    if (!take(at, end_of_text, '"')) {
        return false;
    }
    const char *quote = memchr(*at, '"', (size_t)(end_of_text - *at));
    if (!quote) {
        return false;
    }
    *text = *at;
    *length = (size_t)(quote - *at);
    *at = quote + 1;
    return true;
}

static bool take_number(const char **at, const char *end_of_text, int64_t *number) {
    *at = skip_blanks(*at, end_of_text);
    const char *text = *at;
    bool negative = text < end_of_text && *text == '-';
    const char *digits = text += negative;
    *number = 0;
    while (text < end_of_text && *text >= '0' && *text <= '9' && text - digits < 18) {
        *number = *number * 10 + (*text++ - '0');
    }
    *number = negative ? -*number : *number;
    *at = text;
    return text > digits;
}

static bool is(const char *text, size_t length, const char *word) {
    return length == strlen(word) && memcmp(text, word, length) == 0;
}

bool answer_read(const char *text, size_t length, int64_t *id, int64_t *result) {
    const char *end_of_text = text + length, *name, *version;
    size_t name_length, version_length;
    unsigned seen = 0;
    if (!take(&text, end_of_text, '{')) {
        return false;
    }
    do {
        unsigned member = 0;
        if (!take_string(&text, end_of_text, &name, &name_length) ||
            !take(&text, end_of_text, ':')) {
            return false;
        }
        if (is(name, name_length, "jsonrpc")) {
            member = take_string(&text, end_of_text, &version, &version_length) &&
                             is(version, version_length, "2.0")
                         ? 1
                         : 0;
        } else if (is(name, name_length, "id")) {
            member = take_number(&text, end_of_text, id) ? 2 : 0;
        } else if (is(name, name_length, "result")) {
            member = take_number(&text, end_of_text, result) ? 4 : 0;
        }
        if (member == 0 || seen & member) {
            return false;
        }
        seen |= member;
    } while (take(&text, end_of_text, ','));
    return take(&text, end_of_text, '}') &&
           skip_blanks(text, end_of_text) == end_of_text && seen == 7;
}
