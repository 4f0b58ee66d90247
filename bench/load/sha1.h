/* sha1.h: SHA-1 (FIPS 180-4), for Sec-WebSocket-Accept, the one place that needs it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { SHA1_SIZE = 20 };

/* The digest of `length` bytes. */
void sha1(const void *data, size_t length, uint8_t digest[SHA1_SIZE]);
