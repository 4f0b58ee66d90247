/* socket_fuzz.c: a client with a socket that writes, reads and ends as the input says.
 *
 * Whatever it has done, and whatever it is owed, a server for which nothing happens
 * sleeps: no event of the socket is told of again and again.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "sync.h"

enum { MOST_ACTIONS = 100, MUCH = 64 * 1024, QUIET = 3 /* ms */, MOST_TURNS = 50 };

static struct sync *core;
static uint32_t slot; /* of the connection, or 0 */
static bool asked;    /* its request waits for an answer */
static bool rang;
static char much[MUCH];

static void look_at(const struct sync_event *event) {
    switch (event->type) {
    case SYNC_REQUEST: asked = true; break;
    case SYNC_TIMER: rang = true; break;
    case SYNC_CLOSE: asked = false; break;
    default: break;
    }
}

static void tick(bool block) {
    int32_t count = sync_poll(core, block);
    for (int32_t i = 0; i < count; i++) {
        look_at(&core->events[i]);
    }
    sync_flush(core);
}

static void open_client(struct input *input, int fds[2]) {
    uint8_t kinds = input_byte(input);
    struct sync_options options = {
        .framing = input_below(input, 5),
        .transports = kinds % 16 ? kinds % 16 : (uint32_t)SYNC_STREAMS,
        .max_message = 300,
        .max_queue = 64 * MUCH,
        .high_water = kinds & 16 ? MUCH : 32 * MUCH,
        .max_clients = 1,
        .max_head = 1000,
        .max_headers = 10,
        .max_body = 100,
        .message_interval = kinds & 32 ? 100000000 : 0,
        .message_burst = 2,
        .flood = SYNC_FLOOD_PAUSE,
        .close_timeout = 100000,
    };
    int32_t listener = sync_listen(core, "memory:", 0, &options);
    FUZZ_REQUIRE(listener > 0);
    FUZZ_REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    FUZZ_REQUIRE(fcntl(fds[1], F_SETFL, O_NONBLOCK) == 0);
    int32_t adopted = sync_adopt(core, (uint32_t)listener, fds[0]);
    FUZZ_REQUIRE(adopted > 0);
    slot = (uint32_t)adopted;
}

/* Half of what a client may say is too unlikely to be found by chance. */
static void write_some(struct input *input, int fd) {
    static const char get[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    static const char upgrade[] = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
                                  "Connection: Upgrade\r\n\r\n";
    uint8_t what = input_byte(input);
    if (what % 8 == 0) {
        send(fd, get, sizeof(get) - 1, MSG_NOSIGNAL);
    } else if (what % 8 == 1) {
        send(fd, upgrade, sizeof(upgrade) - 1, MSG_NOSIGNAL);
    } else {
        size_t length = input->length < what ? input->length : what;
        send(fd, input->bytes, length, MSG_NOSIGNAL);
        input->bytes += length;
        input->length -= length;
    }
}

static void answer(struct input *input) {
    uint8_t how = input_byte(input);
    struct sync_websocket settings = {.mode = how & 2};
    if (!asked) {
        sync_send(core, slot, much, how & 1 ? sizeof(much) : 10);
    } else if (how % 4 == 0) {
        asked = sync_upgrade(core, slot, "101\r\n", 5, &settings) != SYNC_SENT;
    } else {
        asked = sync_respond(core, slot, much, sizeof(much), how & 1) != SYNC_SENT;
    }
}

/* Lets what is under way come to its end; then there is nothing to do. */
static void be_quiet(void) {
    for (int i = 0; i < 20; i++) {
        tick(false);
    }
    int32_t id = sync_timer_start(core, QUIET, 0);
    FUZZ_REQUIRE(id > 0);
    rang = false;
    int turns = 0;
    while (!rang) {
        tick(true);
        FUZZ_REQUIRE(++turns < MOST_TURNS);
    }
}

static void act(struct input *input, int fd) {
    char bytes[4096];
    switch (input_byte(input) % 12) {
    case 0:
    case 1:
    case 2: write_some(input, fd); break;
    case 3: shutdown(fd, SHUT_WR); break;
    case 4: recv(fd, bytes, sizeof(bytes), 0); break;
    case 5:
    case 6: answer(input); break;
    case 7: sync_end(core, slot, 0, "", 0); break;
    case 8: be_quiet(); break;
    case 9:
        if (input_byte(input) % 4 == 0) {
            shutdown(fd, SHUT_RDWR);
        }
        break;
    default: tick(false);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    struct input input = {bytes, length};
    int fds[2];
    core = sync_open();
    FUZZ_REQUIRE(core != NULL);
    memset(much, 'm', sizeof(much));
    asked = false;
    open_client(&input, fds);
    for (int i = 0; i < MOST_ACTIONS && input.length > 0; i++) {
        act(&input, fds[1]);
    }
    be_quiet();
    close(fds[1]);
    be_quiet();
    sync_close(core);
    return 0;
}
