/* fuzz.h: a fuzzer's input, taken apart into choices. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct input {
    const uint8_t *bytes;
    size_t length;
};

/* The next byte, or 0 when none is left. */
uint8_t input_byte(struct input *input);

/* A number below `limit` (which is more than 0), made of two bytes. */
uint32_t input_below(struct input *input, uint32_t limit);

/* Ends the run unless it holds; the fuzzer reports the input. */
void fuzz_require(int holds, const char *file, int line, const char *text);
#define FUZZ_REQUIRE(condition) fuzz_require((condition), __FILE__, __LINE__, #condition)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);
