/* proxy.c: whose a proxy's connection is. */
#include "listen/proxy.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "conn/abuse.h"
#include "conn/conn.h"
#include "listen/listener.h"
#include "net/network.h"

enum {
    V1_MOST = 107, /* bytes of a header, its line's end included */
    V2_HEAD = 16,
    V2_MOST = 4096 /* with what is behind the addresses; it's passed over */
};

static const char v1_begin[] = "PROXY ";
static const char v2_begin[] = "\r\n\r\n\0\r\nQUIT\n";

static bool begins(const char *bytes, size_t length, const char *whole, size_t size) {
    return memcmp(bytes, whole, length < size ? length : size) == 0;
}

static void set_port(struct sockaddr_storage *address, uint16_t port) {
    if (address->ss_family == AF_INET) {
        ((struct sockaddr_in *)(void *)address)->sin_port = htons(port);
    } else {
        ((struct sockaddr_in6 *)(void *)address)->sin6_port = htons(port);
    }
}

/* "PROXY TCP4 SOURCE DESTINATION PORT PORT", without its end. Returns whether it's one.
 */
static bool read_line(const char *line, struct sockaddr_storage *address) {
    char kind[8], source[64], destination[64], rest;
    unsigned from, to;
    if (strcmp(line, "PROXY UNKNOWN") == 0 || strncmp(line, "PROXY UNKNOWN ", 14) == 0) {
        return true;
    }
    if (sscanf(line, "PROXY %7s %63s %63s %5u %5u%c", kind, source, destination, &from,
               &to, &rest) != 5 ||
        from > UINT16_MAX || to > UINT16_MAX || network_address(source, address) < 0) {
        return false;
    }
    set_port(address, (uint16_t)from);
    return strcmp(kind, address->ss_family == AF_INET ? "TCP4" : "TCP6") == 0;
}

static ssize_t read_v1(const char *bytes, size_t length,
                       struct sockaddr_storage *address) {
    char line[V1_MOST];
    const char *end = memchr(bytes, '\n', length < V1_MOST ? length : V1_MOST);
    if (!end) {
        return length < V1_MOST ? PROXY_MORE : PROXY_BAD;
    }
    size_t size = (size_t)(end - bytes);
    if (end[-1] != '\r' || memchr(bytes, '\0', size)) {
        return PROXY_BAD;
    }
    memcpy(line, bytes, size - 1);
    line[size - 1] = '\0';
    return read_line(line, address) ? (ssize_t)size + 1 : PROXY_BAD;
}

/* The addresses of version 2: family and transport in one byte. */
static bool read_block(uint8_t family, const uint8_t *block, size_t length,
                       struct sockaddr_storage *address) {
    if (family == 0x11 && length >= 12) {
        struct sockaddr_in *in = (struct sockaddr_in *)(void *)address;
        in->sin_family = AF_INET;
        memcpy(&in->sin_addr, block, 4);
        memcpy(&in->sin_port, block + 8, 2);
    } else if (family == 0x21 && length >= 36) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)address;
        in6->sin6_family = AF_INET6;
        memcpy(&in6->sin6_addr, block, 16);
        memcpy(&in6->sin6_port, block + 32, 2);
    } else {
        return family != 0x11 && family != 0x21; /* it names nobody */
    }
    return true;
}

static ssize_t read_v2(const char *bytes, size_t length,
                       struct sockaddr_storage *address) {
    const uint8_t *head = (const uint8_t *)bytes;
    if (length < V2_HEAD) {
        return PROXY_MORE;
    }
    size_t block = (size_t)head[14] << 8 | head[15];
    bool is_local = head[12] == 0x20; /* the proxy itself, as for checks of health */
    if ((!is_local && head[12] != 0x21) || V2_HEAD + block > V2_MOST) {
        return PROXY_BAD;
    }
    if (length < V2_HEAD + block) {
        return PROXY_MORE;
    }
    bool good = is_local || read_block(head[13], head + V2_HEAD, block, address);
    return good ? (ssize_t)(V2_HEAD + block) : PROXY_BAD;
}

ssize_t proxy_read(const char *bytes, size_t length, struct sockaddr_storage *address) {
    *address = (struct sockaddr_storage){.ss_family = AF_UNSPEC};
    if (begins(bytes, length, v1_begin, sizeof(v1_begin) - 1)) {
        return length < sizeof(v1_begin) - 1 ? PROXY_MORE
                                             : read_v1(bytes, length, address);
    }
    if (begins(bytes, length, v2_begin, sizeof(v2_begin) - 1)) {
        return read_v2(bytes, length, address);
    }
    return 0;
}

int proxy_forward(struct conn *conn, const struct sockaddr *address) {
    struct peers *peers = &conn->core->peers;
    uint64_t now = uv_now(&conn->core->loop) * 1000;
    struct peer *before = conn->peer;
    conn->peer = peers_enter(peers, address, now);
    peers_leave(peers, before, now);
    conn_keep_peer(conn, address);
    uint32_t most = conn_options(conn)->max_per_address;
    if (conn->peer && most > 0 && conn->peer->count > most) {
        return UV_EMFILE;
    }
    if (abuse_is_banned(conn->service, address)) {
        conn->core->public.clients_banned++;
        return UV_EACCES;
    }
    bool is_new = conn->peer != before;
    return is_new && !abuse_allows(conn->service, conn->peer, PEER_CONNECTS) ? UV_EAGAIN
                                                                             : 0;
}
