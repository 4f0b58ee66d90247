/* peers_test.c: connections are counted by address. */
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
    return peers_enter(peers, (struct sockaddr *)&address);
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
        peers_leave(&peers, one);
        peers_leave(&peers, other);
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
        peers_leave(&peers, NULL);
    }
    static const char *const counted[] = {"128.0.0.1",  "11.0.0.1",    "172.32.0.1",
                                          "172.15.0.1", "100.128.0.1", "2001:db8::1"};
    for (size_t i = 0; i < sizeof(counted) / sizeof(counted[0]); i++) {
        struct peer *peer = enter(&peers, counted[i]);
        CHECK(peer);
        peers_leave(&peers, peer);
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
        peers_leave(&peers, all[i % MANY]);
    }
    CHECK_INT(peers.count, 0);
    CHECK(!peers.buckets);
}
