/* walk.c: an echo of sentences, as games send them: 63 bytes, of which the middle and the
 * end change from one to the next. */
#include <stdio.h>
#include <string.h>

#include "texts.h"

static size_t request(char *text, int index, unsigned number) {
    return (size_t)snprintf(
        text, TEXT_MOST, "player %05d walks to %05u, %05u at speed of 1.50 %010u", index,
        number * 7919 % 65536, number * 104729 % 65536, number);
}

static bool check(const char *text, size_t length, int index, unsigned number) {
    char expected[TEXT_MOST];
    return length == request(expected, index, number) &&
           memcmp(text, expected, length) == 0;
}

static void begin(void) {
    static const struct loop_of_texts texts = {request, check};
    texts_begin(&texts);
}

const struct mode mode_walk = {
    .name = "walk",
    .help = "closed loop of sentences, which the server echoes",
    .unit = "messages",
    .run = loop_run,
    .begin = begin,
    .received = texts_loop,
    .stalled = texts_stalled,
};
