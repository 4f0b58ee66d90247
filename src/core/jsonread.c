/* jsonread.c: takes a text of JSON apart (RFC 8259), into one flat row of tokens. What it
 * takes beyond the RFC, as it always has: a number that ends with its point, and control
 * characters in strings. It knows nothing of what becomes of the tokens. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"

enum { EXACT_POWER = 22, FIRST_TOKENS = 64, MOST_DIGITS = 19, MOST_EXPONENT = 100000 };

/* The powers of ten that are doubles. */
static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* A text under way. The byte 0 behind it ends every loop that looks for something else.
 */
struct reader {
    struct json *pile;
    const char *at;
    const char *end;
    const char *problem;
    char *string; /* where the next string with escapes goes */
    size_t count; /* tokens */
    uint64_t
        lists; /* a bit each level: whether it is a list; the innermost is the lowest */
    uint32_t level;
    uint32_t depth;
};

static bool fail(struct reader *r, const char *problem) {
    if (!r->problem) {
        r->problem = problem;
    }
    return false;
}

/* Returns NULL without memory. */
static struct sync_json_token *token_add(struct reader *r, enum sync_json_kind kind) {
    struct json *pile = r->pile;
    if (r->count == pile->token_room) {
        size_t room = pile->token_room ? pile->token_room * 2 : FIRST_TOKENS;
        struct sync_json_token *tokens = realloc(pile->tokens, room * sizeof(*tokens));
        if (!tokens) {
            fail(r, "not enough memory");
            return NULL;
        }
        pile->tokens = tokens;
        pile->token_room = room;
    }
    struct sync_json_token *token = &pile->tokens[r->count++];
    token->kind = (int32_t)kind;
    token->length = 0;
    return token;
}

static void skip_space(struct reader *r) {
    while (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t') {
        r->at++;
    }
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Numbers. */

/* A number's first digits as a whole one, and the power of ten it is to be taken by. */
struct decimal {
    uint64_t digits;
    int count;
    int power;
};

static const char *take_digits(struct decimal *decimal, const char *at, bool fraction) {
    for (; is_digit(*at); at++) {
        if (decimal->count < MOST_DIGITS) {
            decimal->digits = decimal->digits * 10 + (uint64_t)(*at - '0');
            decimal->count += decimal->digits > 0;
            decimal->power -= fraction;
        } else {
            decimal->count = MOST_DIGITS + 1; /* there are more than it holds */
        }
    }
    return at;
}

/* Returns NULL where there should be digits and are none. */
static const char *take_exponent(struct decimal *decimal, const char *at) {
    if (*at != 'e' && *at != 'E') {
        return at;
    }
    at++;
    bool negative = *at == '-';
    at += *at == '-' || *at == '+';
    if (!is_digit(*at)) {
        return NULL;
    }
    int exponent = 0;
    for (; is_digit(*at); at++) {
        exponent = exponent < MOST_EXPONENT ? exponent * 10 + (*at - '0') : exponent;
    }
    decimal->power += negative ? -exponent : exponent;
    return at;
}

/* Digits and a power that are doubles give a rounded product or quotient, which is the
 * nearest one. The others are strtod's. */
static double number_value(const struct reader *r, const struct decimal *decimal,
                           const char *from, bool negative) {
    if (decimal->count > MOST_DIGITS || decimal->digits > (UINT64_C(1) << 53) ||
        abs(decimal->power) > EXACT_POWER) {
        return strtod_l(from, NULL, r->pile->locale);
    }
    double value = (double)decimal->digits;
    value = decimal->power < 0 ? value / powers[-decimal->power]
                               : value * powers[decimal->power];
    return negative ? -value : value;
}

static bool read_number(struct reader *r) {
    const char *from = r->at;
    struct decimal decimal = {0};
    bool negative = *r->at == '-';
    const char *first = from + negative;
    const char *at = take_digits(&decimal, first, false);
    if (at == first || (*first == '0' && at > first + 1)) {
        return fail(r, "this is no number");
    }
    if (*at == '.') {
        at = take_digits(&decimal, at + 1, true);
    }
    at = take_exponent(&decimal, at);
    if (!at) {
        return fail(r, "this is no number");
    }
    double value = number_value(r, &decimal, from, negative);
    if (isinf(value)) {
        return fail(r, "a number in it is too large");
    }
    struct sync_json_token *token = token_add(r, SYNC_JSON_NUMBER);
    if (token) {
        token->number = value;
        r->at = at;
    }
    return token;
}

/* Strings. */

static int hex_value(char c) {
    if (is_digit(c)) {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The number of "uXXXX", or -1. */
static int32_t code_unit(const char *at) {
    int32_t unit = 0;
    if (*at != 'u') {
        return -1;
    }
    for (int i = 1; i <= 4; i++) {
        int value = hex_value(at[i]);
        if (value < 0) {
            return -1;
        }
        unit = unit * 16 + value;
    }
    return unit;
}

static char *put_character(char *to, uint32_t code) {
    if (code < 0x80) {
        *to++ = (char)code;
        return to;
    }
    int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const unsigned char begins[] = {0, 0xC0, 0xE0, 0xF0};
    *to++ = (char)(begins[more] | (code >> (6 * more)));
    while (more-- > 0) {
        *to++ = (char)(0x80 | ((code >> (6 * more)) & 0x3F));
    }
    return to;
}

/* Takes what stands behind "\u": a character, or both halves of a pair. */
static bool take_code(struct reader *r, const char **at, char **to) {
    int32_t code = code_unit(*at);
    *at += 5;
    if (code >= 0xD800 && code < 0xDC00 && **at == '\\') {
        int32_t low = code_unit(*at + 1);
        if (low < 0xDC00 || low > 0xDFFF) {
            return fail(r, "half a surrogate pair");
        }
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        *at += 6;
    }
    if (code < 0 || (code >= 0xD800 && code < 0xE000)) {
        return fail(r, code < 0 ? "this is no escape" : "half a surrogate pair");
    }
    *to = put_character(*to, (uint32_t)code);
    return true;
}

static bool take_escape(struct reader *r, const char **at, char **to) {
    static const char names[] = "\"\\/bfnrt";
    static const char meant[] = "\"\\/\b\f\n\r\t";
    if (**at == 'u') {
        return code_unit(*at) < 0 ? fail(r, "this is no escape") : take_code(r, at, to);
    }
    const char *found = **at ? strchr(names, **at) : NULL;
    if (!found) {
        return fail(r, "this is no escape");
    }
    *(*to)++ = meant[found - names];
    (*at)++;
    return true;
}

/* What strings become is never longer than the text. */
static bool make_string_room(struct reader *r, size_t length) {
    struct json *pile = r->pile;
    if (r->string) {
        return true;
    }
    if (pile->string_room < length) {
        char *strings = realloc(pile->strings, length);
        if (!strings) {
            return fail(r, "not enough memory");
        }
        pile->strings = strings;
        pile->string_room = length;
    }
    r->string = pile->strings;
    return true;
}

/* The rest of a string, from its first escape on. Returns where it ends, or NULL. */
static const char *unescape(struct reader *r, const char *from, const char *at) {
    memcpy(r->string, from, (size_t)(at - from));
    char *to = r->string + (at - from);
    while (*at && *at != '"') {
        if (*at != '\\') {
            *to++ = *at++;
            continue;
        }
        at++;
        if (!take_escape(r, &at, &to)) {
            return NULL;
        }
    }
    r->string = to;
    return at;
}

static bool read_string(struct reader *r, enum sync_json_kind kind) {
    const char *from = ++r->at;
    const char *at = from;
    while (*at && *at != '"' && *at != '\\') {
        at++;
    }
    const char *text = from;
    size_t length = (size_t)(at - from);
    if (*at == '\\') {
        if (!make_string_room(r, (size_t)(r->end - from))) {
            return false;
        }
        text = r->string;
        at = unescape(r, from, at);
        if (!at) {
            return false;
        }
        length = (size_t)(r->string - text);
    }
    if (!*at) {
        return fail(r, at == r->end ? "a string does not end" : "there is a NUL in it");
    }
    struct sync_json_token *token = token_add(r, kind);
    if (token) {
        token->text = text;
        token->length = (uint32_t)length;
        r->at = at + 1;
    }
    return token;
}

/* Values. */

static bool read_word(struct reader *r, const char *word, enum sync_json_kind kind) {
    size_t length = strlen(word);
    if (strncmp(r->at, word, length) != 0) {
        return fail(r, "this is no value");
    }
    r->at += length;
    return token_add(r, kind);
}

static bool read_begin(struct reader *r, bool list) {
    if (r->level == r->depth) {
        return fail(r, "it is nested too deeply");
    }
    r->level++;
    r->lists = r->lists << 1 | list;
    r->at++;
    return token_add(r, list ? SYNC_JSON_LIST : SYNC_JSON_OBJECT);
}

static bool read_value(struct reader *r) {
    switch (*r->at) {
    case '"': return read_string(r, SYNC_JSON_STRING);
    case '{': return read_begin(r, false);
    case '[': return read_begin(r, true);
    case 'n': return read_word(r, "null", SYNC_JSON_NULL);
    case 't': return read_word(r, "true", SYNC_JSON_TRUE);
    case 'f': return read_word(r, "false", SYNC_JSON_FALSE);
    default:
        return *r->at == '-' || is_digit(*r->at) ? read_number(r)
                                                 : fail(r, "this is no value");
    }
}

static bool in_list(const struct reader *r) {
    return r->lists & 1;
}

/* Ends as many lists and objects as end here. */
static bool read_ends(struct reader *r) {
    skip_space(r);
    while (r->level > 0 && *r->at == (in_list(r) ? ']' : '}')) {
        if (!token_add(r, SYNC_JSON_END)) {
            return false;
        }
        r->level--;
        r->lists >>= 1;
        r->at++;
        skip_space(r);
    }
    return true;
}

static bool read_key(struct reader *r) {
    skip_space(r);
    if (*r->at != '"') {
        return fail(r, "a name is missing");
    }
    if (!read_string(r, SYNC_JSON_KEY)) {
        return false;
    }
    skip_space(r);
    if (*r->at != ':') {
        return fail(r, "a colon is missing");
    }
    r->at++;
    return true;
}

/* One value, or the begin of one, and what ends behind it. */
static bool read_item(struct reader *r) {
    uint32_t level = r->level;
    if (level > 0 && !in_list(r) && !read_key(r)) {
        return false;
    }
    skip_space(r);
    if (!read_value(r)) {
        return false;
    }
    if (r->level > level) { /* its first item follows, unless it is empty */
        skip_space(r);
        if (*r->at != (in_list(r) ? ']' : '}')) {
            return true;
        }
    }
    if (!read_ends(r)) {
        return false;
    }
    if (r->level > 0 && *r->at != ',') {
        return fail(r, "a comma or an end is missing");
    }
    r->at += r->level > 0;
    return true;
}

static bool read_text(struct reader *r) {
    do {
        if (!read_item(r)) {
            return false;
        }
    } while (r->level > 0);
    return r->at == r->end ? true : fail(r, "there is more behind it");
}

/* Gives back what a long text has needed. */
static void forget_long(struct json *pile) {
    if (pile->token_room * sizeof(*pile->tokens) > JSON_KEPT) {
        free(pile->tokens);
        pile->tokens = NULL;
        pile->token_room = 0;
    }
    if (pile->string_room > JSON_KEPT) {
        free(pile->strings);
        pile->strings = NULL;
        pile->string_room = 0;
    }
}

int32_t sync_json_read(struct sync_json *json, const char *text, size_t length,
                       uint32_t depth) {
    struct json *pile = json_of(json);
    forget_long(pile);
    struct reader r = {.pile = pile,
                       .at = text,
                       .end = text + length,
                       .depth = depth < JSON_MOST_DEPTH ? depth : JSON_MOST_DEPTH};
    bool done = length <= INT32_MAX && read_text(&r);
    json->tokens = pile->tokens;
    json->problem = done ? NULL : r.problem ? r.problem : "it is too long";
    json->position = (size_t)(r.at - text);
    return done ? (int32_t)r.count : -1;
}

struct sync_json *sync_json_new(void) {
    struct json *pile = calloc(1, sizeof(*pile));
    locale_t locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!pile || !locale) {
        free(pile);
        return NULL;
    }
    pile->locale = locale;
    return &pile->shown;
}

void sync_json_free(struct sync_json *json) {
    struct json *pile = json_of(json);
    if (!pile) {
        return;
    }
    freelocale(pile->locale);
    free(pile->tokens);
    free(pile->strings);
    free(pile->text);
    free(pile);
}
