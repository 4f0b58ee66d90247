/* guard.c: networks that are never connected to. */
#include "fetch/guard.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

int guard_read(struct guard *guard, const char *const *networks, uint32_t count) {
    guard->networks = NULL;
    if (count == 0) {
        return 0;
    }
    struct network *list = calloc(count, sizeof(*list));
    if (!list) {
        return UV_ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (network_read(&list[i], networks[i]) < 0) {
            free(list);
            return UV_EINVAL;
        }
        list[i].next = i + 1 < count ? &list[i + 1] : NULL;
    }
    guard->networks = list;
    return 0;
}

void guard_free(struct guard *guard) {
    free(guard->networks);
    guard->networks = NULL;
}

/* Where in an IPv6 address the IPv4 one is that it stands for; -1: nowhere. */
static int embedded(const uint8_t *bytes) {
    static const uint8_t compatible[12] = {0};
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    static const uint8_t translated[12] = {[8] = 0xff, [9] = 0xff};
    if (memcmp(bytes, compatible, 12) == 0 || memcmp(bytes, nat64, 12) == 0 ||
        memcmp(bytes, translated, 12) == 0) {
        return 12;
    }
    return bytes[0] == 0x20 && bytes[1] == 0x02 ? 2 : -1; /* 6to4 */
}

bool guard_forbids(const struct guard *guard, const struct sockaddr *address) {
    if (!guard->networks) {
        return false;
    }
    if (address->sa_family != AF_INET && address->sa_family != AF_INET6) {
        return true;
    }
    if (network_has(guard->networks, address)) {
        return true;
    }
    if (address->sa_family == AF_INET) {
        return false;
    }
    const uint8_t *bytes =
        (const uint8_t *)&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    int offset = embedded(bytes);
    if (offset < 0) {
        return false;
    }
    struct sockaddr_in inner = {.sin_family = AF_INET};
    memcpy(&inner.sin_addr, bytes + offset, 4);
    return network_has(guard->networks, (const struct sockaddr *)&inner);
}

bool guard_forbids_text(const struct guard *guard, const char *text) {
    struct sockaddr_storage address = {0};
    if (!guard->networks) {
        return false;
    }
    return network_address(text, &address) < 0 ||
           guard_forbids(guard, (const struct sockaddr *)&address);
}
