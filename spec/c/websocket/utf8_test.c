/* utf8_test.c: UTF-8, compared with a decoder that is written another way. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sync.h"
#include "test.h"
#include "websocket/utf8.h"

/* Bytes at both sides of every bound of RFC 3629 section 4. */
static const unsigned char edges[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                      0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xec, 0xed, 0xee,
                                      0xef, 0xf0, 0xf3, 0xf4, 0xf5, 0xf8, 0xff};

enum { EDGES = sizeof(edges), LONGEST = 4 };

/* Bytes that a lead byte announces, itself counted; 0 where it's none. */
static size_t announced(unsigned char lead) {
    return lead < 0x80             ? 1
           : (lead & 0xe0) == 0xc0 ? 2
           : (lead & 0xf0) == 0xe0 ? 3
           : (lead & 0xf8) == 0xf0 ? 4
                                   : 0;
}

/* Bytes of the character that `bytes` begin with: decoded, and then judged by its number;
 * 0 where it's none, or not whole. */
static size_t character(const unsigned char *bytes, size_t length) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t size = length > 0 ? announced(bytes[0]) : 0;
    if (size == 0 || size > length) {
        return 0;
    }
    uint32_t number = size == 1 ? bytes[0] : bytes[0] & (0xffU >> (size + 1));
    for (size_t i = 1; i < size; i++) {
        if ((bytes[i] & 0xc0) != 0x80) {
            return 0;
        }
        number = number << 6 | (bytes[i] & 0x3fU);
    }
    bool surrogate = number >= 0xd800 && number <= 0xdfff;
    return number >= least[size] && number <= 0x10ffff && !surrogate ? size : 0;
}

/* Whether something may follow that makes a character of these bytes. */
static bool begins_character(const unsigned char *bytes, size_t length) {
    static const unsigned char next[] = {0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf};
    unsigned char whole[LONGEST];
    if (character(bytes, length) > 0) {
        return true;
    }
    if (length >= LONGEST) {
        return false;
    }
    memcpy(whole, bytes, length);
    for (size_t i = 0; i < sizeof(next); i++) {
        whole[length] = next[i];
        if (begins_character(whole, length + 1)) {
            return true;
        }
    }
    return false;
}

enum { INVALID, UNFINISHED, VALID };

/* What is wanted of a text of characters. */
static int judge(const unsigned char *bytes, size_t length) {
    while (length > 0) {
        size_t size = character(bytes, length);
        if (size == 0) {
            bool begins = length < LONGEST && begins_character(bytes, length);
            return begins ? UNFINISHED : INVALID;
        }
        bytes += size;
        length -= size;
    }
    return VALID;
}

/* What utf8_check says of a text that comes in two parts. */
static int check_parts(const unsigned char *bytes, size_t length, size_t cut) {
    struct utf8 utf8 = {0};
    const char *text = (const char *)bytes;
    if (!utf8_check(&utf8, text, cut) || !utf8_check(&utf8, text + cut, length - cut)) {
        return INVALID;
    }
    return utf8_complete(&utf8) ? VALID : UNFINISHED;
}

/* Whether a text, and each beginning of it, is judged alike; cut anywhere. */
static bool is_judged(const unsigned char *bytes, size_t length) {
    int wanted = judge(bytes, length);
    bool good = utf8_valid((const char *)bytes, length) == (wanted == VALID);
    for (size_t cut = 0; cut <= length; cut++) {
        good = good && check_parts(bytes, length, cut) == wanted;
    }
    return good;
}

TEST(utf8_judges_all_texts_of_two_bytes_and_at_the_bounds_of_three) {
    unsigned char text[3];
    uint32_t valid = 0;
    for (uint32_t number = 0; number < 256 * 256; number++) {
        text[0] = (unsigned char)(number >> 8);
        text[1] = (unsigned char)number;
        valid += judge(text, 2) == VALID;
        if (!CHECK(is_judged(text, 1)) || !CHECK(is_judged(text, 2))) {
            return;
        }
        for (size_t i = 0; i < EDGES; i++) {
            text[2] = edges[i];
            if (!CHECK_INT(check_parts(text, 3, i % 4), judge(text, 3))) {
                return;
            }
        }
    }
    CHECK_INT(valid, 128 * 128 + 0x800 - 0x80); /* two of ASCII, or one above */
}

TEST(utf8_judges_four_bytes_at_every_bound_cut_anywhere) {
    unsigned char text[LONGEST];
    for (uint32_t lead = 0; lead < 256; lead++) {
        text[0] = (unsigned char)lead;
        for (size_t i = 0; i < (size_t)EDGES * EDGES * EDGES; i++) {
            text[1] = edges[i / EDGES / EDGES];
            text[2] = edges[i / EDGES % EDGES];
            text[3] = edges[i % EDGES];
            if (!CHECK_INT(check_parts(text, LONGEST, i % 5), judge(text, LONGEST))) {
                return;
            }
        }
    }
    static const char first[] = "\xf0\x90\x80\x80";
    static const char last[] = "\xf4\x8f\xbf\xbf";
    CHECK(is_judged((const unsigned char *)first, 4) && utf8_valid(first, 4));
    CHECK(is_judged((const unsigned char *)last, 4) && utf8_valid(last, 4));
}

/* Writes a number in so many bytes, whether it may be or not. */
static void write_number(unsigned char *text, uint32_t number, size_t size) {
    static const unsigned char leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = size - 1; i > 0; i--) {
        text[i] = (unsigned char)(0x80 | (number & 0x3f));
        number >>= 6;
    }
    text[0] = (unsigned char)(leads[size] | number);
}

TEST(utf8_takes_every_character_in_its_shortest_form_alone) {
    static const uint32_t past[] = {0, 0x80, 0x800, 0x10000, 0x200000};
    uint32_t valid = 0;
    for (size_t size = 1; size <= LONGEST; size++) {
        for (uint32_t number = 0; number < past[size]; number++) {
            unsigned char text[LONGEST];
            write_number(text, number, size);
            bool surrogate = number >= 0xd800 && number <= 0xdfff;
            bool wanted = number >= past[size - 1] && number <= 0x10ffff && !surrogate;
            if (!CHECK(utf8_valid((const char *)text, size) == wanted)) {
                return;
            }
            valid += wanted;
        }
    }
    CHECK_INT(valid, 0x110000 - 2048);
}

TEST(utf8_refuses_at_the_first_byte_that_shows_it) {
    static const struct {
        const char *text;
        size_t shows; /* where the byte is that can't be */
    } cases[] = {
        {"\x80", 0},             /* a continuation of nothing */
        {"a\xbf", 1},            /* the same */
        {"\xc0\x80", 0},         /* overlong, of two bytes */
        {"\xc1\xbf", 0},         /* the same */
        {"\xe0\x9f\xbf", 1},     /* of three */
        {"\xf0\x8f\xbf\xbf", 1}, /* of four */
        {"\xed\xa0\x80", 1},     /* the first surrogate */
        {"\xed\xbf\xbf", 1},     /* the last */
        {"\xf4\x90\x80\x80", 1}, /* U+110000 */
        {"\xf5\x80\x80\x80", 0}, /* above */
        {"\xf8\x88\x80\x80\x80", 0},
        {"\xfc\x84\x80\x80\x80\x80", 0},
        {"\xfe", 0},
        {"\xff", 0},
        {"\xc2\x41", 1}, /* a character cut off */
        {"\xe2\x82\x41", 2},
        {"\xf0\x9f\x98\x41", 3},
        {"\xc2\xc2\x80", 1},
        {"\xe2\x82\xe2\x82\xac", 2},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        for (size_t length = 0; length <= strlen(cases[i].text); length++) {
            struct utf8 utf8 = {0};
            CHECK(utf8_check(&utf8, cases[i].text, length) == (length <= cases[i].shows));
        }
    }
}

TEST(utf8_an_unfinished_character_is_no_end) {
    static const char *const texts[] = {
        "\xc2\x80",     "\xdf\xbf",         "\xe0\xa0\x80",    "\xed\x9f\xbf",
        "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        struct utf8 utf8 = {0};
        CHECK(utf8_complete(&utf8));
        for (size_t at = 0; at < strlen(texts[i]); at++) {
            CHECK(utf8_check(&utf8, texts[i] + at, 1));
            CHECK(utf8_complete(&utf8) == (at == strlen(texts[i]) - 1));
            CHECK(utf8_valid(texts[i], at) == (at == 0));
        }
        CHECK(utf8_check(&utf8, "", 0) && utf8_complete(&utf8));
        CHECK(utf8_valid(texts[i], strlen(texts[i])));
    }
    CHECK(utf8_valid("", 0));
    CHECK(utf8_valid("\0", 1)); /* a NUL is a character */
    CHECK_INT(sync_is_text("a\0b", 3), 1);
    CHECK_INT(sync_is_text("a\xff", 2), 0);
}

/* A copy that ends where a sanitizer watches, cut at every byte; with `offset` bytes
 * before it, as the words that ASCII is looked at in may lie anywhere. */
static void check_everywhere(const unsigned char *text, size_t length, size_t offset) {
    unsigned char *block = malloc(offset + length + (length == 0));
    if (!block) {
        abort();
    }
    memset(block, 0xff, offset);
    memcpy(block + offset, text, length);
    CHECK(is_judged(block + offset, length));
    free(block);
}

TEST(utf8_finds_every_kind_of_byte_at_any_place_of_ascii) {
    static const char *const others[] = {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                                         "\x80",     "\xed\xa0\x80", "\xc3",
                                         "\xf0\x9f"};
    enum { MOST = 40 };
    unsigned char text[MOST + LONGEST];
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
        size_t size = strlen(others[i]);
        for (size_t ascii = 0; ascii <= MOST; ascii++) {
            for (size_t at = 0; at <= ascii; at++) {
                memset(text, 'a', sizeof(text));
                memcpy(text + at, others[i], size);
                check_everywhere(text, ascii + size, (ascii + at) % 8);
            }
        }
    }
}

TEST(utf8_judges_random_texts_cut_anywhere) {
    enum { MOST = 24 };
    static const uint32_t past[] = {0, 0x80, 0x800, 0x10000, 0x150000};
    unsigned char text[MOST + LONGEST];
    uint32_t valid = 0;
    for (int round = 0; round < 20000; round++) {
        size_t length = 0;
        size_t most = test_random(MOST);
        while (length < most) {
            size_t size = 1 + test_random(LONGEST);
            /* Now and then overlong, a surrogate, or above U+10FFFF. */
            write_number(text + length, test_random(past[size]), size);
            length += size;
        }
        if (length > 0 && test_random(2) == 0) {
            text[test_random((uint32_t)length)] = edges[test_random(EDGES)];
        }
        valid += judge(text, length) == VALID;
        if (!CHECK(is_judged(text, length))) {
            return;
        }
    }
    CHECK(valid > 2000 && valid < 18000); /* both kinds were there */
}
