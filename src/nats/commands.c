/* commands.c: see commands.h. */
#include "commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topic.h"

enum {
    FRAME_MOST = 4 * 1024 * 1024,    /* no command is longer */
    SUBSCRIPTIONS_MOST = 1024 * 1024 /* their numbers are below */
};

static void do_subscribe(struct link *link, uint32_t number, const char *subject) {
    if (number >= SUBSCRIPTIONS_MOST) {
        return;
    }
    if (number >= link->subscription_count) {
        uint32_t count = link->subscription_count ? link->subscription_count : 64;
        while (count <= number) {
            count *= 2;
        }
        natsSubscription **grown =
            realloc(link->subscriptions, count * sizeof(natsSubscription *));
        if (!grown) {
            link_tell_text(link, 'E', "no memory for a subscription");
            return;
        }
        memset(grown + link->subscription_count, 0,
               (count - link->subscription_count) * sizeof(natsSubscription *));
        link->subscriptions = grown;
        link->subscription_count = count;
    }
    if (!link->subscriptions[number]) {
        link->subscriptions[number] = topic_subscribe(link, subject);
    }
}

static void do_unsubscribe(struct link *link, uint32_t number) {
    if (number < link->subscription_count) {
        natsSubscription_Destroy(link->subscriptions[number]);
        link->subscriptions[number] = NULL;
    }
}

/* Takes a text that ends in NUL off the bytes, or returns NULL. */
static const char *take_text(const char **bytes, size_t *length) {
    const char *text = *bytes;
    const char *end = memchr(text, 0, *length);
    if (!end) {
        return NULL;
    }
    *length -= (size_t)(end + 1 - text);
    *bytes = end + 1;
    return text;
}

static natsStatus add_headers(natsMsg *message, const char **bytes, size_t *length) {
    while (true) {
        const char *name = take_text(bytes, length);
        if (!name) {
            return NATS_INVALID_ARG;
        }
        if (!*name) {
            return NATS_OK;
        }
        const char *value = take_text(bytes, length);
        natsStatus status =
            value ? natsMsgHeader_Set(message, name, value) : NATS_INVALID_ARG;
        if (status != NATS_OK) {
            return status;
        }
    }
}

static natsStatus request(struct link *link, uint32_t number, const char *subject,
                          const char *bytes, size_t length) {
    char reply[sizeof(link->inbox) + 16];
    snprintf(reply, sizeof(reply), "%s%u", link->inbox, (unsigned)number);
    /* A message copies what it's made of; the headers stand before its bytes. */
    const char *body = bytes;
    size_t body_length = length;
    for (const char *name; (name = take_text(&body, &body_length)) && *name;) {
        take_text(&body, &body_length);
    }
    natsMsg *message = NULL;
    natsStatus status = natsMsg_Create(&message, subject, reply, body, (int)body_length);
    if (status == NATS_OK) {
        status = add_headers(message, &bytes, &length);
    }
    if (status == NATS_OK) {
        status = natsConnection_PublishMsg(link->connection, message);
    }
    natsMsg_Destroy(message);
    return status;
}

static void do_request(struct link *link, uint32_t number, const char *subject,
                       const char *bytes, size_t length) {
    natsStatus status = request(link, number, subject, bytes, length);
    if (status != NATS_OK && status != NATS_CONNECTION_CLOSED) {
        const char *why = natsStatus_GetText(status);
        link_tell(link, 'R', number, "400", 3, why, strlen(why));
    }
}

static void do_publish(struct link *link, const char *subject, const char *bytes,
                       size_t length) {
    if (natsConnection_Publish(link->connection, subject, bytes, (int)length) !=
        NATS_OK) {
        link_count_lost(link, 1);
    }
}

/* Does one command; the bytes are those behind its number. */
static void do_command(struct link *link, char type, uint32_t number, const char *bytes,
                       size_t length) {
    if (type == 'U') {
        do_unsubscribe(link, number);
        return;
    }
    const char *subject = take_text(&bytes, &length);
    if (!subject || !link->connection) {
        return;
    }
    if (type == 'P') {
        do_publish(link, subject, bytes, length);
    } else if (type == 'R') {
        do_request(link, number, subject, bytes, length);
    } else if (type == 'S') {
        do_subscribe(link, number, subject);
    }
}

bool commands_do(struct link *link) {
    struct buffer *commands = &link->commands;
    size_t done = 0;
    while (commands->used - done >= FRAME_HEAD) {
        const char *frame = commands->bytes + done;
        size_t size = get32(frame);
        if (size < FRAME_HEAD - 4 || size > FRAME_MOST) {
            return false;
        }
        if (commands->used - done - 4 < size) {
            break;
        }
        do_command(link, frame[4], get32(frame + 5), frame + FRAME_HEAD,
                   size + 4 - FRAME_HEAD);
        done += size + 4;
    }
    commands->used -= done;
    memmove(commands->bytes, commands->bytes + done, commands->used);
    if (commands->used == 0) {
        buffer_clear(commands);
    }
    return true;
}
