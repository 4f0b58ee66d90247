/* topic.h: subscriptions, and what comes of them. */
#pragma once

#include "link.h"

/* Subscribes; messages become frames. Returns NULL when there is no connection any more,
 * or no memory. */
natsSubscription *topic_subscribe(struct link *link, const char *subject);

/* Subscribes to the answers to requests. */
bool topic_listen_for_answers(struct link *link);
