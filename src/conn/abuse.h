/* abuse.h: what an address does too often, and what it is shut out for: see peers.h and
 * bans.h. */
#pragma once

#include "conn/conn.h"

/* Whether an address is shut out. Proxies never are. */
bool abuse_is_banned(const struct service *service, const struct sockaddr *address);

/* Counts something that an address does. Returns false when it is more than it may. */
bool abuse_allows(const struct service *service, struct peer *peer, enum peer_act act);

/* Closes the connections of a network. Returns how many. */
uint32_t abuse_kick(struct core *core, const struct network *network);
