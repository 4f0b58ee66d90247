/* text.h: the words and lines of an HTTP head, checked and cut (RFC 9110, RFC 9112).
 *
 * Pure: a text is a slice of somebody else's bytes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct text {
    const char *bytes;
    size_t length;
};

/* Kinds of bytes. A token's are the tchars of RFC 9110 section 5.6.2. */
bool text_is_digit(char byte);
bool text_is_hex(char byte);
bool text_is_blank(char byte);
bool text_is_token(char byte);
bool text_is_one_of(char byte, const char *bytes);

/* The byte, a letter of ASCII in lower case. */
char text_lower(char byte);

/* How many bytes at the beginning are of a kind, and whether there is something and all
 * of it is of it. */
size_t text_span(struct text text, bool (*is)(char byte));
bool text_is_all(struct text text, bool (*is)(char byte));

/* Whether it is the other: to the letter, or whatever its case, `other` being in lower
 * case. */
bool text_equals(struct text text, const char *other);
bool text_matches(struct text text, const char *other);

/* Without so many bytes at its beginning, and without blanks round it. */
struct text text_skip(struct text text, size_t count);
struct text text_trim(struct text text);

/* Returns what is before the first `end`, or all; *text becomes what is behind it. */
struct text text_cut(struct text *text, char end);

/* Whether a list of tokens with commas between them has one, in lower case. */
bool text_list_has(struct text list, const char *token);

/* host [":" port], where the host may be empty (RFC 9110 section 7.2). No user name. */
bool text_is_authority(struct text text);

/* Whether a line ends in CR LF and holds no other control than tabs. */
bool text_is_line(struct text line);

bool text_is_version(struct text text);

/* A request target (RFC 9112 section 3.2) but for CONNECT's authority-form. */
bool text_is_target(struct text target, struct text method);
