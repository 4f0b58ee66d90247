/* sha1.c: SHA-1 of a whole buffer. */
#include <string.h>

#include "sha1.h"

enum { BLOCK = 64, ROUNDS = 80 };

static uint32_t rotate(uint32_t x, unsigned bits) {
    return x << bits | x >> (32 - bits);
}

static uint32_t big_endian(const uint8_t *from) {
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 |
           from[3];
}

static uint32_t mix(int round, uint32_t b, uint32_t c, uint32_t d) {
    switch (round / 20) {
    case 0: return ((b & c) | (~b & d)) + 0x5A827999;
    case 1: return (b ^ c ^ d) + 0x6ED9EBA1;
    case 2: return ((b & c) | (b & d) | (c & d)) + 0x8F1BBCDC;
    default: return (b ^ c ^ d) + 0xCA62C1D6;
    }
}

static void add_block(uint32_t sum[5], const uint8_t *block) {
    uint32_t w[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        w[i] = i < 16 ? big_endian(block + 4 * i)
                      : rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    }
    uint32_t a = sum[0], b = sum[1], c = sum[2], d = sum[3], e = sum[4];
    for (int i = 0; i < ROUNDS; i++) {
        uint32_t next = rotate(a, 5) + mix(i, b, c, d) + e + w[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    sum[0] += a;
    sum[1] += b;
    sum[2] += c;
    sum[3] += d;
    sum[4] += e;
}

void sha1(const void *data, size_t length, uint8_t digest[SHA1_SIZE]) {
    uint32_t sum[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    const uint8_t *bytes = data;
    size_t whole = length / BLOCK * BLOCK;
    for (size_t at = 0; at < whole; at += BLOCK) {
        add_block(sum, bytes + at);
    }
    /* The rest, a bit, and the length in bits at the end of the last block. */
    uint8_t last[2 * BLOCK] = {0};
    size_t rest = length - whole;
    size_t end = rest + 9 <= BLOCK ? BLOCK : 2 * BLOCK;
    memcpy(last, bytes + whole, rest);
    last[rest] = 0x80;
    for (unsigned i = 0; i < 8; i++) {
        last[end - 1 - i] = (uint8_t)((uint64_t)length * 8 >> (8 * i));
    }
    for (size_t at = 0; at < end; at += BLOCK) {
        add_block(sum, last + at);
    }
    for (unsigned i = 0; i < SHA1_SIZE; i++) {
        digest[i] = (uint8_t)(sum[i / 4] >> (24 - 8 * (i % 4)));
    }
}
