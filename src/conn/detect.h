/* detect.h: which protocol a client speaks, by its first bytes. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum detected {
    DETECT_MORE,   /* several are still possible */
    DETECT_STREAM, /* none of the others */
    DETECT_HTTP,   /* a method and a space */
    DETECT_POLICY, /* Flash's "<policy-file-request/>" and a NUL */
    DETECT_TLS     /* a handshake record */
};

/* `transports` are those that are possible: of enum sync_transports. */
enum detected detect(const char *bytes, size_t length, uint32_t transports);

/* Whether the bytes begin with "METHOD TARGET HTTP/1.x" and the line's end: DETECT_HTTP,
 * DETECT_STREAM, or DETECT_MORE. *scanned is how far the target was looked through: it
 * starts as 0 and is passed back with the same, longer input. */
enum detected detect_request_line(const char *bytes, size_t length, size_t *scanned);

/* "<policy-file-request/>" and the NUL behind it. */
enum { DETECT_POLICY_LENGTH = 23 };
