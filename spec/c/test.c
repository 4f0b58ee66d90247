/* test.c: runs every test, or those whose name contains an argument. */
#include "test.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    TEST_SECONDS =
        180, /* after which a test hangs: sanitizers are slow, on a busy machine */
    SHOWN_FAILURES = 5,
    SHOWN_BYTES = 60
};

static struct test *tests;
static const struct test *running;
static uint32_t failures; /* of the running test */
static uint32_t skips;
static uint32_t seed;

void test_add(struct test *test) {
    struct test **link = &tests;
    while (*link && strcmp((*link)->name, test->name) < 0) {
        link = &(*link)->next;
    }
    test->next = *link;
    *link = test;
}

static bool fail(const char *file, int line, const char *text) {
    failures++;
    if (failures > SHOWN_FAILURES) {
        return false;
    }
    printf("%s:%d: %s: %s\n", file, line, running->name, text);
    return true;
}

bool test_check(bool holds, const char *file, int line, const char *text) {
    if (!holds) {
        fail(file, line, text);
    }
    return holds;
}

bool test_check_int(int64_t seen, int64_t wanted, const char *file, int line,
                    const char *text) {
    if (seen != wanted && fail(file, line, text)) {
        printf("    seen %" PRId64 ", wanted %" PRId64 "\n", seen, wanted);
    }
    return seen == wanted;
}

static void show(const char *name, const char *bytes, size_t length) {
    printf("    %s %zu bytes: ", name, length);
    for (size_t i = 0; i < length && i < SHOWN_BYTES; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        printf(byte >= ' ' && byte < 127 ? "%c" : "\\x%02x", byte);
    }
    printf("%s\n", length > SHOWN_BYTES ? "..." : "");
}

bool test_check_bytes(const char *seen, size_t length, const char *wanted,
                      size_t wanted_length, const char *file, int line,
                      const char *text) {
    bool same =
        length == wanted_length && (length == 0 || memcmp(seen, wanted, length) == 0);
    if (!same && fail(file, line, text)) {
        show("seen", seen, length);
        show("wanted", wanted, wanted_length);
    }
    return same;
}

void test_skip(const char *why) {
    printf("%s: skipped: %s\n", running->name, why);
    skips++;
}

#if defined(__has_feature)
#define HAS_TSAN __has_feature(thread_sanitizer)
#elif defined(__SANITIZE_THREAD__)
#define HAS_TSAN 1
#else
#define HAS_TSAN 0
#endif

bool test_skips_signals(void) {
    if (HAS_TSAN) {
        test_skip("ThreadSanitizer keeps signals back");
    }
    return HAS_TSAN;
}

uint32_t test_random(uint32_t limit) {
    seed ^= seed << 13; /* xorshift */
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed % limit;
}

static void on_alarm(int number) {
    (void)number;
    static const char text[] = ": hangs, so the run ends here\n";
    ssize_t ignored = write(STDOUT_FILENO, running->name, strlen(running->name));
    ignored = write(STDOUT_FILENO, text, sizeof(text) - 1);
    (void)ignored;
    _exit(1);
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool is_wanted(const struct test *test, int argc, char **argv) {
    bool wanted = argc < 2;
    for (int i = 1; i < argc; i++) {
        wanted |= strstr(test->name, argv[i]) != NULL;
    }
    return wanted;
}

int main(int argc, char **argv) {
    uint32_t passed = 0;
    uint32_t failed = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGALRM, on_alarm);
    for (running = tests; running; running = running->next) {
        if (!is_wanted(running, argc, argv)) {
            continue;
        }
        failures = 0;
        seed = 0x5eed;
        double begin = seconds();
        alarm(TEST_SECONDS);
        running->run();
        alarm(0);
        failed += failures > 0;
        passed += failures == 0;
        double took = seconds() - begin;
        if (argc > 1 || took > 2) {
            printf("%s: %s, %.2f s\n", running->name, failures ? "FAILED" : "passed",
                   took);
        }
    }
    if (skips > 0) {
        printf("%" PRIu32 " skipped (counted as passed)\n", skips);
    }
    printf("%" PRIu32 " passed, %" PRIu32 " failed\n", passed, failed);
    return failed > 0 || passed == 0;
}
