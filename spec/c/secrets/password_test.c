/* password_test.c: passwords on threads. What the hashes are is tested from Lua. */
#include <string.h>
#include <uv.h>

#include "server.h"
#include "test.h"
/* It follows sync.h, as the text of the FFI does. */
#include "secrets/secrets.h"

/* Of "password" and "salt", one round: RFC 7914, section 11. */
static const unsigned char derived[] = {0x12, 0x0f, 0xb6, 0xcf, 0xfc, 0xf8, 0xb3, 0x2c,
                                        0x43, 0xe7, 0x22, 0x52, 0x56, 0xc4, 0xf8, 0x37,
                                        0xa8, 0x65, 0x48, 0xc9, 0x2c, 0xcc, 0x35, 0x48,
                                        0x08, 0x05, 0x98, 0x7c, 0xb7, 0x0b, 0xe1, 0x7b};

static int32_t compare(struct crew *crew, const char *password, uint32_t rounds) {
    return sync_password_pbkdf2(crew, password, strlen(password), "sha256", rounds,
                                "salt", 4, (const char *)derived, sizeof(derived));
}

TEST(password_is_compared_with_what_pbkdf2_makes) {
    struct server server;
    server_open(&server);
    struct crew *crew = sync_password_open(server.sync, 2, 100);
    REQUIRE(crew);
    int32_t right = compare(crew, "password", 1);
    int32_t wrong = compare(crew, "passwore", 1);
    REQUIRE(right > 0 && wrong > 0);
    WAIT(&server, server_saw(&server, SYNC_JOB, 0) == 2);
    CHECK_INT(server_find(&server, SYNC_JOB, (uint32_t)right)->value, 1);
    CHECK_INT(server_find(&server, SYNC_JOB, (uint32_t)wrong)->value, 0);
    CHECK_INT(compare(crew, "password", 0), UV_EINVAL);
    CHECK_INT(compare(crew, "password", UINT32_MAX), UV_EINVAL);
    server_close(&server);
}

TEST(passwords_that_are_hashed_while_the_core_closes_are_joined) {
    struct server server;
    server_open(&server);
    struct crew *crew = sync_password_open(server.sync, 2, 100);
    for (int i = 0; i < 20; i++) {
        CHECK(compare(crew, "password", 20000) > 0);
    }
    server_close(&server);
}

TEST(password_is_hashed_by_argon2_and_compared) {
    struct server server;
    char message[256] = "";
    server_open(&server);
    struct crew *crew = sync_password_open(server.sync, 2, 100);
    if (sync_password_load(SYNC_PASSWORD_ARGON2, message, sizeof(message)) < 0) {
        test_skip(message);
        server_close(&server);
        return;
    }
    int32_t id = sync_password_hash(crew, "a\0b", 3, 64, 1, 1);
    REQUIRE(id > 0);
    WAIT(&server, server_saw(&server, SYNC_JOB, (uint32_t)id) == 1);
    char hash[256] = "";
    const struct seen *seen = server_find(&server, SYNC_JOB, (uint32_t)id);
    REQUIRE(seen->length < sizeof(hash));
    memcpy(hash, seen->data, seen->length);
    int32_t right = sync_password_verify(crew, SYNC_PASSWORD_ARGON2, "a\0b", 3, hash);
    int32_t wrong = sync_password_verify(crew, SYNC_PASSWORD_ARGON2, "a\0c", 3, hash);
    int32_t odd =
        sync_password_verify(crew, SYNC_PASSWORD_ARGON2, "a\0c", 3, "$argon2x$");
    WAIT(&server, server_saw(&server, SYNC_JOB, 0) == 4);
    CHECK_INT(server_find(&server, SYNC_JOB, (uint32_t)right)->value, 1);
    CHECK_INT(server_find(&server, SYNC_JOB, (uint32_t)wrong)->value, 0);
    CHECK_INT((int32_t)server_find(&server, SYNC_JOB, (uint32_t)odd)->value, UV_EINVAL);
    server_close(&server);
}
