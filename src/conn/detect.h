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

/* "<policy-file-request/>" and the NUL behind it. */
enum { POLICY_REQUEST_LENGTH = 23 };
