/* jsonwrite.c: appends JSON to a text, piece by piece. Whether a comma is due is seen by
 * the byte before. It doesn't know what the pieces belong to. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"

enum { FIRST_TEXT = 512, NUMBER_SIZE = 32, MOST_PLACES = 15 };

static const double exact = 9007199254740992.0; /* 2^53: whole numbers up to here are */

/* Makes room for so many bytes more. Returns where they go, or NULL. */
static char *make_room(struct json *pile, size_t length) {
    size_t needed = pile->shown.length + length;
    if (needed > pile->text_room || !pile->text) {
        size_t room = pile->text_room ? pile->text_room : FIRST_TEXT;
        while (room < needed) {
            room *= 2;
        }
        char *text = realloc(pile->text, room);
        if (!text) {
            pile->failed = true;
            return NULL;
        }
        pile->text = text;
        pile->text_room = room;
        pile->shown.written = text;
    }
    return pile->text + pile->shown.length;
}

static void append(struct json *pile, const char *bytes, size_t length) {
    char *to = make_room(pile, length);
    if (to) {
        memcpy(to, bytes, length);
        pile->shown.length += length;
    }
}

/* A value, or a key, begins. */
static void append_comma(struct json *pile) {
    char last = pile->shown.length > 0 ? pile->text[pile->shown.length - 1] : '[';
    if (last != '[' && last != '{' && last != ':') {
        append(pile, ",", 1);
    }
}

void sync_json_begin(struct sync_json *json, const char *bytes, size_t length) {
    struct json *pile = json_of(json);
    if (pile->text_room > JSON_KEPT) {
        free(pile->text);
        pile->text = NULL;
        pile->text_room = 0;
    }
    pile->failed = false;
    json->length = 0;
    append(pile, bytes, length);
}

void sync_json_raw(struct sync_json *json, const char *bytes, size_t length) {
    append(json_of(json), bytes, length);
}

int32_t sync_json_end(struct sync_json *json) {
    return json_of(json)->failed ? -1 : 0;
}

void sync_json_put(struct sync_json *json, int32_t kind) {
    static const char *const words[] = {[SYNC_JSON_NULL] = "null",
                                        [SYNC_JSON_FALSE] = "false",
                                        [SYNC_JSON_TRUE] = "true",
                                        [SYNC_JSON_LIST] = "[",
                                        [SYNC_JSON_OBJECT] = "{"};
    struct json *pile = json_of(json);
    append_comma(pile);
    append(pile, words[kind], strlen(words[kind]));
}

/* Strings. */

static bool needs_escape(char c) {
    return (unsigned char)c < 0x20 || c == '"' || c == '\\' || c == 0x7F;
}

/* Returns how many bytes it took: 6 at most. */
static size_t put_escape(char *to, char c) {
    static const char plain[] = "\"\\\b\f\n\r\t";
    static const char names[] = "\"\\bfnrt";
    const char *found = c ? strchr(plain, c) : NULL;
    to[0] = '\\';
    if (found) {
        to[1] = names[found - plain];
        return 2;
    }
    static const char digits[] = "0123456789abcdef";
    to[1] = 'u';
    to[2] = to[3] = '0';
    to[4] = digits[(unsigned char)c >> 4];
    to[5] = digits[c & 0xF];
    return 6;
}

static void append_string(struct json *pile, const char *bytes, size_t length) {
    append_comma(pile);
    size_t escapes = 0;
    for (size_t i = 0; i < length; i++) {
        escapes += needs_escape(bytes[i]);
    }
    char *to = make_room(pile, length + 5 * escapes + 2);
    if (!to) {
        return;
    }
    char *at = to;
    *at++ = '"';
    if (escapes == 0) {
        memcpy(at, bytes, length);
        at += length;
    }
    for (size_t i = 0; escapes > 0 && i < length; i++) {
        if (needs_escape(bytes[i])) {
            at += put_escape(at, bytes[i]);
        } else {
            *at++ = bytes[i];
        }
    }
    *at++ = '"';
    pile->shown.length += (size_t)(at - to);
}

void sync_json_string(struct sync_json *json, const char *bytes, size_t length) {
    append_string(json_of(json), bytes, length);
}

void sync_json_key(struct sync_json *json, const char *bytes, size_t length) {
    append_string(json_of(json), bytes, length);
    append(json_of(json), ":", 1);
}

/* Numbers. */

/* Writes digits, with a point before the last `places`. Returns how many bytes. */
static size_t put_decimal(char *to, uint64_t digits, int places, bool negative) {
    char reversed[NUMBER_SIZE];
    size_t count = 0;
    for (int i = 0; digits > 0 || i <= places; i++) {
        if (i == places && places > 0) {
            reversed[count++] = '.';
        }
        reversed[count++] = (char)('0' + digits % 10);
        digits /= 10;
    }
    size_t length = 0;
    if (negative) {
        to[length++] = '-';
    }
    while (count > 0) {
        to[length++] = reversed[--count];
    }
    return length;
}

/* Most numbers have few decimal places: those by which a whole number divided by a power
 * of ten is the number itself, and so the nearest to these digits. Returns 0 for others.
 */
static size_t put_short(char *to, double number) {
    double size = fabs(number);
    double power = 1;
    for (int places = 0; places <= MOST_PLACES; places++, power *= 10) {
        double digits = nearbyint(size * power);
        if (digits > exact) {
            return 0;
        }
        if (digits / power == size && (digits >= 1 || size == 0)) {
            return put_decimal(to, (uint64_t)digits, places, signbit(number));
        }
    }
    return 0;
}

/* The fewest of 15 to 17 digits that read back the same; 17 always do. Where put_short
 * has tried them, 15 don't. */
static size_t put_long(const struct json *pile, char *to, double number) {
    locale_t before = uselocale(pile->locale);
    bool tried = fabs(number) >= 0.1 && fabs(number) < 1e15;
    int digits = tried ? 16 : 15;
    int length = snprintf(to, NUMBER_SIZE, "%.*g", digits, number);
    while (digits < 17 && strtod(to, NULL) != number) {
        length = snprintf(to, NUMBER_SIZE, "%.*g", ++digits, number);
    }
    uselocale(before);
    return (size_t)length;
}

void sync_json_number(struct sync_json *json, double number) {
    struct json *pile = json_of(json);
    append_comma(pile);
    char *to = make_room(pile, NUMBER_SIZE);
    if (!to) {
        return;
    }
    size_t length = put_short(to, number);
    json->length += length ? length : put_long(pile, to, number);
}
