/* json.h: what a reader of JSON takes and no writer can give back. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Whether a text of JSON holds a number that no double can: it would be read as infinity.
 * Of what is no JSON the answer is of no matter. */
bool json_overflows(const char *text, size_t length);
