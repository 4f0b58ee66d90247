/* calls.h: how many calls a message holds. Pure. */
#pragma once

#include <stddef.h>

/* The elements of a JSON array, 1 at least; 1 for anything else. What is no JSON gets any
 * number. Takes about a nanosecond a byte of an array. */
size_t calls_count(const char *bytes, size_t length);
