/* test.h: the smallest harness that says which line was wrong and what it saw.
 *
 *     TEST(codec_line_takes_a_cr_off) {
 *         CHECK_INT(message.length, 3);
 *     }
 *
 * A test registers itself. A check that fails prints its line and the values and lets
 * the test go on; REQUIRE ends it. The runner is test.c.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct test {
    const char *name;
    void (*run)(void);
    struct test *next;
};

void test_add(struct test *test);

/* Each returns whether it holds, and otherwise says so and fails the running test. */
bool test_check(bool holds, const char *file, int line, const char *text);
bool test_check_int(int64_t seen, int64_t wanted, const char *file, int line,
                    const char *text);
bool test_check_bytes(const char *seen, size_t length, const char *wanted,
                      size_t wanted_length, const char *file, int line, const char *text);

/* Says why the running test can't be done on this machine. */
void test_skip(const char *why);

/* Whether signals come only to threads that wait, as ThreadSanitizer has it: then nothing
 * that goes on for ever is ended by one. Skips the running test. */
bool test_skips_signals(void);

/* A repeatable random number below `limit`; every test starts with the same seed. */
uint32_t test_random(uint32_t limit);

#define TEST(title)                                                                      \
    static void title(void);                                                             \
    __attribute__((constructor)) static void add_##title(void) {                         \
        static struct test test = {#title, title, NULL};                                 \
        test_add(&test);                                                                 \
    }                                                                                    \
    static void title(void)

#define CHECK(condition) test_check((condition), __FILE__, __LINE__, #condition)

#define CHECK_INT(seen, wanted)                                                          \
    test_check_int((int64_t)(seen), (int64_t)(wanted), __FILE__, __LINE__,               \
                   #seen " == " #wanted)

#define CHECK_BYTES(seen, length, wanted, wanted_length)                                 \
    test_check_bytes(seen, length, wanted, wanted_length, __FILE__, __LINE__,            \
                     #seen " == " #wanted)

#define CHECK_TEXT(seen, wanted) CHECK_BYTES(seen, strlen(seen), wanted, strlen(wanted))

/* For what the rest of the test stands on. */
#define REQUIRE(condition)                                                               \
    do {                                                                                 \
        if (!CHECK(condition)) {                                                         \
            return;                                                                      \
        }                                                                                \
    } while (0)
