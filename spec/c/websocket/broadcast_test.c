/* broadcast_test.c: what is sent to many reaches each as if it had been sent alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "server.h"
#include "test.h"

enum { CLIENTS = 12, LONGEST = 900, KEPT = 1 << 20, ROUNDS = 3000 };

/* What each client should have got, and has. */
struct crowd {
    struct server server;
    char *wanted[CLIENTS + 1];
    size_t length[CLIENTS + 1];
    size_t taken[CLIENTS + 1];
};

static void expect(struct crowd *crowd, uint32_t slot, const char *bytes, size_t length) {
    char *to = crowd->wanted[slot] + crowd->length[slot];
    REQUIRE(crowd->length[slot] + length + 1 <= KEPT);
    memcpy(to, bytes, length);
    to[length] = '\n';
    crowd->length[slot] += length + 1;
}

/* Takes a part of what a client was sent, or all. */
static void take(struct crowd *crowd, uint32_t slot, uint32_t most) {
    static char bytes[KEPT];
    uint32_t count = server_take(&crowd->server, slot, bytes, most);
    const char *wanted = crowd->wanted[slot] + crowd->taken[slot];
    size_t left = crowd->length[slot] - crowd->taken[slot];
    CHECK_BYTES(bytes, count, wanted, count < left ? count : left);
    crowd->taken[slot] += count;
}

static size_t make_message(char *bytes) {
    size_t length = test_random(test_random(4) ? 80 : LONGEST);
    for (size_t i = 0; i < length; i++) {
        bytes[i] = (char)('a' + test_random(26));
    }
    return length;
}

static void broadcast(struct crowd *crowd, const char *bytes, size_t length) {
    uint32_t slots[CLIENTS];
    uint32_t first = test_random(3) ? 1 : 1 + test_random(CLIENTS);
    uint32_t except = test_random(3) ? 0 : 1 + test_random(CLIENTS);
    uint32_t count = 0;
    uint32_t wanted = 0;
    for (uint32_t slot = first; slot <= CLIENTS; slot++) {
        slots[count++] = slot;
        if (slot != except) {
            expect(crowd, slot, bytes, length);
            wanted++;
        }
    }
    uint32_t sent =
        sync_send_many(crowd->server.sync, slots, count, except, bytes, length);
    CHECK_INT(sent, wanted);
}

TEST(broadcast_messages_keep_their_order_beside_all_that_is_sent_alone) {
    static struct crowd crowd;
    crowd = (struct crowd){0};
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    server_open(&crowd.server);
    server_memory(&crowd.server, &options, CLIENTS);
    for (uint32_t slot = 1; slot <= CLIENTS; slot++) {
        crowd.wanted[slot] = malloc(KEPT);
        REQUIRE(crowd.wanted[slot]);
    }
    double out = crowd.server.sync->messages_out;
    double sent = 0;
    for (int round = 0; round < ROUNDS; round++) {
        char bytes[LONGEST];
        size_t length = make_message(bytes);
        uint32_t slot = 1 + test_random(CLIENTS);
        size_t before = 0;
        for (uint32_t i = 1; i <= CLIENTS; i++) {
            before += crowd.length[i];
        }
        switch (test_random(12)) {
        case 0: take(&crowd, slot, test_random(2000)); break;
        case 1: take(&crowd, slot, KEPT); break;
        case 2: server_tick(&crowd.server, false); break;
        case 3:
        case 4:
            expect(&crowd, slot, bytes, length);
            CHECK(sync_send(crowd.server.sync, slot, bytes, length) <= SYNC_FULL);
            break;
        default: broadcast(&crowd, bytes, length);
        }
        size_t after = 0;
        for (uint32_t i = 1; i <= CLIENTS; i++) {
            after += crowd.length[i];
        }
        sent += length + 1 > 0 ? (double)(after - before) / (double)(length + 1) : 0;
    }
    CHECK_INT((int64_t)(crowd.server.sync->messages_out - out), (int64_t)(sent + 0.5));
    for (uint32_t slot = 1; slot <= CLIENTS; slot++) {
        take(&crowd, slot, KEPT);
        CHECK_INT(crowd.taken[slot], crowd.length[slot]);
        free(crowd.wanted[slot]);
    }
    server_close(&crowd.server);
}

TEST(broadcast_stops_at_each_clients_own_bounds) {
    struct server server;
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    options.max_queue = 100;
    options.high_water = 50;
    options.overflow = SYNC_OVERFLOW_DROP;
    server_open(&server);
    server_memory(&server, &options, 2);
    const uint32_t slots[] = {1, 2};
    char bytes[200];
    for (int i = 0; i < 5; i++) {
        CHECK_INT(sync_send_many(server.sync, slots, 2, 0, "123456789", 9), 2);
    }
    CHECK_INT(sync_send(server.sync, 1, "12345678901234567890123456789", 29), SYNC_FULL);
    CHECK_INT(sync_send_many(server.sync, slots, 2, 0, "123456789", 9), 2);
    CHECK_INT(sync_send_many(server.sync, slots, 2, 0, "123456789", 9), 2);
    CHECK_INT(sync_send_many(server.sync, slots, 2, 0, "123456789", 9), 1);
    CHECK_INT(sync_queued(server.sync, 1), 100);
    CHECK_INT(server_take(&server, 2, bytes, sizeof(bytes)), 80);
    sync_abort(server.sync, 1);
    CHECK_INT(sync_send_many(server.sync, slots, 2, 0, "a", 1), 1);
    CHECK_INT(server_take(&server, 2, bytes, sizeof(bytes)), 2);
    server_close(&server);
}

/* Connects a client that says something, and tells its slot. */
static int arrive(struct server *server, uint32_t port, uint32_t number, uint32_t *slot) {
    int fd = client_connect(port);
    CHECK(fd >= 0 && client_send(fd, "\n", 1));
    WAIT(server, server_saw(server, SYNC_DATA, 0) == number);
    *slot = server->seen[server->count - 1].id;
    return fd;
}

/* One that doesn't read is sent copies: it would keep what others have long got. */
TEST(broadcast_to_who_does_not_read_keeps_no_memory_of_those_who_do) {
    enum { QUEUE = 16 * 1024 * 1024, EACH = 500, MESSAGES = 400 * EACH };
    struct server server;
    struct sync_options options = server_options(SYNC_FRAMING_LINE);
    options.max_queue = options.high_water = QUEUE;
    server_open(&server);
    uint32_t port = server_listen(&server, &options);
    uint32_t slots[2];
    int slow = arrive(&server, port, 1, &slots[0]);
    int fast = arrive(&server, port, 2, &slots[1]);
    static char text[64 * 1024];
    memset(text, 'x', sizeof(text));
    while (!sync_is_behind(server.sync, slots[0])) {
        REQUIRE(sync_send(server.sync, slots[0], text, sizeof(text)) == SYNC_SENT);
        server_tick(&server, false);
    }
    double before = sync_memory_used();
    for (int i = 0; i < MESSAGES; i++) {
        /* What the slow one is sent lies in another run each time. */
        int to_both = i % EACH == 0;
        sync_send_many(server.sync, slots + 1 - to_both, 1U + (uint32_t)to_both, 0, text,
                       63);
        if (i % 50 == 0) {
            server_tick(&server, false);
            while (recv(fast, text, sizeof(text), MSG_DONTWAIT) > 0) {
            }
        }
    }
    CHECK(sync_memory_used() - before < 1024.0 * 1024);
    close(slow);
    close(fast);
    server_close(&server);
}
