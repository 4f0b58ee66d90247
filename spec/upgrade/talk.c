/* talk.c: what clients say, and whether what they hear is that, in order.
 *
 *     NUMBER COUNT words     comes back to the one who has said so
 *     R NUMBER COUNT         is told to all of a room of each ROOM_EACHth of these
 *     S COUNT PLACE letters  is what one who reads slowly has asked for by "more"
 */
#include <stdio.h>
#include <string.h>

#include "load.h"

struct tally tally;

#define CALL  "{\"jsonrpc\":\"2.0\",\"method\":\"say\",\"params\":[\""
#define SAID  "{\"jsonrpc\":\"2.0\",\"method\":\"onSay\",\"params\":[\""
#define TOLD  "{\"jsonrpc\":\"2.0\",\"method\":\"onRoom\",\"params\":[\""
#define TOKEN "\"token\":\""

uint32_t talk_rooms(void) {
    return count < ROOM_MEMBERS ? 1 : (uint32_t)count / ROOM_MEMBERS;
}

static size_t message(char *text, const struct client *client, uint32_t number) {
    int length =
        sprintf(text, "%u %u the same words again and again", client->number, number);
    for (uint32_t i = 0; i < 20 + number * 7 % 100; i++) {
        text[length++] = (char)('a' + (number + i * (client->number + 3)) % 26);
    }
    text[length] = '\0';
    return (size_t)length;
}

void talk_next(struct client *client, uint64_t now) {
    char text[1024];
    char call[1280];
    if (client->rest_length > 0) {
        wire_say_rest(client);
        client->due += EVERY_US - PART_US;
        return;
    }
    size_t length = message(text, client, ++client->sent);
    bool in_parts = client->kind != STREAM;
    client->times[client->sent % RING] = now + (in_parts ? PART_US : 0);
    client->due += in_parts ? PART_US : EVERY_US;
    if (client->kind == SESSION) {
        length = (size_t)sprintf(call, CALL "%s\"]}", text);
    }
    wire_say(client, client->kind == SESSION ? call : text, length, in_parts);
}

void talk_flood(struct client *client) {
    char text[64];
    client->flooded = 0;
    int length = sprintf(text, "more %u %u", client->number, ++client->floods);
    wire_say(client, text, (size_t)length, false);
}

void talk_resume(struct client *client) {
    char text[256];
    int length =
        sprintf(text,
                "{\"jsonrpc\":\"2.0\",\"id\":\"resume\",\"method\":\"sync.resume\","
                "\"params\":[\"%s\",%u]}",
                client->token, client->received);
    client->phase = RESUMING;
    wire_say(client, text, (size_t)length, false);
}

static void say_wrong(struct client *client, const char *wanted, const char *text,
                      size_t length) {
    char what[200];
    snprintf(what, sizeof(what), "wanted %.60s, got %.*s", wanted,
             (int)(length < 90 ? length : 90), text);
    fail(client, what);
}

static void hear_own(struct client *client, const char *text, size_t length) {
    char wanted[1024];
    uint32_t number = client->seen + 1;
    size_t size = message(wanted, client, number);
    if (size != length || memcmp(text, wanted, size) != 0) {
        say_wrong(client, wanted, text, length);
    }
    client->seen = number;
    tally.received++;
    uint64_t now = now_us();
    uint64_t sent = client->times[number % RING];
    uint64_t took = now > sent ? now - sent : 0;
    tally.longest = took > tally.longest ? took : tally.longest;
    tally.latencies[took / 1000 < 4095 ? took / 1000 : 4095]++;
}

static void hear_room(struct client *client, const char *text, size_t length) {
    char wanted[64];
    char copy[64] = {0};
    unsigned number = 0;
    unsigned said = 0;
    memcpy(copy, text, length < sizeof(copy) ? length : sizeof(copy) - 1);
    sscanf(copy, "R %u %u", &number, &said);
    uint32_t place = number / talk_rooms();
    if (place >= PEERS) {
        say_wrong(client, "one of its room", text, length);
        return;
    }
    int size = sprintf(wanted, "R %u %u", number, client->heard[place] + ROOM_EACH);
    if ((size_t)size != length || memcmp(text, wanted, length) != 0) {
        say_wrong(client, wanted, text, length);
    }
    client->heard[place] = said;
    tally.told++;
}

static void hear_flood(struct client *client, const char *text, size_t length) {
    static char wanted[FLOOD_BYTES + 64];
    int size = sprintf(wanted, "S %u %u ", client->floods, client->flooded + 1);
    memset(wanted + size, 'a' + (int)((client->floods + client->flooded + 1) % 26),
           FLOOD_BYTES);
    if ((size_t)size + FLOOD_BYTES != length || memcmp(text, wanted, length) != 0) {
        say_wrong(client, wanted, text, length);
    }
    client->flooded++;
    tally.flooded++;
}

/* Returns the text of an event that counts, or NULL. */
static const char *unwrap(struct client *client, const char *text, size_t *length) {
    if (memmem(text, *length, "\"sync.session\"", 14)) {
        const char *token = memmem(text, *length, TOKEN, strlen(TOKEN));
        if (token && client->phase == OPEN) {
            sscanf(token + strlen(TOKEN), "%63[^\"]", client->token);
            client->received = 0;
        }
        return NULL;
    }
    if (client->phase == RESUMING) {
        if (memmem(text, *length, "\"id\":\"resume\"", 13)) {
            if (!memmem(text, *length, "\"resumed\":true", 14)) {
                say_wrong(client, "resumed", text, *length);
            }
            client->phase = OPEN;
            client->resumed++;
            tally.resumed++;
        }
        return NULL;
    }
    client->received++;
    const char *event = memmem(text, *length, "onSay", 5) ? SAID : TOLD;
    size_t head = strlen(event);
    if (*length < head + 3 || memcmp(text, event, head) != 0) {
        say_wrong(client, event, text, *length);
        return NULL;
    }
    *length -= head + 3;
    return text + head;
}

void talk_hear(struct client *client, const char *text, size_t length) {
    text = client->kind == SESSION ? unwrap(client, text, &length) : text;
    if (!text) {
        return;
    }
    switch (length > 0 ? text[0] : 0) {
    case 'R': hear_room(client, text, length); break;
    case 'S': hear_flood(client, text, length); break;
    default: hear_own(client, text, length);
    }
}

static bool share_room(const struct client *a, const struct client *b) {
    return (a->kind == SESSION) == (b->kind == SESSION) && !b->slow &&
           a->number % talk_rooms() == b->number % talk_rooms();
}

uint64_t talk_lost(const struct client *client) {
    uint64_t lost = client->sent - client->seen + (client->rest_length > 0);
    lost += client->floods > 0 ? FLOOD - client->flooded : 0;
    for (uint32_t i = client->number % talk_rooms(); i <= (uint32_t)count;
         i += talk_rooms()) {
        if (i > 0 && share_room(client, &clients[i - 1])) {
            uint32_t told = clients[i - 1].sent / ROOM_EACH * ROOM_EACH;
            lost += (told - client->heard[i / talk_rooms()]) / ROOM_EACH;
        }
    }
    return lost;
}
