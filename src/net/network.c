/* network.c: blocks of addresses. */
#include "net/network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { MAPPED = 96 /* bits in front of an IPv4 address */ };

int network_address(const char *text, struct sockaddr_storage *address) {
    if (uv_ip4_addr(text, 0, (struct sockaddr_in *)(void *)address) == 0) {
        return 0;
    }
    return uv_ip6_addr(text, 0, (struct sockaddr_in6 *)(void *)address);
}

bool network_bytes(const struct sockaddr *address, uint8_t *bytes) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (address->sa_family == AF_INET) {
        memcpy(bytes, mapped, sizeof(mapped));
        memcpy(bytes + 12, &((const struct sockaddr_in *)(const void *)address)->sin_addr,
               4);
        return true;
    }
    if (address->sa_family == AF_INET6) {
        memcpy(bytes, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr,
               16);
        return true;
    }
    return false;
}

/* Returns the bits that a block's text ends in, at most `most`, or -1. */
static int read_bits(const char *text, int most) {
    char *end;
    if (*text < '0' || *text > '9') {
        return -1;
    }
    long bits = strtol(text, &end, 10);
    return *end == '\0' && bits <= most ? (int)bits : -1;
}

int network_read(struct network *network, const char *text) {
    char name[64];
    struct sockaddr_storage address = {0};
    *network = (struct network){.is_unix = strcmp(text, "unix") == 0};
    size_t length = strcspn(text, "/");
    if (network->is_unix) {
        return 0;
    }
    if (length >= sizeof(name)) {
        return UV_EINVAL;
    }
    memcpy(name, text, length);
    name[length] = '\0';
    if (network_address(name, &address) < 0 ||
        !network_bytes((const struct sockaddr *)&address, network->bytes)) {
        return UV_EINVAL;
    }
    bool ipv4 = address.ss_family == AF_INET;
    int most = ipv4 ? 32 : 128;
    int bits = text[length] ? read_bits(text + length + 1, most) : most;
    network->bits = (uint8_t)(bits + (ipv4 ? MAPPED : 0));
    return bits < 0 ? UV_EINVAL : 0;
}

static bool begins_alike(const uint8_t *one, const uint8_t *other, uint32_t bits) {
    uint32_t whole = bits / 8;
    uint32_t rest = bits % 8;
    return memcmp(one, other, whole) == 0 &&
           (rest == 0 || (one[whole] ^ other[whole]) >> (8 - rest) == 0);
}

bool network_has(const struct network *list, const struct sockaddr *address) {
    uint8_t bytes[16];
    bool has_bytes = network_bytes(address, bytes);
    for (; list; list = list->next) {
        if (list->is_unix ? address->sa_family == AF_UNIX
                          : has_bytes && begins_alike(list->bytes, bytes, list->bits)) {
            return true;
        }
    }
    return false;
}

void network_mask(uint8_t *bytes, uint32_t bits) {
    for (uint32_t i = 0; i < NETWORK_BYTES; i++) {
        uint32_t kept = bits > 8 * i ? bits - 8 * i : 0;
        if (kept < 8) {
            bytes[i] = (uint8_t)(bytes[i] & 0xff00 >> kept);
        }
    }
}

void network_name(const struct network *network, char *text, size_t size) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    uint8_t bytes[NETWORK_BYTES];
    memcpy(bytes, network->bytes, sizeof(bytes));
    network_mask(bytes, network->bits);
    bool ipv4 = network->bits >= MAPPED && memcmp(bytes, mapped, sizeof(mapped)) == 0;
    int whole = ipv4 ? 32 : 128;
    int bits = network->bits - (ipv4 ? MAPPED : 0);
    if (network->is_unix) {
        snprintf(text, size, "unix");
        return;
    }
    inet_ntop(ipv4 ? AF_INET : AF_INET6, bytes + (ipv4 ? 12 : 0), text, (socklen_t)size);
    size_t length = strlen(text);
    if (bits < whole) {
        snprintf(text + length, size - length, "/%d", bits);
    }
}
