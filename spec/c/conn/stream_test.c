/* stream_test.c: large messages arrive exact, and floods starve nobody. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "server.h"
#include "test.h"

/* What a client sees of a large message, reading slowly. */
struct reader {
    int fd;
    size_t wanted;
    size_t length;
    bool exact;
};

static char pattern(size_t i) {
    return (char)(i * 2654435761u >> 13);
}

static void *read_slowly(void *context) {
    struct reader *reader = context;
    static char bytes[3000];
    reader->exact = true;
    while (reader->length < reader->wanted) {
        ssize_t got = read(reader->fd, bytes, 1 + reader->length % sizeof(bytes));
        if (got <= 0) {
            break;
        }
        for (ssize_t i = 0; i < got; i++, reader->length++) {
            reader->exact &= bytes[i] == pattern(reader->length);
        }
    }
    return NULL;
}

TEST(stream_large_messages_arrive_exact_through_a_slow_reader) {
    enum { LENGTH = 3 * 1000 * 1000, COUNT = 3 };
    struct server server;
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_RAW);
    options.max_queue = 4 * LENGTH;
    options.high_water = LENGTH;
    uint32_t port = server_listen(&server, &options);
    struct reader reader = {.fd = client_connect_slow(port, 8192),
                            .wanted = COUNT * (size_t)LENGTH};
    REQUIRE(reader.fd >= 0);
    WAIT(&server, server_saw(&server, SYNC_CONNECT, 1) == 1);
    char *bytes = malloc(COUNT * (size_t)LENGTH);
    REQUIRE(bytes);
    for (size_t i = 0; i < COUNT * (size_t)LENGTH; i++) {
        bytes[i] = pattern(i);
    }
    /* By copy, shared, and in small messages. */
    uint32_t slot = 1;
    sync_send(server.sync, 1, bytes, LENGTH);
    CHECK_INT(sync_send_many(server.sync, &slot, 1, 0, bytes + LENGTH, LENGTH), 1);
    for (size_t at = 2 * LENGTH; at < COUNT * (size_t)LENGTH; at += 1000) {
        sync_send(server.sync, 1, bytes + at, 1000);
    }
    CHECK(sync_queued(server.sync, 1) > LENGTH);
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, read_slowly, &reader) == 0);
    WAIT(&server, server_saw(&server, SYNC_DRAIN, 1) >= 1);
    sync_end(server.sync, 1, 0, "", 0);
    WAIT(&server, server_close_reason(&server, 1) == SYNC_BY_SERVER);
    pthread_join(thread, NULL);
    CHECK_INT(reader.length, reader.wanted);
    CHECK(reader.exact);
    CHECK_INT((int64_t)server.sync->bytes_out, reader.wanted);
    close(reader.fd);
    free(bytes);
    server_close(&server);
}

TEST(stream_large_messages_come_in_exact) {
    enum { LENGTH = 3 * 1000 * 1000 };
    struct server server;
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_LENGTH32);
    options.max_message = LENGTH;
    uint32_t port = server_listen(&server, &options);
    int fd = client_connect(port);
    REQUIRE(fd >= 0);
    char *bytes = malloc(LENGTH + 4);
    REQUIRE(bytes);
    bytes[0] = 0;
    bytes[1] = (char)(LENGTH >> 16);
    bytes[2] = (char)(LENGTH >> 8 & 0xff);
    bytes[3] = (char)(LENGTH & 0xff);
    for (size_t i = 0; i < LENGTH; i++) {
        bytes[4 + i] = pattern(i);
    }
    size_t sent = 0;
    while (sent < LENGTH + 4) {
        ssize_t part = send(fd, bytes + sent, LENGTH + 4 - sent, MSG_DONTWAIT);
        sent += part > 0 ? (size_t)part : 0;
        server_tick(&server, false);
    }
    WAIT(&server, server_saw(&server, SYNC_DATA, 1) == 1);
    size_t length;
    const char *text = server_messages(&server, 1, 0, &length);
    CHECK_BYTES(text, length, bytes + 4, LENGTH);
    free(bytes);
    close(fd);
    server_close(&server);
}

/* Writes as much as the kernel takes, so that the client always has more to say. */
static void flood(int fd, const char *bytes, size_t length) {
    while (send(fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
    }
}

/* Clients that say as much as they can, and one that says a word. */
static void check_quiet_one_is_heard(uint32_t framing, size_t message) {
    enum { LOUD = 40 };
    struct server server;
    int fds[LOUD];
    static char bytes[64 * 1024];
    server_open(&server);
    struct sync_options options = server_options(framing);
    uint32_t port = server_listen(&server, &options);
    memset(bytes, 'x', sizeof(bytes));
    for (size_t i = message; i < sizeof(bytes); i += message + 1) {
        bytes[i] = '\n';
    }
    bytes[sizeof(bytes) - 1] = '\n';
    for (int i = 0; i < LOUD; i++) {
        fds[i] = client_connect(port);
        REQUIRE(fds[i] >= 0);
        int small = 256 * 1024;
        setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    }
    int quiet = client_connect(port);
    WAIT(&server, server_saw(&server, SYNC_CONNECT, 0) == LOUD + 1);
    uint32_t heard = 0;
    uint32_t spoken = 0;
    for (uint32_t tick = 0; tick < 60; tick++) {
        for (int i = 0; i < LOUD; i++) {
            flood(fds[i], bytes, sizeof(bytes));
        }
        if (tick == 10) {
            CHECK(client_send(quiet, "me\n", 3));
            spoken = server.ticks;
        }
        server_tick(&server, true);
        if (!heard && server_saw(&server, SYNC_DATA, LOUD + 1)) {
            heard = server.ticks;
        }
        if (tick < 10 || heard) {
            size_t kept = 0; /* the flood needn't be remembered */
            for (size_t i = 0; i < server.count; i++) {
                kept += server.seen[i].type == SYNC_CLOSE;
            }
            CHECK_INT(kept, 0);
            server_forget(&server);
        }
        if (heard) {
            break;
        }
    }
    CHECK(heard > 0);
    /* Threads wake it for less, so its ticks are shorter. */
    CHECK(heard - spoken <= (sync_io_threads() > 0 ? 40 : 10));
    for (int i = 0; i < LOUD; i++) {
        close(fds[i]);
    }
    close(quiet);
    server_close(&server);
}

TEST(stream_quiet_client_is_heard_among_floods_of_small_messages) {
    check_quiet_one_is_heard(SYNC_FRAMING_LINE, 1);
}

TEST(stream_quiet_client_is_heard_among_floods_of_medium_messages) {
    check_quiet_one_is_heard(SYNC_FRAMING_LINE, 1000);
}

TEST(stream_quiet_client_is_heard_among_floods_of_chunks) {
    check_quiet_one_is_heard(SYNC_FRAMING_RAW, 1000);
}

TEST(stream_reads_at_most_64_kib_of_a_client_a_tick) {
    struct server server;
    static char bytes[64 * 1024];
    server_open(&server);
    struct sync_options options = server_options(SYNC_FRAMING_RAW);
    int fd = client_connect(server_listen(&server, &options));
    REQUIRE(fd >= 0);
    WAIT(&server, server_saw(&server, SYNC_CONNECT, 0) == 1);
    for (int i = 0; i < 10; i++) {
        flood(fd, bytes, sizeof(bytes));
        double before = server.sync->bytes_in;
        for (int tick = 0; tick < 100 && server.sync->bytes_in == before; tick++) {
            server_tick(&server, true); /* a thread may not have any yet */
        }
        CHECK(server.sync->bytes_in > before);
        CHECK(server.sync->bytes_in - before <= 64 * 1024);
    }
    close(fd);
    server_close(&server);
}
