/* utf8_fuzz.c: UTF-8, cut anywhere.
 *
 * A text is judged whole, byte by byte and in pieces of other sizes, and by a decoder
 * that works another way; all must agree on whether it's valid, and on the byte that
 * shows that it isn't.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "websocket/utf8.h"

enum { LONGEST = 4 };

/* Bytes of the character that `bytes` begin with: decoded, and then judged by its number;
 * 0 where it's none, or not whole. */
static size_t character(const uint8_t *bytes, size_t length) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t size = 1;
    while (size <= LONGEST && (bytes[0] >> (8 - size) & 1)) {
        size++; /* one more than its leading ones */
    }
    size = bytes[0] < 0x80 ? 1 : size - 1;
    bool lead = bytes[0] < 0x80 || (size >= 2 && size <= LONGEST && bytes[0] < 0xf8);
    if (!lead || size > length) {
        return 0;
    }
    uint32_t number = size == 1 ? bytes[0] : bytes[0] & (0x7fU >> size);
    for (size_t i = 1; i < size; i++) {
        if ((bytes[i] & 0xc0) != 0x80) {
            return 0;
        }
        number = number << 6 | (bytes[i] & 0x3fU);
    }
    bool surrogate = number >> 11 == 0xd800 >> 11;
    return number >= least[size] && number <= 0x10ffff && !surrogate ? size : 0;
}

/* Whether something may follow that makes a character of these bytes. */
static bool begins_character(const uint8_t *bytes, size_t length) {
    static const uint8_t next[] = {0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf};
    uint8_t whole[LONGEST];
    memcpy(whole, bytes, length);
    bool begins = length > 0 && character(bytes, length) > 0;
    for (size_t i = 0; i < sizeof(next) && length < LONGEST && !begins; i++) {
        whole[length] = next[i];
        begins = begins_character(whole, length + 1);
    }
    return begins;
}

/* How many bytes may stand where they stand, and whether the text may end behind them. */
static size_t good_bytes(const uint8_t *bytes, size_t length, bool *complete) {
    size_t at = 0;
    size_t size = 1;
    while (at < length && size > 0) {
        size = character(bytes + at, length - at);
        at += size;
    }
    *complete = at == length;
    size_t rest = 0;
    while (at + rest < length && rest + 1 < LONGEST &&
           begins_character(bytes + at, rest + 1)) {
        rest++;
    }
    return at + rest;
}

/* Checks pieces of `step` bytes, or of random sizes when it is 0. Returns how many
 * pieces' bytes were taken, the piece of a bad byte not counted. */
static size_t check_pieces(const uint8_t *bytes, size_t length, size_t step,
                           uint32_t seed, bool *complete) {
    struct utf8 utf8 = {0};
    size_t at = 0;
    *complete = false;
    while (at < length) {
        seed = seed * 1664525 + 1013904223;
        size_t most = step ? step : 1 + (seed >> 16) % 37;
        size_t size = length - at < most ? length - at : most;
        char *copy = malloc(size); /* it ends where a sanitizer watches */
        FUZZ_REQUIRE(copy != NULL);
        memcpy(copy, bytes + at, size);
        bool good = utf8_check(&utf8, copy, size);
        free(copy);
        if (!good) {
            return at;
        }
        at += size;
    }
    *complete = utf8_complete(&utf8);
    return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    struct input input = {bytes, length};
    uint32_t seed = input_byte(&input);
    size_t step = 1 + seed % 40;
    bool wanted;
    bool complete;
    size_t good = good_bytes(input.bytes, input.length, &wanted);
    FUZZ_REQUIRE(!wanted || good == input.length);
    FUZZ_REQUIRE(utf8_valid((const char *)input.bytes, input.length) == wanted);
    FUZZ_REQUIRE(check_pieces(input.bytes, input.length, 1, 0, &complete) == good);
    FUZZ_REQUIRE(complete == wanted);
    size_t taken = check_pieces(input.bytes, input.length, step, 0, &complete);
    FUZZ_REQUIRE(taken == (good == input.length ? good : good - good % step));
    FUZZ_REQUIRE(complete == wanted);
    taken = check_pieces(input.bytes, input.length, 0, seed, &complete);
    FUZZ_REQUIRE(taken <= good && (taken == input.length) == (good == input.length));
    FUZZ_REQUIRE(complete == wanted);
    return 0;
}
