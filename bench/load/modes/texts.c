/* texts.c: requests and answers that are texts. What one read brought is answered with
 * one write. */
#include <stdlib.h>
#include <string.h>

#include "texts.h"

static char *queued;
static size_t queued_length, queued_room;
static const struct loop_of_texts *looped;

void texts_queue(const char *text, size_t length) {
    size_t needed = queued_length + length + WIRE_FRAME_MOST;
    if (needed > queued_room) {
        queued_room = 2 * needed;
        queued = need(realloc(queued, queued_room));
    }
    queued_length += wire_frame(queued + queued_length, text, length);
}

void texts_flush(struct link *link) {
    if (queued_length > 0) {
        link_send(link, queued, queued_length);
        queued_length = 0;
    }
}

void texts_received(struct link *link, char *bytes, size_t count,
                    void (*came)(struct link *link, const char *text, size_t length)) {
    struct part part;
    while (link_cut(link, &bytes, &count, &part)) {
        if (link_gather(link, &part, TEXT_MOST)) {
            came(link, part.bytes, part.length);
        }
    }
}

void texts_stalled(void) {
    fail("no answer for %g s", plan.patience);
}

void texts_send(struct link *link, unsigned count, const struct loop_of_texts *texts) {
    char text[TEXT_MOST];
    while (count-- > 0) {
        texts_queue(text, texts->request(text, link->index, link->sent++));
    }
    texts_flush(link);
}

void texts_check(struct link *link, const char *text, size_t length,
                 const struct loop_of_texts *texts) {
    if (link->received == link->sent ||
        !texts->check(text, length, link->index, link->received)) {
        fail("connection %d, answer %u is wrong: %.*s", link->index, link->received,
             (int)length, text);
    }
    link->received++;
}

static void came(struct link *link, const char *text, size_t length) {
    texts_check(link, text, length, looped);
    tally.count += tally.on;
}

void texts_loop(struct link *link, char *bytes, size_t count, int64_t now) {
    (void)now;
    texts_received(link, bytes, count, came);
    texts_send(link, link->received + (unsigned)plan.depth - link->sent, looped);
}

void texts_begin(const struct loop_of_texts *texts) {
    looped = texts;
    links_open(plan.connections);
    for (int i = 0; i < plan.connections; i++) {
        texts_send(&links[i], (unsigned)plan.depth, texts);
    }
}
