/* frame_test.c: the headers of WebSocket's frames, masks and codes. */
#include <stdlib.h>
#include <string.h>

#include "test.h"
#include "websocket/frame.h"

enum { HEADER_MOST = 14 };

static const char mask_bytes[] = {0x12, (char)0xfe, 0x00, (char)0x80};

/* Writes a header with the length in a form of 0, 2 or 8 further bytes. Returns how many
 * it takes. */
static size_t write_header(char *head, unsigned char first, size_t form,
                           uint64_t length) {
    size_t at = 0;
    head[at++] = (char)first;
    head[at++] = (char)(0x80 | (form == 8 ? 127 : form == 2 ? 126 : length));
    for (size_t i = form; i > 0; i--) {
        head[at++] = (char)(length >> 8 * (i - 1));
    }
    memcpy(head + at, mask_bytes, sizeof(mask_bytes));
    return at + sizeof(mask_bytes);
}

/* Reads from a copy that ends where a sanitizer watches. */
static int read_copy(const char *bytes, size_t length, bool deflate,
                     struct ws_header *header) {
    char *copy = malloc(length + (length == 0));
    if (!copy) {
        abort();
    }
    memcpy(copy, bytes, length);
    int size = ws_header_read(copy, length, deflate, header);
    free(copy);
    return size;
}

/* Whether a frame may begin with this byte, by the tables of RFC 6455 section 5.2. */
static bool may_be_first(unsigned char byte, bool deflate) {
    static const char kinds[] = "cdd.....kkk....."; /* continued, data, control, none */
    char kind = kinds[byte & 15];
    bool fin = byte >= 128;
    unsigned char reserved = byte >> 4 & 7;
    switch (kind) {
    case 'c': return reserved == 0;
    case 'd': return reserved == 0 || (reserved == 4 && deflate);
    case 'k': return reserved == 0 && fin;
    default: return false;
    }
}

TEST(wsframe_refuses_first_and_second_bytes_as_soon_as_they_show) {
    for (uint32_t i = 0; i < 2 * 256 * 256; i++) {
        bool deflate = i >> 16;
        unsigned char first = (unsigned char)(i >> 8);
        unsigned char second = (unsigned char)i;
        char bytes[HEADER_MOST] = {(char)first, (char)second};
        struct ws_header header;
        bool one = may_be_first(first, deflate);
        bool control = first & 8;
        bool two = one && second >= 128 && (!control || second <= 128 + 125);
        CHECK_INT(read_copy(bytes, 0, deflate, &header), WS_PARTIAL);
        if (!CHECK_INT(read_copy(bytes, 1, deflate, &header),
                       one ? WS_PARTIAL : WS_INVALID) ||
            !CHECK_INT(read_copy(bytes, 2, deflate, &header),
                       two ? WS_PARTIAL : WS_INVALID)) {
            return;
        }
        if (two && second < 128 + 126) {
            CHECK_INT(read_copy(bytes, 6, deflate, &header), 6);
            CHECK_INT(header.opcode, first & 15);
            CHECK_INT(header.fin, first >= 128);
            CHECK_INT(header.compressed, (first & 0x40) != 0);
            CHECK_INT(header.length, second - 128);
        }
    }
}

static const struct {
    uint64_t length;
    size_t form; /* the shortest: further bytes of the length */
} lengths[] = {{0, 0},
               {1, 0},
               {124, 0},
               {125, 0},
               {126, 2},
               {127, 2},
               {128, 2},
               {255, 2},
               {256, 2},
               {0x1234, 2},
               {65534, 2},
               {65535, 2},
               {65536, 8},
               {65537, 8},
               {0x12345678, 8},
               {UINT32_MAX, 8},
               {(uint64_t)UINT32_MAX + 1, 8},
               {0x123456789abcdef0, 8},
               {INT64_MAX, 8},
               {(uint64_t)INT64_MAX + 1, 9}, /* 9: there is none */
               {UINT64_MAX, 9}};

enum { LENGTHS = sizeof(lengths) / sizeof(*lengths) };

/* Whether this length can be written in this form at all. */
static bool has_room(size_t form, uint64_t length) {
    return form == 8 || (form == 2 && length <= 65535) || length <= 125;
}

TEST(wsframe_reads_every_length_in_its_shortest_form_alone) {
    static const size_t forms[] = {0, 2, 8};
    uint32_t mask;
    memcpy(&mask, mask_bytes, sizeof(mask));
    for (size_t i = 0; i < LENGTHS * 3; i++) {
        uint64_t length = lengths[i / 3].length;
        size_t form = forms[i % 3];
        if (!has_room(form, length)) {
            continue;
        }
        char bytes[HEADER_MOST];
        size_t size = write_header(bytes, 0x82, form, length);
        bool shortest = form == lengths[i / 3].form;
        struct ws_header header = {.length = 77};
        for (size_t part = 0; part < 2 + form; part++) {
            CHECK(read_copy(bytes, part, false, &header) == WS_PARTIAL);
        }
        for (size_t part = 2 + form; part < size; part++) {
            CHECK_INT(read_copy(bytes, part, false, &header),
                      shortest ? WS_PARTIAL : WS_INVALID);
        }
        CHECK_INT(read_copy(bytes, size, false, &header),
                  shortest ? (int)size : WS_INVALID);
        if (shortest) {
            CHECK_INT(header.length, length);
            CHECK_INT(header.mask, mask);
        }
    }
}

TEST(wsframe_header_ends_where_the_payload_begins) {
    char bytes[HEADER_MOST + 3];
    struct ws_header header;
    size_t size = write_header(bytes, 0x01, 2, 300);
    memset(bytes + size, 0xff, 3);
    CHECK_INT(read_copy(bytes, size + 3, false, &header), size);
    CHECK_INT(header.length, 300);
    CHECK(!header.fin);
    /* Compressed, where it may be. */
    size = write_header(bytes, 0xc1, 0, 5);
    CHECK_INT(read_copy(bytes, size, true, &header), size);
    CHECK(header.compressed && header.fin);
    CHECK_INT(read_copy(bytes, size, false, &header), WS_INVALID);
}

TEST(wsframe_writes_what_a_client_reads) {
    static const struct {
        enum ws_opcode opcode;
        bool compressed;
        unsigned char first;
    } kinds[] = {{WS_TEXT, false, 0x81},  {WS_BINARY, false, 0x82},
                 {WS_TEXT, true, 0xc1},   {WS_BINARY, true, 0xc2},
                 {WS_CLOSE, false, 0x88}, {WS_PING, false, 0x89},
                 {WS_PONG, false, 0x8a}};
    for (size_t i = 0; i < LENGTHS * (sizeof(kinds) / sizeof(*kinds)); i++) {
        uint64_t length = lengths[i % LENGTHS].length;
        size_t form = lengths[i % LENGTHS].form;
        size_t kind = i / LENGTHS;
        bool control = kinds[kind].opcode >= WS_CLOSE;
        if (form == 9 || (control && form > 0)) {
            continue;
        }
        char wanted[HEADER_MOST];
        char head[HEADER_MOST];
        size_t size =
            write_header(wanted, kinds[kind].first, form, length) - sizeof(mask_bytes);
        wanted[1] = (char)(wanted[1] & 0x7f); /* a server sets no mask */
        memset(head, 0x55, sizeof(head));
        uint8_t written =
            ws_header_write(head, kinds[kind].opcode, kinds[kind].compressed, length);
        CHECK(written <= WS_HEAD_MOST);
        CHECK_BYTES(head, written, wanted, size);
        for (size_t k = written; k < sizeof(head); k++) {
            CHECK_INT(head[k], 0x55);
        }
    }
}

/* Masks */

enum { MASKED_MOST = 70, MARGIN = 16 };

static void mask_by_bytes(char *bytes, size_t length, const char *mask) {
    for (size_t i = 0; i < length; i++) {
        bytes[i] = (char)(bytes[i] ^ mask[i % 4]);
    }
}

static void fill(char *bytes, size_t length) {
    for (size_t i = 0; i < length; i++) {
        bytes[i] = (char)test_random(256);
    }
}

TEST(wsframe_unmasks_any_length_at_any_alignment) {
    _Alignas(16) char block[MARGIN + MASKED_MOST + MARGIN];
    char wanted[sizeof(block)];
    for (size_t align = 0; align < MARGIN; align++) {
        for (size_t length = 0; length <= MASKED_MOST; length++) {
            char mask[4];
            uint32_t word;
            fill(mask, sizeof(mask));
            fill(block, sizeof(block));
            memcpy(&word, mask, sizeof(word));
            memcpy(wanted, block, sizeof(block));
            mask_by_bytes(wanted + align, length, mask);
            uint32_t next = ws_unmask(block + align, length, word);
            CHECK_BYTES(block, sizeof(block), wanted, sizeof(wanted));
            char turned[4];
            for (size_t i = 0; i < sizeof(turned); i++) {
                turned[i] = mask[(i + length) % 4];
            }
            CHECK_BYTES((const char *)&next, sizeof(next), turned, sizeof(turned));
            ws_unmask(block + align, length, word); /* it's its own opposite */
            mask_by_bytes(wanted + align, length, mask);
            CHECK_BYTES(block, sizeof(block), wanted, sizeof(wanted));
        }
    }
}

TEST(wsframe_unmasks_parts_as_the_whole) {
    char whole[MASKED_MOST];
    char parts[MASKED_MOST];
    uint32_t word;
    memcpy(&word, mask_bytes, sizeof(word));
    for (size_t first = 0; first <= MASKED_MOST; first++) {
        for (size_t second = 0; second <= 9 && first + second <= MASKED_MOST; second++) {
            fill(whole, sizeof(whole));
            memcpy(parts, whole, sizeof(parts));
            uint32_t wanted = ws_unmask(whole, sizeof(whole), word);
            uint32_t mask = ws_unmask(parts, first, word);
            mask = ws_unmask(parts + first, second, mask);
            mask = ws_unmask(parts + first + second, MASKED_MOST - first - second, mask);
            CHECK_BYTES(parts, sizeof(parts), whole, sizeof(whole));
            CHECK_INT(mask, wanted);
        }
    }
}

TEST(wsframe_knows_the_codes_that_a_close_frame_may_carry) {
    /* RFC 6455 section 7.4, and the registry that it begins; in ranges. */
    static const uint32_t ranges[][2] = {{1000, 1003}, {1007, 1014}, {3000, 4999}};
    for (uint32_t code = 0; code <= 70000; code++) {
        bool wanted = false;
        for (size_t i = 0; i < 3; i++) {
            wanted |= code >= ranges[i][0] && code <= ranges[i][1];
        }
        CHECK(ws_code_valid(code) == wanted);
    }
    CHECK(!ws_code_valid(UINT32_MAX));
}
