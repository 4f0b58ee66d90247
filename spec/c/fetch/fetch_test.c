/* fetch_test.c: requests of HTTP to others, whose server is the test. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server.h"
#include "test.h"
/* It follows sync.h, as the text of the FFI does. */
#include "fetch/fetch.h"

static const char *const networks[] = {"127.0.0.0/8", "169.254.0.0/16", "::1/128"};

/* A peer: what listens, and the connection that was accepted last. */
struct peer {
    int listener;
    int fd;
    bool asked;
    char url[64];
};

static bool begin(struct server *server, struct peer *peer) {
    char message[256];
    if (sync_fetch_load(message, sizeof(message)) < 0) {
        test_skip(message);
        return false;
    }
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    peer->fd = -1;
    peer->asked = false;
    peer->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    server_open(server);
    if (!CHECK_INT(bind(peer->listener, (struct sockaddr *)&address, size), 0) ||
        !CHECK_INT(listen(peer->listener, 8), 0)) {
        return false;
    }
    getsockname(peer->listener, (struct sockaddr *)&address, &size);
    snprintf(peer->url, sizeof(peer->url), "http://127.0.0.1:%d/",
             ntohs(address.sin_port));
    return true;
}

static void finish(struct server *server, struct peer *peer) {
    server_close(server);
    close(peer->fd);
    close(peer->listener);
}

static struct sync_fetch_options options_of(const struct peer *peer) {
    return (struct sync_fetch_options){.url = peer->url,
                                       .method = "GET",
                                       .proxy = "",
                                       .most_head = 1000,
                                       .most_body = 10000,
                                       .connect_limit = 10000,
                                       .idle_limit = 10000,
                                       .total_limit = 20000};
}

/* Whether a request has come. */
static bool was_asked(struct peer *peer) {
    char bytes[4096];
    if (peer->fd < 0) {
        peer->fd = accept4(peer->listener, NULL, NULL, SOCK_NONBLOCK);
    }
    peer->asked = peer->asked || (peer->fd >= 0 &&
                                  recv(peer->fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0);
    return peer->asked;
}

static void say(struct peer *peer, const char *text) {
    CHECK_INT(send(peer->fd, text, strlen(text), MSG_NOSIGNAL), (int64_t)strlen(text));
}

static struct sync_fetch *asked(struct server *server, struct peer *peer,
                                const struct sync_fetch_options *options) {
    struct sync_fetch *fetch = sync_fetch_start(server->sync, options);
    if (CHECK(fetch)) {
        WAIT(server, was_asked(peer));
    }
    return fetch;
}

TEST(fetch_gets_an_answer_and_tells_of_it) {
    struct server server;
    struct peer peer;
    if (!begin(&server, &peer)) {
        return;
    }
    struct sync_fetch_options options = options_of(&peer);
    struct sync_fetch *fetch = asked(&server, &peer, &options);
    REQUIRE(fetch);
    CHECK_INT(fetch->state, SYNC_FETCH_ASKS);
    say(&peer,
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel");
    WAIT(&server, fetch->state == SYNC_FETCH_BODY);
    CHECK_INT(fetch->status, 200);
    CHECK_INT(fetch->version, 11);
    CHECK_BYTES(fetch->head, fetch->head_length,
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 38);
    say(&peer, "lo");
    WAIT(&server, fetch->state == SYNC_FETCH_ENDED);
    CHECK_INT(fetch->problem, SYNC_FETCH_NONE);
    CHECK_BYTES(fetch->body, fetch->body_length, "hello", 5);
    CHECK(server_saw(&server, SYNC_WATCH, fetch->id) >= 2);
    CHECK_INT(sync_fetch_end(fetch), 0);
    CHECK_INT(sync_poll(server.sync, 1), -1); /* what is kept keeps nothing alive */
    finish(&server, &peer);
}

TEST(fetch_lets_the_peer_wait_for_who_takes_pieces) {
    struct server server;
    struct peer peer;
    if (!begin(&server, &peer)) {
        return;
    }
    enum { PIECE = 16384, PIECES = 2048 };
    static char piece[PIECE];
    struct sync_fetch_options options = options_of(&peer);
    options.flags = SYNC_FETCH_STREAMS;
    struct sync_fetch *fetch = asked(&server, &peer, &options);
    REQUIRE(fetch);
    say(&peer, "HTTP/1.1 200 OK\r\n\r\n");
    size_t sent = 0;
    size_t taken = 0;
    size_t most = 0;
    bool ended = false;
    while (fetch->state != SYNC_FETCH_ENDED) {
        if (sent < (size_t)PIECE * PIECES) {
            ssize_t count = send(peer.fd, piece, PIECE, MSG_DONTWAIT | MSG_NOSIGNAL);
            sent += count > 0 ? (size_t)count : 0;
        } else if (!ended) {
            ended = true;
            shutdown(peer.fd, SHUT_WR);
        }
        server_tick(&server, false);
        server_forget(&server);
        most = fetch->body_length > most ? fetch->body_length : most;
        if (test_random(3) == 0) {
            taken += fetch->body_length;
            sync_fetch_take(fetch);
        }
    }
    taken += fetch->body_length;
    CHECK_INT(fetch->problem, SYNC_FETCH_NONE);
    CHECK_INT(taken, sent);
    CHECK(most <= 128 * 1024);
    sync_fetch_end(fetch);
    finish(&server, &peer);
}

static uint32_t problem_of(const char *answer) {
    struct server server;
    struct peer peer;
    if (!begin(&server, &peer)) {
        return 0;
    }
    struct sync_fetch_options options = options_of(&peer);
    struct sync_fetch *fetch = asked(&server, &peer, &options);
    uint32_t problem = 0;
    if (fetch) {
        say(&peer, answer);
        shutdown(peer.fd, SHUT_WR);
        WAIT(&server, fetch->state == SYNC_FETCH_ENDED);
        problem = fetch->problem;
        sync_fetch_end(fetch);
    }
    finish(&server, &peer);
    return problem;
}

TEST(fetch_tells_what_was_wrong_with_an_answer) {
    static char large[20000] = "HTTP/1.1 200 OK\r\n\r\n";
    static char long_head[4000] = "HTTP/1.1 200 OK\r\nX-Long: ";
    char message[256];
    if (sync_fetch_load(message, sizeof(message)) < 0) {
        test_skip(message);
        return;
    }
    memset(large + strlen(large), 'x', sizeof(large) - 1 - strlen(large));
    memset(long_head + strlen(long_head), 'x', 2000);
    strcat(long_head, "\r\n\r\n");
    CHECK_INT(problem_of(""), SYNC_FETCH_CUT);
    CHECK_INT(problem_of("no HTTP\r\n\r\n"), SYNC_FETCH_BROKEN);
    CHECK_INT(problem_of("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"),
              SYNC_FETCH_CUT);
    CHECK_INT(problem_of(large), SYNC_FETCH_LARGE);
    CHECK_INT(problem_of(long_head), SYNC_FETCH_HEAD);
    CHECK_INT(problem_of("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nnever"),
              SYNC_FETCH_BROKEN);
}

/* Whatever the moment at which it's given up, nothing is left, which the sanitizers see.
 */
TEST(fetch_may_end_at_any_time) {
    for (int moment = 0; moment < 6; moment++) {
        struct server server;
        struct peer peer;
        if (!begin(&server, &peer)) {
            return;
        }
        struct sync_fetch_options options = options_of(&peer);
        options.body = "body";
        options.body_length = 4;
        options.method = "POST";
        struct sync_fetch *fetch = moment < 3 ? sync_fetch_start(server.sync, &options)
                                              : asked(&server, &peer, &options);
        REQUIRE(fetch);
        uint32_t id = fetch->id;
        if (moment == 1 || moment == 2) {
            server_tick(&server, false);
        }
        if (moment >= 4) {
            say(&peer, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel");
            WAIT(&server, fetch->state == SYNC_FETCH_BODY);
        }
        if (moment % 2 == 0) {
            sync_fetch_end(fetch);
            server_forget(&server);
            server_tick(&server, false);
            CHECK_INT(server_saw(&server, SYNC_WATCH, id), 0);
        }
        finish(&server, &peer); /* the others end with the core */
    }
}

TEST(fetch_that_is_given_up_while_its_name_is_looked_up_tells_the_end_of_that) {
    struct server server;
    struct peer peer;
    if (!begin(&server, &peer)) {
        return;
    }
    struct sync_fetch_options options = options_of(&peer);
    options.url = "http://nobody.invalid/";
    struct sync_fetch *fetch = sync_fetch_start(server.sync, &options);
    REQUIRE(fetch);
    uint32_t id = fetch->id;
    server_tick(&server, false);
    if (sync_fetch_end(fetch) == 1) { /* else it was looked up at once */
        CHECK_INT(sync_fetch_end(fetch), 1);
        WAIT(&server, server_saw(&server, SYNC_WATCH, id) == 1);
        CHECK_INT(fetch->state, SYNC_FETCH_LOST);
        CHECK_INT(sync_fetch_end(fetch), 0);
    }
    finish(&server, &peer);
}

TEST(fetch_keeps_its_time_limits) {
    struct server server;
    struct peer peer;
    if (!begin(&server, &peer)) {
        return;
    }
    struct sync_fetch_options options = options_of(&peer);
    options.idle_limit = 50;
    struct sync_fetch *idle = asked(&server, &peer, &options);
    REQUIRE(idle);
    WAIT(&server, idle->state == SYNC_FETCH_ENDED);
    CHECK_INT(idle->problem, SYNC_FETCH_IDLE);
    sync_fetch_end(idle);
    options.idle_limit = 10000;
    options.total_limit = 50;
    struct sync_fetch *slow = sync_fetch_start(server.sync, &options);
    REQUIRE(slow);
    WAIT(&server, slow->state == SYNC_FETCH_ENDED);
    CHECK_INT(slow->problem, SYNC_FETCH_SLOW);
    sync_fetch_end(slow);
    finish(&server, &peer);
}

TEST(fetch_connects_to_no_address_that_is_forbidden) {
    struct server server;
    struct peer peer;
    if (!begin(&server, &peer)) {
        return;
    }
    struct sync_fetch_options options = options_of(&peer);
    options.forbidden = networks;
    options.forbidden_count = 3;
    struct sync_fetch *fetch = sync_fetch_start(server.sync, &options);
    REQUIRE(fetch);
    WAIT(&server, fetch->state == SYNC_FETCH_ENDED);
    CHECK_INT(fetch->problem, SYNC_FETCH_FORBIDDEN);
    sync_fetch_end(fetch);
    static const char *const wrong[] = {"127.0.0.0/99"};
    options.forbidden = wrong;
    options.forbidden_count = 1;
    CHECK(!sync_fetch_start(server.sync, &options));
    finish(&server, &peer);
}

TEST(fetch_knows_forbidden_addresses_in_all_their_forms) {
    static const char *const forbidden[] = {
        "127.0.0.1",      "127.255.255.255", "::1",
        "::127.0.0.1",    "::ffff:7f00:1",   "64:ff9b::169.254.169.254",
        "2002:7f00:1::5", "nothing",         "::ffff:0:127.0.0.1"};
    static const char *const allowed[] = {"128.0.0.1", "8.8.8.8", "::2",
                                          "2002:808:808::", "64:ff9b::8.8.8.8"};
    for (size_t i = 0; i < sizeof(forbidden) / sizeof(*forbidden); i++) {
        CHECK_INT(sync_fetch_forbids(networks, 3, forbidden[i]), 1);
    }
    for (size_t i = 0; i < sizeof(allowed) / sizeof(*allowed); i++) {
        CHECK_INT(sync_fetch_forbids(networks, 3, allowed[i]), 0);
    }
    CHECK_INT(sync_fetch_forbids(NULL, 0, "127.0.0.1"), 0);
}
