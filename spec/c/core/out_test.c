/* out_test.c: a queue gives back the bytes it was given, in order, and its memory. */
#include <stdlib.h>
#include <string.h>

#include "core/out.h"
#include "test.h"

enum { SMALL_MOST = 2048, LARGE_MOST = 17 * 1024, MODEL = 1024 * 1024 };

/* What the queue should hold. */
struct model {
    char *bytes;
    size_t begin;
    size_t end;
};

static char letter(size_t i) {
    return (char)('a' + i % 23);
}

static size_t gathered(const struct out *out, char *bytes, size_t size) {
    struct iovec pieces[4096];
    int count = out_gather(out, pieces, 4096);
    size_t length = 0;
    for (int i = 0; i < count; i++) {
        CHECK(pieces[i].iov_len > 0);
        if (length + pieces[i].iov_len <= size) {
            memcpy(bytes + length, pieces[i].iov_base, pieces[i].iov_len);
        }
        length += pieces[i].iov_len;
    }
    return length;
}

/* Memory that a queue's pieces take, without what they share. */
static size_t storage(const struct out *out) {
    size_t size = 0;
    for (const struct piece *piece = out->head; piece; piece = piece->next) {
        size += sizeof(*piece) + piece->size;
    }
    return size;
}

TEST(out_starts_and_ends_empty) {
    struct pool pool = {0};
    struct out out = {0};
    struct iovec iovec;
    CHECK_INT(out_gather(&out, &iovec, 1), 0);
    CHECK_INT(out_append(&pool, &out, "abc", 3), 0);
    CHECK_INT(out.bytes, 3);
    out_consume(&pool, &out, 3);
    CHECK_INT(out.bytes, 0);
    CHECK(!out.head);
    CHECK(!out.tail);
    CHECK_INT(out_gather(&out, &iovec, 1), 0);
    pool_clear(&pool);
}

TEST(out_puts_small_messages_one_behind_the_other) {
    struct pool pool = {0};
    struct out out = {0};
    struct iovec pieces[4];
    for (int i = 0; i < 100; i++) {
        out_append(&pool, &out, "0123456789", 10);
    }
    CHECK_INT(out.bytes, 1000);
    int count = out_gather(&out, pieces, 4);
    CHECK(count <= 2);
    CHECK(storage(&out) <= SMALL_MOST + LARGE_MOST);
    out_clear(&pool, &out);
    pool_clear(&pool);
}

TEST(out_takes_no_more_than_a_small_piece_for_one_small_message) {
    struct pool pool = {0};
    struct out out = {0};
    out_append(&pool, &out, "x", 1);
    CHECK(storage(&out) <= SMALL_MOST);
    out_clear(&pool, &out);
    char *large = calloc(1, 100000);
    REQUIRE(large);
    out_append(&pool, &out, large, 100000);
    CHECK(storage(&out) <= 100000 + 100);
    out_clear(&pool, &out);
    free(large);
    pool_clear(&pool);
}

TEST(out_consumes_in_parts_of_any_size) {
    for (size_t part = 1; part < 40; part++) {
        struct pool pool = {0};
        struct out out = {0};
        char wanted[3000];
        for (size_t i = 0; i < sizeof(wanted); i++) {
            wanted[i] = letter(i);
        }
        for (size_t i = 0; i < sizeof(wanted); i += 100) {
            out_append(&pool, &out, wanted + i, 100);
        }
        size_t done = 0;
        while (done < sizeof(wanted)) {
            char seen[3000];
            size_t length = gathered(&out, seen, sizeof(seen));
            CHECK_BYTES(seen, length, wanted + done, sizeof(wanted) - done);
            size_t step = part < length ? part : length;
            out_consume(&pool, &out, step);
            done += step;
        }
        CHECK(!out.head);
        pool_clear(&pool);
    }
}

TEST(out_appends_behind_what_is_half_written) {
    struct pool pool = {0};
    struct out out = {0};
    char seen[100];
    out_append(&pool, &out, "hello ", 6);
    out_consume(&pool, &out, 4);
    out_append(&pool, &out, "world", 5);
    CHECK_BYTES(seen, gathered(&out, seen, sizeof(seen)), "o world", 7);
    CHECK_INT(out.bytes, 7);
    out_clear(&pool, &out);
    pool_clear(&pool);
}

TEST(out_shares_a_large_message_until_its_last_reader_is_done) {
    enum { BODY = 20000, ALL = BODY + 4 };
    struct pool pool = {0};
    struct out outs[3] = {{0}};
    static char body[BODY];
    static char wanted[ALL];
    static char seen[ALL];
    memset(body, 'b', BODY);
    memset(wanted, 'b', ALL);
    memcpy(wanted, "a<", 2);
    memcpy(wanted + ALL - 2, ">z", 2);
    struct shared *shared = shared_new("<", 1, body, BODY, ">", 1);
    REQUIRE(shared);
    for (int i = 0; i < 3; i++) {
        out_append(&pool, &outs[i], "a", 1);
        CHECK_INT(out_append_shared(&pool, &outs[i], shared), 0);
        out_append(&pool, &outs[i], "z", 1);
        CHECK(storage(&outs[i]) < BODY);
    }
    CHECK_INT(shared->references, 4);
    for (int i = 0; i < 3; i++) {
        CHECK_BYTES(seen, gathered(&outs[i], seen, ALL), wanted, ALL);
    }
    out_consume(&pool, &outs[0], 3);
    CHECK_INT(shared->references, 4);
    CHECK_BYTES(seen, gathered(&outs[0], seen, ALL), wanted + 3, ALL - 3);
    out_consume(&pool, &outs[0], ALL - 4);
    CHECK_INT(shared->references, 3);
    CHECK_BYTES(seen, gathered(&outs[1], seen, ALL), wanted, ALL);
    out_clear(&pool, &outs[1]);
    CHECK_INT(shared->references, 2);
    shared_release(shared); /* the maker's; the last queue keeps it */
    CHECK_BYTES(seen, gathered(&outs[2], seen, ALL), wanted, ALL);
    out_clear(&pool, &outs[0]);
    out_clear(&pool, &outs[2]);
    pool_clear(&pool);
}

TEST(out_gathers_no_more_than_it_is_given_room_for) {
    struct pool pool = {0};
    struct out out = {0};
    struct iovec pieces[3];
    struct shared *shared = shared_new("", 0, "0123456789", 10, "", 0);
    REQUIRE(shared);
    for (int i = 0; i < 5; i++) {
        out_append_shared(&pool, &out, shared);
    }
    CHECK_INT(out_gather(&out, pieces, 3), 3);
    CHECK_INT(out_gather(&out, pieces, 1), 1);
    CHECK_INT(pieces[0].iov_len, 10);
    out_clear(&pool, &out);
    CHECK_INT(out.bytes, 0);
    shared_release(shared);
    pool_clear(&pool);
}

TEST(out_claims_room_that_a_message_of_parts_is_written_into) {
    struct pool pool = {0};
    struct out out = {0};
    for (size_t length = 1; length < 40000; length += 777) {
        size_t before = out.bytes;
        char *place = out_claim(&pool, &out, length);
        REQUIRE(place);
        memset(place, 'x', length);
        CHECK_INT(out.bytes, before + length);
        CHECK(out.tail->bytes + out.tail->length == place + length);
    }
    out_clear(&pool, &out);
    pool_clear(&pool);
}

TEST(out_holds_no_memory_for_nothing) {
    struct pool pool = {0};
    struct out out = {0};
    CHECK_INT(out_append(&pool, &out, "", 0), 0);
    CHECK(!out.head);
    out_clear(&pool, &out);
    pool_clear(&pool);
}

TEST(out_keeps_at_most_a_bounded_number_of_spare_pieces) {
    struct pool pool = {0};
    enum { QUEUES = 3000 };
    struct out *outs = calloc(QUEUES, sizeof(*outs));
    char *body = calloc(1, 10000);
    REQUIRE(outs && body);
    for (int i = 0; i < QUEUES; i++) {
        out_append(&pool, &outs[i], body, 100);
        out_append(&pool, &outs[i], body, 10000);
    }
    for (int i = 0; i < QUEUES; i++) {
        out_clear(&pool, &outs[i]);
    }
    size_t spare = 0;
    for (struct piece *piece = pool.large; piece; piece = piece->next) {
        spare += sizeof(*piece) + piece->size;
    }
    CHECK(spare <= 1024 * 1024);
    CHECK(pool.large_count > 0);
    /* What is spare is used again. */
    uint32_t before = pool.large_count;
    out_append(&pool, &outs[0], body, 10000);
    CHECK_INT(pool.large_count, before - 1);
    out_clear(&pool, &outs[0]);
    pool_clear(&pool);
    CHECK(!pool.large);
    CHECK_INT(pool.large_count, 0);
    free(outs);
    free(body);
}

/* A queue that nobody reads is bounded in bytes, so its memory must be, too, whatever
 * the messages are. */
TEST(out_takes_memory_in_proportion_to_what_is_queued) {
    static const size_t sizes[] = {1, 10, 100, 500, 1000, 5000, 8000, 9000, 16000, 20000};
    struct pool pool = {0};
    struct shared *shared = shared_new("", 0, (char[512]){0}, 512, "", 0);
    char *body = calloc(1, 20000);
    REQUIRE(shared && body);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        for (int mixed = 0; mixed < 2; mixed++) {
            struct out out = {0};
            while (out.bytes < 1024 * 1024) {
                out_append(&pool, &out, body, sizes[i]);
                if (mixed) {
                    out_append_shared(&pool, &out, shared);
                }
            }
            if (!CHECK(storage(&out) <= 3 * (size_t)out.bytes)) {
                CHECK_INT(storage(&out), out.bytes); /* says how much */
                CHECK_INT(sizes[i], mixed);
            }
            out_clear(&pool, &out);
        }
    }
    free(body);
    shared_release(shared);
    pool_clear(&pool);
}

TEST(out_follows_a_model_through_random_use) {
    struct pool pool = {0};
    struct out out = {0};
    struct model model = {calloc(1, MODEL), 0, 0};
    char *seen = malloc(MODEL);
    REQUIRE(model.bytes && seen);
    size_t counter = 0;
    for (int step = 0; step < 20000; step++) {
        uint32_t what = test_random(10);
        size_t held = model.end - model.begin;
        size_t length = test_random(what == 0 ? 40000 : 300);
        if (what < 6 && model.end + length < MODEL) {
            char *bytes = model.bytes + model.end;
            for (size_t i = 0; i < length; i++) {
                bytes[i] = letter(counter++);
            }
            if (what == 5) {
                struct shared *shared = shared_new("", 0, bytes, length, "", 0);
                REQUIRE(shared);
                out_append_shared(&pool, &out, shared);
                shared_release(shared);
            } else {
                out_append(&pool, &out, bytes, length);
            }
            model.end += length;
        } else if (what < 9 && held > 0) {
            size_t taken = test_random(4) ? test_random((uint32_t)held + 1) : held;
            out_consume(&pool, &out, taken);
            model.begin += taken;
        } else if (what == 9 && test_random(50) == 0) {
            out_clear(&pool, &out);
            model.begin = model.end;
        }
        if (model.end > MODEL - 50000) {
            out_clear(&pool, &out);
            model.begin = model.end = 0;
        }
        held = model.end - model.begin;
        if (!CHECK_INT(out.bytes, held)) {
            break;
        }
        if (step % 16 == 0) {
            size_t length_seen = gathered(&out, seen, MODEL);
            if (!CHECK_BYTES(seen, length_seen, model.bytes + model.begin, held)) {
                break;
            }
        }
    }
    out_clear(&pool, &out);
    pool_clear(&pool);
    free(model.bytes);
    free(seen);
}
