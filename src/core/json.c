/* json.c: numbers in a text of JSON that are too large for a double. */
#include "core/json.h"

#include <stdint.h>
#include <string.h>

/* What is read as infinity begins at 0.179769313486231580793... x 10^309: its digits, and
 * its power of ten. */
static const char least_digits[] = "17976931348623158079";

enum { LEAST_POWER = 309, DIGITS = sizeof(least_digits) - 1, MOST_EXPONENT = 1 << 30 };

/* A number's first digits behind its leading zeros, and where its point stands: it is
 * 0.DIGITS x 10^power. */
struct number {
    char digits[DIGITS + 1];
    int count;
    int64_t power;
};

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Returns where the digits end. */
static const char *take_digits(struct number *number, const char *at, const char *end,
                               bool behind_point) {
    for (; at < end && is_digit(*at); at++) {
        bool leading = number->count == 0 && *at == '0';
        if (!leading && number->count < DIGITS) {
            number->digits[number->count++] = *at;
        }
        number->power += behind_point ? -(int64_t)leading : !leading;
    }
    return at;
}

static const char *take_exponent(struct number *number, const char *at, const char *end) {
    if (at == end || (*at != 'e' && *at != 'E')) {
        return at;
    }
    at++;
    bool negative = at < end && *at == '-';
    at += at < end && (*at == '-' || *at == '+');
    int64_t exponent = 0;
    for (; at < end && is_digit(*at); at++) {
        exponent = exponent < MOST_EXPONENT ? exponent * 10 + (*at - '0') : exponent;
    }
    number->power += negative ? -exponent : exponent;
    return at;
}

static bool is_infinite(const struct number *number) {
    bool larger = number->power > LEAST_POWER;
    bool close =
        number->power == LEAST_POWER && strcmp(number->digits, least_digits) >= 0;
    return number->count > 0 && (larger || close);
}

static const char *skip_string(const char *at, const char *end) {
    for (; at < end && *at != '"'; at++) {
        at += *at == '\\' && at + 1 < end;
    }
    return at < end ? at + 1 : at;
}

bool json_overflows(const char *text, size_t length) {
    const char *end = text + length;
    for (const char *at = text; at < end;) {
        if (*at == '"') {
            at = skip_string(at + 1, end);
        } else if (is_digit(*at)) {
            struct number number = {0};
            at = take_digits(&number, at, end, false);
            if (at < end && *at == '.') {
                at = take_digits(&number, at + 1, end, true);
            }
            at = take_exponent(&number, at, end);
            if (is_infinite(&number)) {
                return true;
            }
        } else {
            at++;
        }
    }
    return false;
}
