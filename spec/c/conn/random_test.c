/* random_test.c: 100,000 random inputs to each framing: no crash, no message that is too
 * long, and no memory more than before. (Under check-c it also finds what leaks.) */
#include <malloc.h>
#include <string.h>

#include "conn/codec.h"
#include "server.h"
#include "test.h"

enum { INPUTS = 100000, LONGEST = 70000, MESSAGE = 300 };

static char input[LONGEST];

/* Lengths of every size, short ones most often; bytes that often end a message. */
static uint32_t random_input(void) {
    uint32_t length = test_random(1u << (4 + test_random(test_random(100) ? 7 : 13)));
    length = length < LONGEST ? length : LONGEST;
    for (uint32_t i = 0; i < length; i++) {
        uint32_t kind = test_random(8);
        input[i] = (char)(kind == 0 ? 0 : kind == 1 ? '\n' : (int)test_random(256));
    }
    return length;
}

/* Feeds one client, answers what it says, and lets it end or breaks it off. */
static bool feed_one(struct sync *sync, uint32_t listener) {
    int32_t slot = sync_memory_connect(sync, listener);
    uint32_t length = random_input();
    uint32_t fed = 0;
    uint32_t way = test_random(3);
    bool open = slot > 0;
    while (open) {
        int32_t count = sync_poll(sync, 0);
        for (int32_t i = 0; i < count; i++) {
            struct sync_event event = sync->events[i];
            if (event.type == SYNC_DATA) {
                if (event.length > MESSAGE) {
                    return false;
                }
                sync_send(sync, event.id, event.data, event.length);
            }
            open = event.type != SYNC_CLOSE;
        }
        sync_flush(sync);
        fed += sync_memory_feed(sync, (uint32_t)slot, input + fed, length - fed);
        char answer[4096];
        while (sync_memory_take(sync, (uint32_t)slot, answer, sizeof(answer)) > 0) {
        }
        if (fed == length && way == 0) {
            sync_abort(sync, (uint32_t)slot);
        } else if (fed == length && way == 1) {
            sync_end(sync, (uint32_t)slot, 0, "", 0);
        } else if (fed == length) {
            sync_memory_end(sync, (uint32_t)slot);
        }
    }
    sync_poll(sync, 0);
    return slot > 0 && sync->client_count == 0;
}

static size_t memory_in_use(struct sync *sync) {
    sync_trim(sync);
    sync_poll(sync, 0);
    return mallinfo2().uordblks;
}

static void feed_framing(uint32_t framing) {
    struct sync *sync = sync_open();
    REQUIRE(sync);
    struct sync_options options = server_options(framing);
    options.max_message = MESSAGE;
    int32_t listener = sync_listen(sync, "memory:", 0, &options);
    REQUIRE(listener > 0);
    size_t before = 0;
    bool right = true;
    for (int i = 0; i < INPUTS && right; i++) {
        right = feed_one(sync, (uint32_t)listener);
        if (i == INPUTS / 10) {
            before = memory_in_use(sync);
        }
    }
    CHECK(right);
    CHECK(memory_in_use(sync) <= before);
    sync_close(sync);
}

TEST(random_bytes_do_no_harm_in_any_framing) {
    for (uint32_t framing = 0; framing < CODEC_COUNT; framing++) {
        feed_framing(framing);
    }
}
