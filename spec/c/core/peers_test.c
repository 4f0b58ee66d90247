/* peers_test.c: connections are counted by address. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "core/peers.h"
#include "test.h"

static struct sockaddr_storage address_of(const char *text) {
    struct sockaddr_storage address = {0};
    if (uv_ip4_addr(text, 1, (struct sockaddr_in *)(void *)&address) < 0 &&
        uv_ip6_addr(text, 1, (struct sockaddr_in6 *)(void *)&address) < 0) {
        address.ss_family = AF_UNIX;
    }
    return address;
}

static struct peer *enter(struct peers *peers, const char *text) {
    struct sockaddr_storage address = address_of(text);
    return peers_enter(peers, (struct sockaddr *)&address, 0);
}

TEST(peers_count_by_address_and_by_64_bits_of_ipv6) {
    static const struct {
        const char *one, *other;
        bool same;
        const char *name;
    } cases[] = {
        {"192.0.2.1", "192.0.2.1", true, "192.0.2.1"},
        {"192.0.2.1", "192.0.2.2", false, "192.0.2.1"},
        {"192.0.2.1", "::ffff:192.0.2.1", true, "192.0.2.1"},
        {"2001:db8::1", "2001:db8::ffff:0:1", true, "2001:db8::/64"},
        {"2001:db8:1:2::1", "2001:db8:1:3::1", false, "2001:db8:1:2::/64"},
        {"255.255.255.254", "128.0.0.0", false, "255.255.255.254"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct peers peers = {0};
        char name[64];
        struct peer *one = enter(&peers, cases[i].one);
        struct peer *other = enter(&peers, cases[i].other);
        REQUIRE(one && other);
        CHECK_INT(one == other, cases[i].same);
        CHECK_INT(one->count, cases[i].same ? 2 : 1);
        peers_name(one, name, sizeof(name));
        CHECK_TEXT(name, cases[i].name);
        peers_leave(&peers, one, 0);
        peers_leave(&peers, other, 0);
        CHECK_INT(peers.count, 0);
    }
}

TEST(peers_that_may_be_many_or_ones_own_are_not_counted) {
    static const char *const cases[] = {
        "127.0.0.1",   "127.255.255.255",  "10.0.0.1",   "172.16.0.1", "172.31.255.255",
        "192.168.1.1", "169.254.1.1",      "100.64.0.1", "::1",        "fe80::1",
        "fd00::1",     "::ffff:127.0.0.1", "a file",
    };
    struct peers peers = {0};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CHECK(!enter(&peers, cases[i]));
        peers_leave(&peers, NULL, 0);
    }
    static const char *const counted[] = {"128.0.0.1",  "11.0.0.1",    "172.32.0.1",
                                          "172.15.0.1", "100.128.0.1", "2001:db8::1"};
    for (size_t i = 0; i < sizeof(counted) / sizeof(counted[0]); i++) {
        struct peer *peer = enter(&peers, counted[i]);
        CHECK(peer);
        peers_leave(&peers, peer, 0);
    }
}

TEST(peers_may_be_many_and_leave_nothing) {
    enum { MANY = 20000 };
    static struct peer *all[MANY];
    struct peers peers = {0};
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < MANY; i++) {
            char text[32];
            snprintf(text, sizeof(text), "20.%u.%u.%u", i % 2, i / 256, i % 256);
            struct peer *peer = enter(&peers, text);
            REQUIRE(peer);
            CHECK(round == 0 || peer == all[i]);
            all[i] = peer;
        }
        CHECK_INT(peers.count, MANY);
    }
    for (uint32_t i = 0; i < 2 * MANY; i++) {
        peers_leave(&peers, all[i % MANY], 0);
    }
    CHECK_INT(peers.count, 0);
    CHECK(!peers.buckets);
}

/* What an address does too often. */

static const struct sync_options strict = {
    .connect_interval = 100000, .warn_at = 1, .slow_at = 10, .kick_at = 20, .ban_at = 30};

static uint32_t connects(struct peers *peers, struct peer *peer, uint32_t tries,
                         uint64_t now) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < tries; i++) {
        count += peers_act(peers, peer, PEER_CONNECTS, &strict, now);
    }
    return count;
}

TEST(peers_do_something_so_often_and_reach_steps) {
    struct peers peers = {0};
    uint64_t second = 1000000;
    uint64_t now = 1000 * second;
    struct peer *peer = enter(&peers, "192.0.2.1");
    CHECK_INT(connects(&peers, peer, 50, now), 50); /* 5 s of 10 */
    CHECK(!peers_news(&peers));
    CHECK_INT(connects(&peers, peer, 1, now), 0);
    CHECK(peers_news(&peers) == peer);
    CHECK_INT(peer->step, SYNC_STEP_WARN);
    CHECK(!peers_news(&peers)); /* told once */
    now += second;
    CHECK_INT(connects(&peers, peer, 20, now), 10);
    CHECK_INT(peer->step, SYNC_STEP_SLOW);
    now += second;
    CHECK_INT(connects(&peers, peer, 12, now), 1); /* a tenth of what it was */
    CHECK_INT(peer->step, SYNC_STEP_KICK);
    CHECK_INT(connects(&peers, peer, 10, now), 0);
    CHECK(peers_news(&peers) == peer);
    CHECK_INT(peer->step, SYNC_STEP_BAN);
    CHECK_INT(connects(&peers, peer, 1, now + 20 * second), 0); /* not yet forgotten */
    CHECK_INT(connects(&peers, peer, 1, now + 60 * second), 1);
    CHECK_INT(peer->step, SYNC_STEP_NONE);
    peers_leave(&peers, peer, now);
    peers_clear(&peers);
}

TEST(peers_are_remembered_for_a_while_when_they_have_done_something) {
    struct peers peers = {0};
    uint64_t second = 1000000;
    uint64_t now = 1000 * second;
    struct peer *peer = enter(&peers, "192.0.2.1");
    connects(&peers, peer, 60, now);
    CHECK(peers_news(&peers) == peer);
    peers_leave(&peers, peer, now);
    CHECK_INT(peers.idle, 1);
    struct sockaddr_storage address = address_of("192.0.2.1");
    struct peer *again = peers_enter(&peers, (struct sockaddr *)&address, now + second);
    CHECK_INT(again->strikes, 10);
    peers_leave(&peers, again, now + second);
    address = address_of("192.0.2.2");
    struct peer *other = peers_enter(&peers, (struct sockaddr *)&address,
                                     now + (PEERS_IDLE_TIME + 1) * second);
    CHECK_INT(peers.idle, 0);
    CHECK_INT(peers.count, 1);
    peers_leave(&peers, other, now);
    CHECK(!peers.buckets); /* who has done nothing is forgotten at once */
}

TEST(peers_that_are_remembered_are_bounded) {
    struct peers peers = {0};
    struct sockaddr_in in = {.sin_family = AF_INET};
    for (uint32_t i = 0; i < PEERS_IDLE_MOST + 1000; i++) {
        in.sin_addr.s_addr = htonl(0x08000000 + i);
        struct peer *peer = peers_enter(&peers, (struct sockaddr *)&in, 1);
        REQUIRE(peer);
        connects(&peers, peer, 1, 1);
        peers_leave(&peers, peer, 1);
    }
    CHECK_INT(peers.idle, PEERS_IDLE_MOST);
    CHECK_INT(peers.count, PEERS_IDLE_MOST);
    peers_clear(&peers);
    CHECK_INT(peers.count, 0);
}
