/* abuse.c: what an address does too often. */
#include "conn/abuse.h"

#include <netinet/in.h>
#include <string.h>

bool abuse_is_banned(const struct service *service, const struct sockaddr *address) {
    struct core *core = service->core;
    return core->bans.count > 0 && bans_has(&core->bans, address, uv_now(&core->loop)) &&
           !network_has(service->proxies, address);
}

bool abuse_allows(const struct service *service, struct peer *peer, enum peer_act act) {
    struct core *core = service->core;
    uint64_t now = uv_now(&core->loop) * 1000;
    if (!peer || peers_act(&core->peers, peer, act, &service->options, now)) {
        return true;
    }
    if (peer->owes) {
        peer->service = service->id;
        core->noted = true;
        core_wake(core);
    }
    return false;
}

static bool is_of(const struct conn *conn, const struct network *network) {
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (conn->kind != SYNC_TRANSPORT_TCP && !conn->forwarded) {
        return false;
    }
    memcpy(&in.sin_addr, conn->address, sizeof(in.sin_addr));
    memcpy(&in6.sin6_addr, conn->address, sizeof(in6.sin6_addr));
    return conn->ipv6 ? network_has(network, (const struct sockaddr *)&in6)
                      : network_has(network, (const struct sockaddr *)&in);
}

uint32_t abuse_kick(struct core *core, const struct network *network) {
    uint32_t count = 0;
    for (uint32_t slot = 1; slot < core->conns.used; slot++) {
        struct conn *conn = table_get(&core->conns, slot);
        if (conn && conn_is_open(conn) && !conn->service->trusted_host &&
            is_of(conn, network)) {
            conn_abort(conn, SYNC_BANNED, true);
            count++;
        }
    }
    return count;
}
