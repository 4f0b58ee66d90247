/* crowd.h: what the modes share in which some clients send and all get: whole messages,
 * from each sender in order, none missing and none twice. */
#pragma once

#include "../load.h"

/* How a server wants its messages, which it gives to all as they came. */
struct dialect {
    const char *before, *after;
    bool greets; /* Engine.IO's and Socket.IO's handshakes come first */
};

/* Called for each message that reached a link, as it was due. */
typedef void crowd_delivered(struct link *link, unsigned sender, unsigned number,
                             int64_t now);

void crowd_prepare(const struct dialect *wanted, crowd_delivered *called);
/* Opens all links, and sends probes until one has reached everybody: connected isn't
 * accepted, and servers may still tell each other who is there. */
void crowd_open(void);
/* The sender's next message. */
void crowd_send(struct link *sender);
void crowd_received(struct link *link, char *bytes, size_t count, int64_t now);
/* Whether that link has all that was sent. */
bool crowd_has_all(const struct link *link);
/* Nothing has come for long: names a message that is missing. */
void crowd_stalled(void);
