/* natslink.h: one connection to NATS servers, made by libnats, whose threads a program
 * never meets: it talks to the link over a Unix stream socket.
 *
 * This same text is the ffi.cdef of lua/sync/natslibrary.lua: declarations only.
 *
 * Both ways go frames: a big-endian 32-bit length of what follows, one byte of type, a
 * big-endian 32-bit number, and bytes. To the link:
 *
 *     P 0         publish: subject NUL bytes
 *     R number    publish, and wait for an answer: subject NUL (name NUL value NUL)* NUL
 *                 bytes; the pairs are headers
 *     S number    subscribe: subject NUL
 *     U number    end that subscription
 *
 * From the link:
 *
 *     U 0         connected: the server's URL
 *     D 0         not connected, or no more: why; the last frame
 *     M length    a message: subject (of that length) bytes
 *     R number    an answer: status bytes; three digits, 000 when it has none, 503 when
 *                 nobody is there to answer, 413 when it was too long to be told
 *     L count     so many messages were dropped
 *     E 0         an error that ends nothing: text
 *
 * A link is one connection: it doesn't come back. Who closes his end of the socket ends
 * it: what was written before is still published, and all is freed. */
#pragma once
#pragma GCC visibility push(default)

/* Texts end at their NUL, and are copied. */
struct natslink_options {
    const char *servers;    /* URLs without user or password, with commas between */
    const char *user;       /* or NULL */
    const char *password;   /* or NULL */
    const char *token;      /* or NULL */
    const char *authority;  /* a PEM file of who signs servers' certificates, or NULL */
    uint32_t secure;        /* TLS */
    uint32_t timeout;       /* milliseconds to connect to one server */
    uint32_t ping_interval; /* milliseconds; twice without an answer ends the link */
    uint32_t most_waiting;  /* bytes that may wait for the program; then messages (never
                               answers) are dropped */
    uint32_t pending_limit; /* messages of a subscription that may wait inside libnats */
};

/* Connects in the background. Returns the program's end of the socket (a descriptor that
 * it owns), or -1 and a message. */
int32_t natslink_open(const struct natslink_options *options, char *message, size_t size);

/* Decodes base64 (RFC 4648 section 4) into `bytes`, which has room for length / 4 * 3.
 * Returns how many there are, or -1 when it is no base64. */
int32_t natslink_decode(const char *text, size_t length, char *bytes);

#pragma GCC visibility pop
