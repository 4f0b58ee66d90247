/* text.c: the words and lines of an HTTP head (RFC 9110, RFC 9112). */
#include "http/text.h"

#include <string.h>

bool text_is_digit(char byte) {
    return byte >= '0' && byte <= '9';
}

char text_lower(char byte) {
    return byte >= 'A' && byte <= 'Z' ? (char)(byte + ('a' - 'A')) : byte;
}

bool text_is_hex(char byte) {
    return text_is_digit(byte) || (text_lower(byte) >= 'a' && text_lower(byte) <= 'f');
}

static bool is_alphanumeric(char byte) {
    return text_is_digit(byte) || (text_lower(byte) >= 'a' && text_lower(byte) <= 'z');
}

bool text_is_blank(char byte) {
    return byte == ' ' || byte == '\t';
}

bool text_is_one_of(char byte, const char *bytes) {
    return byte != '\0' && strchr(bytes, byte) != NULL;
}

/* A tchar (RFC 9110 section 5.6.2). */
bool text_is_token(char byte) {
    return is_alphanumeric(byte) || text_is_one_of(byte, "!#$%&'*+-.^_`|~");
}

/* More than RFC 3986 allows, for programs send "|" or "{" as they are; but no blank, no
 * control, nothing above ASCII, and no fragment, which never leaves the client. */
static bool is_of_target(char byte) {
    return byte > ' ' && byte < 127 && byte != '#';
}

/* reg-name of RFC 3986, which covers an IPv4 address, too. */
static bool is_of_host(char byte) {
    return is_alphanumeric(byte) || text_is_one_of(byte, "-._~%!$&'()*+,;=");
}

static bool is_of_ipv6(char byte) {
    return text_is_hex(byte) || byte == ':' || byte == '.';
}

size_t text_span(struct text text, bool (*is)(char byte)) {
    size_t i = 0;
    while (i < text.length && is(text.bytes[i])) {
        i++;
    }
    return i;
}

/* Whether there is something, and all of it is such bytes. */
bool text_is_all(struct text text, bool (*is)(char byte)) {
    return text.length > 0 && text_span(text, is) == text.length;
}

bool text_equals(struct text text, const char *other) {
    return text.length == strlen(other) && memcmp(text.bytes, other, text.length) == 0;
}

/* `other` is in lower case. */
bool text_matches(struct text text, const char *other) {
    size_t i = 0;
    while (i < text.length && other[i] != '\0' && text_lower(text.bytes[i]) == other[i]) {
        i++;
    }
    return i == text.length && other[i] == '\0';
}

struct text text_skip(struct text text, size_t count) {
    return (struct text){text.bytes + count, text.length - count};
}

struct text text_trim(struct text text) {
    text = text_skip(text, text_span(text, text_is_blank));
    while (text.length > 0 && text_is_blank(text.bytes[text.length - 1])) {
        text.length--;
    }
    return text;
}

/* Returns what is before the first `end`, or all; *text becomes what is behind it. */
struct text text_cut(struct text *text, char end) {
    const char *found = memchr(text->bytes, end, text->length);
    struct text part = {text->bytes,
                        found ? (size_t)(found - text->bytes) : text->length};
    *text = text_skip(*text, part.length + (found != NULL));
    return part;
}

bool text_list_has(struct text list, const char *token) {
    while (list.length > 0) {
        if (text_matches(text_trim(text_cut(&list, ',')), token)) {
            return true;
        }
    }
    return false;
}

/* host [":" port], where the host may be empty (RFC 9110 section 7.2). No user name. */
bool text_is_authority(struct text text) {
    if (text.length > 0 && text.bytes[0] == '[') {
        text = text_skip(text, 1);
        size_t address = text_span(text, is_of_ipv6);
        if (address == 0 || address == text.length || text.bytes[address] != ']') {
            return false;
        }
        text = text_skip(text, address + 1);
    } else {
        text = text_skip(text, text_span(text, is_of_host));
    }
    if (text.length == 0) {
        return true;
    }
    return text.bytes[0] == ':' &&
           text_span(text_skip(text, 1), text_is_digit) == text.length - 1;
}

/* Ends in CR LF and holds no other control than tabs. A bare LF is a line's end to some
 * readers and to others not (RFC 9112 section 2.2 leaves it open), so a header behind one
 * could pass a proxy unseen; no client in use sends it. */
bool text_is_line(struct text line) {
    if (line.length < 2 || line.bytes[line.length - 2] != '\r') {
        return false;
    }
    for (size_t i = 0; i < line.length - 2; i++) {
        unsigned char byte = (unsigned char)line.bytes[i];
        if ((byte < ' ' && byte != '\t') || byte == 127) {
            return false;
        }
    }
    return true;
}

bool text_is_version(struct text text) {
    return text.length == 8 && memcmp(text.bytes, "HTTP/", 5) == 0 &&
           text_is_digit(text.bytes[5]) && text.bytes[6] == '.' &&
           text_is_digit(text.bytes[7]);
}

/* RFC 9112 section 3.2, without CONNECT's authority-form. */
bool text_is_target(struct text target, struct text method) {
    if (!text_is_all(target, is_of_target)) {
        return false;
    }
    if (target.bytes[0] == '/') {
        return true;
    }
    if (target.bytes[0] == '*') {
        return target.length == 1 && text_equals(method, "OPTIONS");
    }
    const char *slashes = memmem(target.bytes, target.length, "://", 3);
    if (!slashes) {
        return false;
    }
    struct text rest = text_skip(target, (size_t)(slashes + 3 - target.bytes));
    struct text authority = text_cut(&rest, '/');
    authority = text_cut(&authority, '?');
    return authority.length > 0 && text_is_authority(authority);
}
