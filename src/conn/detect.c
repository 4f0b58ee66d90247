/* detect.c: which protocol a client speaks, by its first bytes. */
#include "conn/detect.h"

#include <string.h>

#include "sync.h"

static const char *const methods[] = {"GET ",    "HEAD ",    "POST ", "PUT ",
                                      "DELETE ", "OPTIONS ", "PATCH "};

static const char policy_request[POLICY_REQUEST_LENGTH + 1] = "<policy-file-request/>\0";

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

static enum detected compare_methods(const char *bytes, size_t length) {
    enum detected found = DETECT_STREAM;
    size_t count = sizeof(methods) / sizeof(methods[0]);
    for (size_t i = 0; i < count && found == DETECT_STREAM; i++) {
        found = compare(bytes, length, methods[i], strlen(methods[i]), DETECT_HTTP);
    }
    return found;
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
            compare(bytes, length, policy_request, POLICY_REQUEST_LENGTH, DETECT_POLICY);
    }
    if (found == DETECT_STREAM && (transports & (SYNC_HTTP | SYNC_WEBSOCKET))) {
        found = compare_methods(bytes, length);
    }
    return found;
}
