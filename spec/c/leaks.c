/* leaks.c: a thousand clients come and go in every way there is; valgrind looks on. */
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "server.h"
#include "test.h"

enum { CLIENTS = 1000, TOGETHER = 50 };

static uint32_t slots[TOGETHER];
static uint32_t slot_count;

static void handle(struct server *server, const struct sync_event *event) {
    static const char large[3000] = "";
    switch (event->type) {
    case SYNC_CONNECT:
        slots[slot_count++ % TOGETHER] = event->id;
        sync_send(server->sync, event->id, "hello", 5);
        sync_timer_start(server->sync, event->id % 3, event->id % 2);
        break;
    case SYNC_DATA:
        sync_send_many(server->sync, slots, TOGETHER, event->id, event->data,
                       event->length);
        sync_send_many(server->sync, slots, TOGETHER, 0, large, sizeof(large));
        break;
    case SYNC_TIMER:
        if (event->id % 4 == 0) {
            sync_timer_stop(server->sync, event->id);
        }
        break;
    default: break;
    }
}

static void come_and_go(struct server *server, uint32_t port, uint32_t first) {
    int fds[TOGETHER];
    uint32_t connected = server_saw(server, SYNC_CONNECT, 0);
    for (uint32_t i = 0; i < TOGETHER; i++) {
        fds[i] = client_connect(port);
        CHECK(fds[i] >= 0);
        CHECK(client_send(fds[i], "a line\nand a begun one", i % 3 ? 22 : 7));
    }
    WAIT(server, server_saw(server, SYNC_CONNECT, 0) == connected + TOGETHER);
    for (uint32_t i = 0; i < TOGETHER; i++) {
        switch ((first + i) % 5) {
        case 0: sync_end(server->sync, slots[i], 0, "", 0); break;
        case 1: sync_abort(server->sync, slots[i]); break;
        case 2:
            client_reset(fds[i]);
            fds[i] = -1;
            break;
        case 3: client_shut(fds[i]); break;
        default: break;
        }
        if (i % 10 == 0) {
            server_tick(server, false);
        }
    }
    for (uint32_t i = 0; i < TOGETHER; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
}

TEST(leaks_of_a_thousand_clients) {
    struct server server;
    server_open(&server);
    server.handle = handle;
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    options.idle_timeout = 60000;
    options.first_timeout = 60000;
    options.close_timeout = 1000;
    options.max_queue = 64 * 1024;
    options.high_water = 1024;
    uint32_t port = server_listen(&server, &options);
    for (uint32_t first = 0; first < CLIENTS; first += TOGETHER) {
        come_and_go(&server, port, first);
    }
    WAIT(&server, server_saw(&server, SYNC_CLOSE, 0) == CLIENTS);
    server_close(&server);
}

TEST(leaks_of_a_core_that_is_closed_in_the_middle_of_everything) {
    struct server server;
    int fds[TOGETHER];
    server_open(&server);
    server.handle = handle;
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    options.idle_timeout = 60000;
    uint32_t port = server_listen(&server, &options);
    server_memory(&server, &options, 0);
    sync_signal_start(server.sync, 12, 0);
    sync_resolve(server.sync, "localhost");
    for (uint32_t i = 0; i < TOGETHER; i++) {
        fds[i] = client_connect_slow(port, 4096);
        CHECK(client_send(fds[i], "a line\nand a begun one", 22));
    }
    sync_memory_connect(server.sync, 2);
    WAIT(&server, server_saw(&server, SYNC_DATA, 0) > TOGETHER / 2);
    sync_end(server.sync, 1, 0, "", 0);
    sync_abort(server.sync, 2);
    server_close(&server);
    for (uint32_t i = 0; i < TOGETHER; i++) {
        close(fds[i]);
    }
}
