/* length24le_fuzz.c: the length24le codec. */
#include <stddef.h>
#include <stdint.h>

#include "codec.h"
#include "conn/codec.h"
#include "fuzz.h"
#include "sync.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    codec_fuzz(&codecs[SYNC_FRAMING_LENGTH24LE], bytes, length);
    return 0;
}
