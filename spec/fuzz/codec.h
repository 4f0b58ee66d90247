/* codec.h: what every codec's fuzz target does. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "conn/codec.h"

/* Cuts the input whole and in chunks of its own choosing, and checks that both give the
 * same messages, none longer than a maximum of its choosing, and that framing them
 * again and cutting that gives them once more. */
void codec_fuzz(const struct codec *codec, const uint8_t *bytes, size_t length);
