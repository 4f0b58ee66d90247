/* fuzz.c: a fuzzer's input, taken apart into choices. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>

uint8_t input_byte(struct input *input) {
    if (input->length == 0) {
        return 0;
    }
    input->length--;
    return *input->bytes++;
}

uint32_t input_below(struct input *input, uint32_t limit) {
    uint32_t high = input_byte(input);
    return (high << 8 | input_byte(input)) % limit;
}

void fuzz_require(int holds, const char *file, int line, const char *text) {
    if (!holds) {
        fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, text);
        abort();
    }
}
