/* topic.c: see topic.h. libnats calls the on_… from threads of its own. */
#include "topic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of an answer. The program takes no longer frame; a message of 1 MiB is told in
 * base64, in JSON. */
enum { ANSWER_MOST = 2 * 1024 * 1024 };

/* What the messages of one subscription come with. */
struct topic {
    struct link *link;
    int64_t dropped; /* by libnats, as far as they are counted */
};

static void count_dropped(struct topic *topic, natsSubscription *subscription) {
    int64_t dropped = 0;
    if (natsSubscription_GetDropped(subscription, &dropped) == NATS_OK &&
        dropped > topic->dropped) {
        link_count_lost(topic->link, (uint32_t)(dropped - topic->dropped));
        topic->dropped = dropped;
    }
}

static void on_message(natsConnection *connection, natsSubscription *subscription,
                       natsMsg *message, void *closure) {
    (void)connection;
    struct topic *topic = closure;
    const char *subject = natsMsg_GetSubject(message);
    size_t length = strlen(subject);
    link_tell(topic->link, 'M', (uint32_t)length, subject, length,
              natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message));
    if (atomic_load_explicit(&topic->link->slow, memory_order_relaxed)) {
        count_dropped(topic, subscription);
    }
    natsMsg_Destroy(message);
}

/* No message of a subscription will follow. */
static void on_complete(void *closure) {
    struct topic *topic = closure;
    link_release(topic->link);
    free(topic);
}

static void on_answer(natsConnection *connection, natsSubscription *subscription,
                      natsMsg *message, void *closure) {
    (void)connection;
    (void)subscription;
    struct topic *topic = closure;
    const char *number = strrchr(natsMsg_GetSubject(message), '.') + 1;
    const char *status = NULL;
    if (natsMsgHeader_Get(message, "Status", &status) != NATS_OK || strlen(status) < 3) {
        status = "000";
    }
    size_t length = (size_t)natsMsg_GetDataLength(message);
    if (length > ANSWER_MOST) {
        status = "413";
        length = 0;
    }
    link_tell(topic->link, 'R', (uint32_t)strtoul(number, NULL, 10), status, 3,
              natsMsg_GetData(message), length);
    natsMsg_Destroy(message);
}

static natsSubscription *subscribe(struct link *link, const char *subject,
                                   natsMsgHandler handler) {
    struct topic *topic = calloc(1, sizeof(*topic));
    if (!topic) {
        return NULL;
    }
    topic->link = link;
    natsSubscription *subscription = NULL;
    if (natsConnection_Subscribe(&subscription, link->connection, subject, handler,
                                 topic) != NATS_OK) {
        free(topic);
        return NULL;
    }
    atomic_fetch_add(&link->references, 1);
    natsSubscription_SetPendingLimits(subscription, (int)link->options.pending_limit,
                                      (int)link->options.most_waiting);
    /* This fails when the connection was lost since the lines above. Messages may be on
     * their way then, and nobody tells when the last has come: the topic stays. */
    natsSubscription_SetOnCompleteCB(subscription, on_complete, topic);
    return subscription;
}

natsSubscription *topic_subscribe(struct link *link, const char *subject) {
    return subscribe(link, subject, on_message);
}

/* The subject of answers: nobody else can guess it. */
bool topic_listen_for_answers(struct link *link) {
    natsInbox *inbox = NULL;
    if (natsInbox_Create(&inbox) != NATS_OK) {
        return false;
    }
    char subject[sizeof(link->inbox) + 1];
    snprintf(link->inbox, sizeof(link->inbox), "%s.", inbox);
    snprintf(subject, sizeof(subject), "%s*", link->inbox);
    natsInbox_Destroy(inbox);
    link->answers = subscribe(link, subject, on_answer);
    return link->answers != NULL;
}
