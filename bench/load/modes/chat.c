/* chat.c: connection 0 says, those of its team and near its level hear. A member's first
 * message joins the room. A saying is complete when all have heard it who should; then
 * the next leaves. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "texts.h"

enum { RANGE = 45, TEAMS = 5, LEVELS = 100 };

static unsigned hearers;
static unsigned *unheard; /* by number, of the messages in flight */
static unsigned complete; /* sayings whose successors have not left */

static bool hears(int index) {
    int distance = index * 37 % LEVELS;
    return index % TEAMS == 0 && distance <= RANGE;
}

static size_t request(char *text, int index, unsigned number) {
    if (number == 0) {
        return (size_t)snprintf(text, TEXT_MOST, "join %d %d", index % TEAMS,
                                index * 37 % LEVELS);
    }
    unheard[number % (unsigned)plan.depth] = hearers;
    return (size_t)snprintf(
        text, TEXT_MOST, "%010u attack from the left, I cover you from the hill", number);
}

static bool is_joined(const char *text, size_t length) {
    return length == 6 && memcmp(text, "joined", 6) == 0;
}

static bool check(const char *text, size_t length, int index, unsigned number) {
    char expected[TEXT_MOST];
    if (number == 0) {
        return is_joined(text, length);
    }
    int wanted =
        snprintf(expected, sizeof(expected),
                 "%010u attack from the left, I cover you from the hill", number);
    return hears(index) && number < links[0].sent && length == (size_t)wanted &&
           memcmp(text, expected, length) == 0;
}

static const struct loop_of_texts texts = {request, check};

static void came(struct link *link, const char *text, size_t length) {
    unsigned number = link->received;
    if (number > 0) {
        link->sent = links[0].sent; /* what one says, all hear */
    }
    texts_check(link, text, length, &texts);
    if (number > 0 && --unheard[number % (unsigned)plan.depth] == 0) {
        complete++;
    }
}

static void received(struct link *link, char *bytes, size_t count, int64_t now) {
    (void)now;
    texts_received(link, bytes, count, came);
}

static int64_t say(int64_t now) {
    (void)now;
    tally.count += tally.on ? complete : 0;
    texts_send(&links[0], complete, &texts);
    complete = 0;
    return -1;
}

static void begin(void) {
    unheard = need(calloc((size_t)plan.depth, sizeof(*unheard)));
    links_open(plan.connections);
    for (int i = 0; i < plan.connections; i++) {
        hearers += hears(i);
        texts_send(&links[i], 1, &texts);
        while (links[i].received == 0 && !interrupted) {
            if (loop_turn((int64_t)(plan.patience * 1e9)) == 0) {
                texts_stalled();
            }
        }
    }
    complete = (unsigned)plan.depth;
}

const struct mode mode_chat = {
    .name = "chat",
    .help = "closed loop: one says, 20 of 200 hear (-c 200)",
    .unit = "messages",
    .run = loop_run,
    .begin = begin,
    .due = say,
    .received = received,
    .stalled = texts_stalled,
};
