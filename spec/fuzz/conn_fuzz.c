/* conn_fuzz.c: a core whose clients do whatever the input says.
 *
 * Memory connections are fed, read, sent to and closed in any order, under limits of a
 * few bytes. Whatever happens, the core keeps its word: no event of a slot before its
 * SYNC_CONNECT or after its SYNC_CLOSE, no message over max_message, no more of a client
 * in a tick than its share, no queue over max_queue, and what a client takes is what it
 * was sent.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "conn/calls.h"
#include "conn/codec.h"
#include "fuzz.h"
#include "sync.h"

enum { SLOTS = 8, MOST_QUEUE = 4096, MOST_ACTIONS = 2000, TICK_WORK = 1024 };

struct client {
    bool connected; /* between SYNC_CONNECT and SYNC_CLOSE */
    bool lossy;     /* aborted or overflowed: what it takes isn't compared any more */
    uint32_t framing;
    size_t max_message;
    size_t max_queue;
    bool counts_calls;
    size_t work;             /* of the tick, by its messages */
    char wanted[MOST_QUEUE]; /* what it was sent and hasn't taken */
    size_t length;
    double messages; /* bytes of its messages */
    double fed;
};

static struct sync *core;
static struct client clients[SLOTS + 1];
static struct sync_options options;
static uint32_t listener;
static char noise[1024];

static void forget(struct client *client) {
    *client = (struct client){.connected = false};
}

static void look_at(const struct sync_event *event) {
    FUZZ_REQUIRE(event->id <= SLOTS);
    struct client *client = &clients[event->id];
    switch (event->type) {
    case SYNC_CONNECT:
        FUZZ_REQUIRE(!client->connected);
        FUZZ_REQUIRE(event->value == listener);
        client->connected = true;
        break;
    case SYNC_DATA:
        FUZZ_REQUIRE(client->connected);
        FUZZ_REQUIRE(event->length <= client->max_message);
        client->messages += event->length;
        FUZZ_REQUIRE(client->work < TICK_WORK);
        client->work += event->length / 128;
        client->work +=
            client->counts_calls ? calls_count(event->data, event->length) : 1;
        FUZZ_REQUIRE(client->messages <= client->fed);
        for (uint32_t i = 0; i < event->length; i++) {
            noise[i % sizeof(noise)] ^= event->data[i]; /* every byte is readable */
        }
        break;
    case SYNC_CLOSE:
        FUZZ_REQUIRE(client->connected);
        FUZZ_REQUIRE(event->value >= SYNC_BY_SERVER && event->value <= SYNC_NO_MEMORY);
        client->connected = false;
        break;
    case SYNC_DRAIN:
    case SYNC_OVERFLOW: FUZZ_REQUIRE(client->connected); break;
    default: FUZZ_REQUIRE(false);
    }
}

static void tick(void) {
    int32_t count = sync_poll(core, 0);
    for (uint32_t slot = 1; slot <= SLOTS; slot++) {
        clients[slot].work = 0;
    }
    FUZZ_REQUIRE(count >= -1);
    FUZZ_REQUIRE(core->event_count == (uint32_t)(count < 0 ? 0 : count));
    for (int32_t i = 0; i < count; i++) {
        look_at(&core->events[i]);
    }
}

static void connect_one(struct input *input) {
    if (core->client_count >= SLOTS) {
        return;
    }
    uint32_t old = listener;
    if (listener == 0 || input_byte(input) % 4 == 0) {
        uint32_t framing = input_below(input, CODEC_COUNT);
        uint8_t how = input_byte(input);
        options = (struct sync_options){
            .framing = framing,
            .overflow = how % 2,
            .counts_calls = how / 2 % 2,
            .max_message = input_below(input, 300),
            .max_queue = input_below(input, MOST_QUEUE),
            .high_water = input_below(input, MOST_QUEUE),
            .max_clients = SLOTS,
            .idle_timeout = input_byte(input) % 2 ? 100000 : 0,
            .first_timeout = input_byte(input) % 2 ? 100000 : 0,
            .close_timeout = input_byte(input) % 2 ? 100000 : 0,
        };
        if (old) {
            tick(); /* the old one's SYNC_CONNECTs name it */
            sync_listener_close(core, old);
        }
        int32_t id = sync_listen(core, "memory:", 0, &options);
        FUZZ_REQUIRE(id > 0);
        listener = (uint32_t)id;
    }
    int32_t slot = sync_memory_connect(core, listener);
    FUZZ_REQUIRE(slot >= 1 && slot <= SLOTS);
    struct client *client = &clients[slot];
    FUZZ_REQUIRE(!client->connected);
    forget(client);
    client->framing = options.framing;
    client->max_message = options.max_message;
    client->counts_calls = options.counts_calls;
    client->max_queue = options.max_queue;
}

/* What the framing makes of a message goes to what the client will take. */
static void expect(struct client *client, const char *bytes, size_t length) {
    struct frame frame;
    codecs[client->framing].frame(length, &frame);
    size_t total = frame.head_length + length + frame.tail_length;
    FUZZ_REQUIRE(client->lossy || client->length + total <= client->max_queue);
    if (client->lossy) {
        return;
    }
    char *end = client->wanted + client->length;
    memcpy(end, frame.head, frame.head_length);
    memcpy(end + frame.head_length, bytes, length);
    memcpy(end + frame.head_length + length, frame.tail, frame.tail_length);
    client->length += total;
}

static void send_one(uint32_t slot, uint32_t length) {
    struct client *client = &clients[slot];
    int32_t result = sync_send(core, slot, noise, length);
    if (result == SYNC_SENT || result == SYNC_FULL) {
        expect(client, noise, length);
    } else {
        FUZZ_REQUIRE(result == SYNC_DROPPED || result == SYNC_CLOSED ||
                     result == SYNC_TOO_LONG);
        client->lossy |= result == SYNC_CLOSED; /* or its queue is gone */
    }
}

static void send_all(struct input *input, uint32_t length) {
    uint32_t slots[SLOTS + 4];
    uint32_t except = input_below(input, SLOTS + 2);
    uint32_t before[SLOTS + 1];
    for (uint32_t slot = 1; slot <= SLOTS; slot++) {
        slots[slot - 1] = input_byte(input) % 4 ? slot : 0;
        before[slot] = sync_queued(core, slot);
    }
    uint32_t sent = sync_send_many(core, slots, SLOTS, except, noise, length);
    FUZZ_REQUIRE(sent <= SLOTS);
    uint32_t grown = 0;
    for (uint32_t slot = 1; slot <= SLOTS; slot++) {
        uint32_t queued = sync_queued(core, slot);
        bool named = slots[slot - 1] == slot && slot != except;
        FUZZ_REQUIRE(named || queued == before[slot]);
        if (queued > before[slot]) {
            expect(&clients[slot], noise, length);
            grown++;
        } else if (queued < before[slot]) {
            clients[slot].lossy = true; /* overflow closed it */
        }
    }
    FUZZ_REQUIRE(grown <= sent); /* an empty raw message grows nothing */
}

static void take(uint32_t slot, uint32_t size) {
    char bytes[MOST_QUEUE];
    struct client *client = &clients[slot];
    uint32_t taken = sync_memory_take(core, slot, bytes, size);
    FUZZ_REQUIRE(taken <= size);
    if (!client->lossy) {
        FUZZ_REQUIRE(taken == (size < client->length ? size : client->length));
        FUZZ_REQUIRE(memcmp(bytes, client->wanted, taken) == 0);
        client->length -= taken;
        memmove(client->wanted, client->wanted + taken, client->length);
    }
}

static void feed(struct input *input, uint32_t slot) {
    uint32_t length = input_below(input, 400);
    uint32_t most = (uint32_t)(input->length < length ? input->length : length);
    uint32_t taken = sync_memory_feed(core, slot, (const char *)input->bytes, most);
    FUZZ_REQUIRE(taken <= most);
    clients[slot].fed += taken;
    input->bytes += taken;
    input->length -= taken;
}

static void act(struct input *input) {
    uint8_t what = input_byte(input);
    uint32_t slot = 1 + what / 16 % SLOTS;
    switch (what % 16) {
    case 0: connect_one(input); break;
    case 1:
    case 2: tick(); break;
    case 3: sync_flush(core); break;
    case 4: send_one(slot, input_below(input, sizeof(noise))); break;
    case 5: send_one(slot, input_byte(input)); break;
    case 6: send_all(input, input_below(input, sizeof(noise))); break;
    case 7: take(slot, input_below(input, MOST_QUEUE)); break;
    case 8: take(slot, input_byte(input)); break;
    case 9:
        if (input_byte(input) % 4 == 0) {
            sync_end(core, slot, 0, "", 0);
        }
        break;
    case 10:
        if (input_byte(input) % 4 == 0) {
            sync_abort(core, slot);
            clients[slot].lossy = true;
            FUZZ_REQUIRE(sync_send(core, slot, "x", 1) == SYNC_CLOSED);
        }
        break;
    case 11:
        if (input_byte(input) % 4 == 0) {
            sync_memory_end(core, slot);
        }
        break;
    case 12:
        if (input_byte(input) % 8 == 0) {
            sync_trim(core);
        }
        break;
    default: feed(input, slot);
    }
    for (uint32_t i = 1; i <= SLOTS; i++) {
        uint32_t queued = sync_queued(core, i);
        FUZZ_REQUIRE(queued <= clients[i].max_queue);
        FUZZ_REQUIRE(clients[i].lossy || queued == clients[i].length);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    struct input input = {bytes, length};
    core = sync_open();
    FUZZ_REQUIRE(core != NULL);
    memset(clients, 0, sizeof(clients));
    memset(noise, 'n', sizeof(noise));
    listener = 0;
    connect_one(&input);
    for (int i = 0; i < MOST_ACTIONS && input.length > 0; i++) {
        act(&input);
    }
    sync_flush(core);
    tick();
    tick();
    sync_close(core);
    return 0;
}
