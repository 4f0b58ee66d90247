/* detect.c: which protocol a client speaks, by its first bytes. */
#include "conn/detect.h"

#include <string.h>

#include "sync.h"

static const char *const methods[] = {"GET ",    "HEAD ",    "POST ", "PUT ",
                                      "DELETE ", "OPTIONS ", "PATCH "};

static const char policy_request[DETECT_POLICY_LENGTH + 1] = "<policy-file-request/>\0";

static const char tls_handshake[] = {0x16, 0x03};

/* MORE while the bytes are a beginning of `whole`, `match` when they begin with it. */
static enum detected compare(const char *bytes, size_t length, const char *whole,
                             size_t whole_length, enum detected match) {
    size_t common = length < whole_length ? length : whole_length;
    if (memcmp(bytes, whole, common) != 0) {
        return DETECT_STREAM;
    }
    return common == whole_length ? match : DETECT_MORE;
}

/* *method is the length of the one that was found, its space included. */
static enum detected compare_methods(const char *bytes, size_t length, size_t *method) {
    enum detected found = DETECT_STREAM;
    size_t count = sizeof(methods) / sizeof(methods[0]);
    for (size_t i = 0; i < count && found == DETECT_STREAM; i++) {
        *method = strlen(methods[i]);
        found = compare(bytes, length, methods[i], *method, DETECT_HTTP);
    }
    return found;
}

/* What stands behind the target: " HTTP/1.", a digit, and CR or LF. */
static enum detected compare_version(const char *bytes, size_t length) {
    static const char version[] = " HTTP/1.";
    size_t digit = sizeof(version) - 1;
    enum detected found = compare(bytes, length, version, digit, DETECT_HTTP);
    if (found != DETECT_HTTP || length == digit) {
        return found == DETECT_HTTP ? DETECT_MORE : found;
    }
    if (bytes[digit] < '0' || bytes[digit] > '9') {
        return DETECT_STREAM;
    }
    if (length == digit + 1) {
        return DETECT_MORE;
    }
    char end = bytes[digit + 1];
    return end == '\r' || end == '\n' ? DETECT_HTTP : DETECT_STREAM;
}

enum detected detect_request_line(const char *bytes, size_t length, size_t *scanned) {
    size_t method;
    enum detected found = compare_methods(bytes, length, &method);
    if (found != DETECT_HTTP) {
        return found;
    }
    size_t end = *scanned > method ? *scanned : method;
    while (end < length && (unsigned char)bytes[end] > ' ') {
        end++;
    }
    *scanned = end;
    if (end == length) {
        return DETECT_MORE;
    }
    return end > method ? compare_version(bytes + end, length - end) : DETECT_STREAM;
}

enum detected detect(const char *bytes, size_t length, uint32_t transports) {
    enum detected found = DETECT_STREAM;
    if (length == 0) {
        return transports & ~(uint32_t)SYNC_STREAMS ? DETECT_MORE : DETECT_STREAM;
    }
    if (transports & SYNC_TLS) {
        found = compare(bytes, length, tls_handshake, sizeof(tls_handshake), DETECT_TLS);
    }
    if (found == DETECT_STREAM && (transports & SYNC_POLICY)) {
        found =
            compare(bytes, length, policy_request, DETECT_POLICY_LENGTH, DETECT_POLICY);
    }
    if (found == DETECT_STREAM && (transports & (SYNC_HTTP | SYNC_WEBSOCKET))) {
        size_t method;
        found = compare_methods(bytes, length, &method);
    }
    return found;
}
