/* line_fuzz.c: the line codec. */
#include <stddef.h>
#include <stdint.h>

#include "codec.h"
#include "fuzz.h"
#include "sync.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    codec_fuzz(&codecs[SYNC_FRAMING_LINE], bytes, length);
    return 0;
}
