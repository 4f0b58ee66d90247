/* parts_test.c: the parts of the load generator that need no server. The harness is that
 * of the C tests. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../spec/c/test.h"
#include "../load/load.h"
#include "../load/modes/answer.h"
#include "../load/ws.h"

/* What a command line gives the others. */
const char *program = "parts_test";
int failure = 2;
struct plan plan = {.mode = &mode_echo, .connections = 1};

static void near(double seen, double wanted) {
    CHECK(seen >= wanted * 0.992 && seen <= wanted * 1.008);
}

TEST(histogram_percentiles_of_even_values) {
    histogram_clear();
    for (int i = 1; i <= 100000; i++) {
        histogram_add(i * 100);
    }
    CHECK_INT(histogram_count(), 100000);
    near(histogram_percentile(50), 5000000);
    near(histogram_percentile(90), 9000000);
    near(histogram_percentile(99), 9900000);
    near(histogram_percentile(99.9), 9990000);
    CHECK_INT(histogram_percentile(100), 10000000);
}

TEST(histogram_finds_the_few_that_are_slow) {
    histogram_clear();
    for (int i = 0; i < 990; i++) {
        histogram_add(1000);
    }
    for (int i = 0; i < 9; i++) {
        histogram_add(50000000);
    }
    histogram_add(3000000000LL);
    near(histogram_percentile(50), 1000);
    near(histogram_percentile(99), 1000);
    near(histogram_percentile(99.5), 50000000);
    near(histogram_percentile(99.9), 50000000);
    CHECK_INT(histogram_percentile(99.95), 3000000000LL);
    CHECK_INT(histogram_percentile(100), 3000000000LL);
}

TEST(histogram_of_small_of_huge_and_of_no_values) {
    histogram_clear();
    CHECK_INT(histogram_percentile(99), 0);
    histogram_add(-5);
    CHECK_INT(histogram_percentile(50), 0);
    histogram_clear();
    for (int i = 0; i < 64; i++) {
        histogram_add(i);
    }
    CHECK_INT(histogram_percentile(50), 31);
    histogram_clear();
    histogram_add(INT64_MAX);
    histogram_add(INT64_MAX);
    near(histogram_percentile(50), (double)INT64_MAX);
    histogram_clear();
    CHECK_INT(histogram_count(), 0);
    CHECK_INT(histogram_percentile(100), 0);
}

TEST(websocket_accept_of_the_rfcs_example) {
    char accept[29];
    ws_accept(accept, "dGhlIHNhbXBsZSBub25jZQ==");
    CHECK_TEXT(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    uint8_t bytes[WS_KEY_BYTES] = "the sample nonc";
    char key[WS_KEY_SIZE];
    bytes[15] = 'e';
    ws_key(key, bytes);
    CHECK_TEXT(key, "dGhlIHNhbXBsZSBub25jZQ==");
}

TEST(websocket_answer_comes_in_any_pieces) {
    static const char answer[] =
        "HTTP/1.1 101 Switching Protocols\r\nUPGRADE: WebSocket\r\nconnection:Upgrade\r\n"
        "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nrest";
    char why[200];
    long head = sizeof(answer) - 1 - 4;
    for (size_t i = 0; i < sizeof(answer); i++) {
        char *exact = malloc(i + 1); /* so that reading on shows under ASan */
        memcpy(exact + 1, answer, i);
        long taken =
            ws_answer(exact + 1, i, "dGhlIHNhbXBsZSBub25jZQ==", false, why, sizeof(why));
        CHECK_INT(taken, (long)i < head ? 0 : head);
        free(exact);
    }
}

TEST(websocket_masks_as_the_rfc_does) {
    static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
    static const uint8_t masked[5] = {0x7f, 0x9f, 0x4d, 0x51, 0x58};
    char out[64], back[64], text[64];
    uint32_t mask;
    memcpy(&mask, key, 4);
    ws_mask(out, "Hello", 5, mask);
    CHECK_BYTES(out, 5, (const char *)masked, 5);
    for (size_t length = 0; length <= sizeof(text); length++) {
        for (size_t i = 0; i < length; i++) {
            text[i] = (char)test_random(256);
        }
        ws_mask(out, text, length, mask);
        for (size_t i = 0; i < length; i++) {
            back[i] = (char)(out[i] ^ (char)key[i % 4]);
        }
        CHECK_BYTES(back, length, text, length);
    }
}

/* Reads all of it in pieces of `step` bytes. */
static size_t read_all(const char *bytes, size_t length, size_t step, char *message,
                       int *messages, int *pings) {
    struct ws_reader reader = {0};
    size_t got = 0;
    for (size_t at = 0; at < length;) {
        size_t part = length - at < step ? length - at : step;
        char *exact = malloc(part);
        memcpy(exact, bytes + at, part);
        at += part;
        for (size_t used = 0; used < part;) {
            struct ws_piece piece;
            const char *why;
            long taken = ws_read(&reader, exact + used, part - used, &piece, &why);
            if (!CHECK(taken > 0)) {
                free(exact);
                return 0;
            }
            used += (size_t)taken;
            if (piece.kind == WS_TEXT) {
                memcpy(message + got, piece.bytes, piece.length);
                got += piece.length;
                *messages += piece.ends;
            }
            *pings += piece.kind == WS_PING && piece.length == 2 &&
                      memcmp(piece.bytes, "hi", 2) == 0;
        }
        free(exact);
    }
    return got;
}

TEST(websocket_frames_come_in_any_pieces) {
    static const char bytes[] = "\x01\x03"
                                "abc"
                                "\x89\x02hi"
                                "\x00\x00"
                                "\x89\x00"
                                "\x80\x04"
                                "defg"
                                "\x81\x00"
                                "\x81\x01h";
    for (size_t step = 1; step < sizeof(bytes); step++) {
        char message[64];
        int messages = 0, pings = 0;
        size_t got = read_all(bytes, sizeof(bytes) - 1, step, message, &messages, &pings);
        CHECK_BYTES(message, got, "abcdefgh", 8);
        CHECK_INT(messages, 3);
        CHECK_INT(pings, 1);
    }
}

TEST(websocket_reader_survives_any_bytes) {
    for (int round = 0; round < 20000; round++) {
        struct ws_reader reader = {0};
        size_t length = 1 + test_random(40);
        char *bytes = malloc(length);
        for (size_t i = 0; i < length; i++) {
            bytes[i] = (char)(i < 2 && round % 2 ? test_random(16) : test_random(256));
        }
        for (size_t at = 0; at < length;) {
            struct ws_piece piece;
            const char *why;
            long taken = ws_read(&reader, bytes + at, length - at, &piece, &why);
            if (taken < 0) {
                CHECK(why != NULL);
                break;
            }
            if (!CHECK(taken > 0 && (size_t)taken <= length - at)) {
                break;
            }
            at += (size_t)taken;
        }
        free(bytes);
    }
}

/* What a server would send back: the frame without its mask. */
static const char *answer_of(char *framed, size_t size) {
    uint32_t mask;
    if (!wire_is_websocket()) {
        return framed;
    }
    char *payload = framed + wire_length() - size;
    memcpy(&mask, payload - 4, 4);
    ws_mask(payload, payload, size, mask);
    return payload;
}

/* Each cut of it is right where it belongs, and wrong as another message's. */
static void check_cuts(const char *answer, unsigned sender, unsigned number) {
    size_t length = wire_answer_length();
    for (size_t from = 0; from < length; from += 1 + length / 40) {
        for (size_t to = from; to <= length; to += 1 + length / 40) {
            CHECK(wire_same(answer + from, from, to - from, sender, number));
        }
    }
}

TEST(wire_knows_its_messages_from_all_others) {
    static const int sizes[] = {1, 11, 12, 13, 20, 64, 125, 126, 1024, 65535, 70000};
    for (int framing = 0; framing < FRAMING_COUNT; framing++) {
        for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
            if (framing == FRAMING_LENGTH16 && sizes[s] > 65535) {
                continue;
            }
            size_t size = (size_t)sizes[s];
            wire_init(sizes[s], framing);
            char *framed = malloc(wire_length());
            for (unsigned number = 0; number < 5; number++) {
                wire_write(framed, 7, number * 77777);
                check_cuts(answer_of(framed, size), 7, number * 77777);
            }
            const char *answer = answer_of(framed, 0); /* unmasked already */
            answer = wire_is_websocket() ? framed + wire_length() - size : framed;
            if (size >= WIRE_ID) {
                unsigned sender = 0, number = 0;
                CHECK(wire_id(answer, &sender, &number));
                CHECK_INT(sender, 7);
                CHECK_INT(number, 4 * 77777);
            }
            for (size_t i = 0; i < wire_answer_length(); i += 1 + size / 100) {
                char *byte = (char *)(uintptr_t)answer + i;
                *byte ^= 1;
                CHECK(!wire_same(answer, 0, wire_answer_length(), 7, 4 * 77777));
                *byte ^= 1;
            }
            CHECK(wire_same(answer, 0, wire_answer_length(), 7, 4 * 77777));
            if (size >= WIRE_ID) {
                CHECK(!wire_same(answer, 0, wire_answer_length(), 8, 4 * 77777));
                CHECK(!wire_same(answer, 0, wire_answer_length(), 7, 4 * 77777 + 1));
            }
            free(framed);
        }
    }
}

TEST(wire_text_is_text) {
    static const int framings[] = {FRAMING_NULL, FRAMING_LINE, FRAMING_WS_TEXT};
    char message[2000];
    for (int i = 0; i < 3; i++) {
        wire_init(1500, framings[i]);
        for (unsigned number = 0; number < 300; number++) {
            wire_answer(message, 3, number);
            int wrong = 0;
            for (int k = 0; k < 1500; k++) {
                wrong += message[k] <= ' ' || message[k] > '~';
            }
            CHECK_INT(wrong, 0);
        }
    }
}

/* The bytes of messages that follow each other, or go to two clients, differ nearly
 * everywhere: any mix of two shows. */
TEST(wire_bodies_differ) {
    char one[1024], other[1024];
    wire_init(1024, FRAMING_RAW);
    for (unsigned step = 1; step <= 300; step++) {
        int same = 0;
        wire_answer(one, 5, 1000);
        wire_answer(other, 5 + (step & 1) * step, 1000 + (~step & 1) * step);
        for (int i = WIRE_ID; i < 1024; i++) {
            same += one[i] == other[i];
        }
        CHECK(same < 40);
    }
}

/* Cuts bytes that come in pieces of `step`, and counts the messages that are as expected.
 */
static int cut_all(const char *bytes, size_t length, size_t step) {
    static const char *const wanted[] = {"abc", "", "d"};
    struct link link = {.fd = 1};
    int count = 0;
    for (size_t at = 0; at < length;) {
        size_t left = length - at < step ? length - at : step;
        char *exact = malloc(left);
        char *from = exact;
        struct part part;
        memcpy(exact, bytes + at, left);
        at += left;
        while (link_cut(&link, &from, &left, &part)) {
            if (link_gather(&link, &part, 100)) {
                CHECK_BYTES(part.bytes, part.length, wanted[count % 3],
                            strlen(wanted[count % 3]));
                count++;
            }
        }
        CHECK_INT(left, 0);
        free(exact);
    }
    CHECK_INT(link.partial, 0);
    free(link.message);
    return count;
}

/* What wire_frame makes of messages of any length, link_cut takes apart. */
TEST(cut_finds_messages_in_any_pieces) {
    static const char *const messages[] = {"abc", "", "d", "abc", "", "d"};
    for (int framing = FRAMING_NULL; framing < FRAMING_WS_TEXT; framing++) {
        char bytes[100];
        size_t length = 0;
        plan.framing = framing;
        wire_init_framing(framing);
        for (int i = 0; i < 6; i++) {
            length += wire_frame(bytes + length, messages[i], strlen(messages[i]));
        }
        for (size_t step = 1; step <= length; step++) {
            CHECK_INT(cut_all(bytes, length, step), 6);
        }
    }
}

TEST(wire_frames_and_masks_any_message) {
    char framed[64 + WIRE_FRAME_MOST];
    uint32_t mask;
    wire_init_framing(FRAMING_WS_TEXT);
    CHECK_INT(wire_frame(framed, "hello", 5), 11);
    CHECK_BYTES(framed, 2, "\x81\x85", 2);
    memcpy(&mask, framed + 2, 4);
    ws_mask(framed, framed + 6, 5, mask);
    CHECK_BYTES(framed, 5, "hello", 5);
}

static bool reads(const char *text, int64_t wanted_id, int64_t wanted) {
    int64_t id = 0, result = 0;
    size_t length = strlen(text);
    char *exact = malloc(length + 1); /* so that reading on shows under ASan */
    memcpy(exact + 1, text, length);
    bool right = answer_read(exact + 1, length, &id, &result);
    free(exact);
    return right && id == wanted_id && result == wanted;
}

TEST(answer_has_its_three_members_and_nothing_else) {
    static const char right[] = "{\"jsonrpc\":\"2.0\",\"result\":-17,\"id\":42}";
    CHECK(reads(right, 42, -17));
    CHECK(reads("{ \"id\" : 1, \"jsonrpc\": \"2.0\", \"result\": 0 }\r", 1, 0));
    for (size_t i = 0; i < sizeof(right) - 1; i++) {
        char *cut = strndup(right, i);
        CHECK(!reads(cut, 42, -17));
        free(cut);
    }
    CHECK(!reads("{\"jsonrpc\":\"2.0\",\"result\":1,\"result\":1,\"id\":2}", 2, 1));
    CHECK(!reads("{\"jsonrpc\":\"1.0\",\"result\":1,\"id\":2}", 2, 1));
    CHECK(!reads("{\"jsonrpc\":\"2.0\",\"error\":1,\"id\":2}", 2, 1));
    CHECK(!reads("{\"jsonrpc\":\"2.0\",\"result\":1,\"id\":2}x", 2, 1));
}
