/* frame.c: WebSocket's frames. */
#include "websocket/frame.h"

#include <endian.h>
#include <string.h>

enum {
    FIN = 0x80,
    RSV1 = 0x40,
    RSV = 0x70,
    OPCODE = 0x0f,
    CONTROL = 0x08,
    MASKED = 0x80,
    LENGTH = 0x7f,
    LENGTH16 = 126,
    LENGTH64 = 127
};

static bool first_byte_valid(unsigned char byte, bool deflate) {
    unsigned char opcode = byte & OPCODE;
    bool control = opcode & CONTROL;
    unsigned char allowed = deflate && !control && opcode != WS_CONTINUATION ? RSV1 : 0;
    if (byte & RSV & ~allowed) {
        return false;
    }
    return control ? opcode <= WS_PONG && (byte & FIN) : opcode <= WS_BINARY;
}

static bool second_byte_valid(unsigned char byte, bool control) {
    return (byte & MASKED) && (!control || (byte & LENGTH) <= WS_CONTROL_MOST);
}

static uint64_t big_endian(const unsigned char *bytes, size_t count) {
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++) {
        value = value << 8 | bytes[i];
    }
    return value;
}

static int read_header(const unsigned char *bytes, size_t length, bool deflate,
                       struct ws_header *header) {
    if (length >= 1 && !first_byte_valid(bytes[0], deflate)) {
        return WS_INVALID;
    }
    if (length < 2) {
        return WS_PARTIAL;
    }
    if (!second_byte_valid(bytes[1], bytes[0] & CONTROL)) {
        return WS_INVALID;
    }
    uint64_t payload = bytes[1] & LENGTH;
    size_t extended = payload == LENGTH64 ? 8 : payload == LENGTH16 ? 2 : 0;
    size_t size = 2 + extended + sizeof(header->mask);
    if (extended > 0 && length >= 2 + extended) {
        payload = big_endian(bytes + 2, extended);
        uint64_t least = extended == 8 ? UINT16_MAX + 1 : LENGTH16;
        if (payload < least || payload > INT64_MAX) {
            return WS_INVALID;
        }
    }
    if (length < size) {
        return WS_PARTIAL;
    }
    memcpy(&header->mask, bytes + size - sizeof(header->mask), sizeof(header->mask));
    header->length = payload;
    header->opcode = bytes[0] & OPCODE;
    header->fin = bytes[0] & FIN;
    header->compressed = bytes[0] & RSV1;
    return (int)size;
}

int ws_header_read(const char *bytes, size_t length, bool deflate,
                   struct ws_header *header) {
    return read_header((const unsigned char *)bytes, length, deflate, header);
}

uint8_t ws_header_write(char *head, enum ws_opcode opcode, bool compressed,
                        uint64_t length) {
    head[0] = (char)(FIN | (compressed ? RSV1 : 0) | (int)opcode);
    uint8_t extended = length > UINT16_MAX ? 8 : length >= LENGTH16 ? 2 : 0;
    head[1] = (char)(extended == 8 ? LENGTH64 : extended == 2 ? LENGTH16 : (int)length);
    for (int i = 1 + extended; i > 1; i--, length >>= 8) {
        head[i] = (char)(length & 0xff);
    }
    return (uint8_t)(2 + extended);
}

/* Sixteen bytes that the machine takes at once. */
typedef uint64_t wide __attribute__((vector_size(16)));

static inline void unmask_wide(char *bytes, uint64_t mask) {
    wide word;
    memcpy(&word, bytes, sizeof(word));
    word ^= mask;
    memcpy(bytes, &word, sizeof(word));
}

uint32_t ws_unmask(char *bytes, size_t length, uint32_t mask) {
    uint64_t twice = (uint64_t)mask << 32 | mask;
    size_t i = 0;
    for (; length - i >= 64; i += 64) {
        unmask_wide(bytes + i, twice);
        unmask_wide(bytes + i + 16, twice);
        unmask_wide(bytes + i + 32, twice);
        unmask_wide(bytes + i + 48, twice);
    }
    for (; length - i >= sizeof(twice); i += sizeof(twice)) {
        uint64_t word;
        memcpy(&word, bytes + i, sizeof(word));
        word ^= twice;
        memcpy(bytes + i, &word, sizeof(word));
    }
    unsigned char key[4];
    memcpy(key, &mask, sizeof(key));
    size_t rest = length - i;
    for (size_t n = 0; n < rest; n++) {
        bytes[i + n] = (char)(bytes[i + n] ^ key[n % 4]);
    }
    return ws_mask_after(mask, rest);
}

uint32_t ws_mask_after(uint32_t mask, size_t length) {
    uint32_t bits = 8 * (length % 4);
    uint32_t bytes = htobe32(mask); /* the first is the highest */
    return be32toh(bytes << bits | bytes >> (-bits & 31));
}

bool ws_code_valid(uint32_t code) {
    if (code >= 3000 && code <= 4999) {
        return true;
    }
    bool reserved = code == 1004 || code == WS_NO_CODE || code == 1006;
    return code >= WS_NORMAL && code <= 1014 && !reserved;
}
