/* bans_test.c: addresses and networks that are shut out. */
#include <arpa/inet.h>
#include <stdio.h>
#include <uv.h>

#include "core/bans.h"
#include "test.h"

static int set(struct bans *bans, const char *text, uint64_t until, uint64_t now) {
    struct network network;
    int error = network_read(&network, text);
    return error < 0 ? error : bans_set(bans, &network, until, now);
}

static bool has(const struct bans *bans, const char *text, uint64_t now) {
    struct sockaddr_storage address = {0};
    return network_address(text, &address) == 0 &&
           bans_has(bans, (struct sockaddr *)&address, now);
}

TEST(bans_are_of_addresses_and_of_networks_of_both_kinds) {
    static const struct {
        const char *network, *inside, *outside;
    } cases[] = {
        {"192.0.2.1", "192.0.2.1", "192.0.2.2"},
        {"192.0.2.1", "::ffff:192.0.2.1", "::192.0.2.1"},
        {"192.0.2.77/25", "192.0.2.1", "192.0.2.128"},
        {"0.0.0.0/0", "203.0.113.9", "2001:db8::1"},
        {"2001:db8::1", "2001:db8::1", "2001:db8::2"},
        {"2001:db8:1:2:3::/64", "2001:db8:1:2::9", "2001:db8:1:3::9"},
        {"::/0", "2001:db8::1", "nothing"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bans bans = {0};
        CHECK_INT(set(&bans, cases[i].network, 100, 10), 0);
        CHECK(has(&bans, cases[i].inside, 10));
        CHECK(!has(&bans, cases[i].outside, 10));
        CHECK(!has(&bans, cases[i].inside, 100)); /* it has expired */
        CHECK_INT(set(&bans, cases[i].network, 0, 20), 0);
        CHECK(!has(&bans, cases[i].inside, 20));
        bans_clear(&bans);
    }
}

TEST(bans_of_several_lengths_hold_side_by_side) {
    struct bans bans = {0};
    set(&bans, "192.0.2.0/24", 100, 10);
    set(&bans, "192.0.2.1", 50, 10);
    set(&bans, "192.0.0.0/16", 30, 10);
    CHECK(has(&bans, "192.0.2.1", 60));
    CHECK(has(&bans, "192.0.9.1", 20));
    CHECK(!has(&bans, "192.0.9.1", 40));
    set(&bans, "192.0.2.0/24", 0, 10);
    CHECK(has(&bans, "192.0.2.1", 40));
    CHECK(!has(&bans, "192.0.2.1", 60));
    CHECK_INT(set(&bans, "unix", 100, 10), UV_EINVAL);
    bans_clear(&bans);
}

TEST(bans_are_bounded_and_those_that_expire_make_room) {
    struct bans bans = {0};
    char text[32];
    for (uint32_t i = 0; i < BANS_MOST; i++) {
        snprintf(text, sizeof(text), "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
        REQUIRE(set(&bans, text, i % 2 ? 100 : 200, 10) == 0);
    }
    CHECK_INT(set(&bans, "192.0.2.1", 200, 10), UV_ENOSPC);
    CHECK_INT(set(&bans, "10.0.0.7", 300, 10), 0); /* one that is there */
    CHECK(has(&bans, "10.0.255.255", 99));
    CHECK_INT(set(&bans, "192.0.2.1", 300, 150), 0);
    CHECK_INT(bans.count, BANS_MOST / 2 + 2);
    CHECK(has(&bans, "192.0.2.1", 150) && has(&bans, "10.0.0.7", 150));
    bans_clear(&bans);
}
