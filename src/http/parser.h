/* parser.h: reading HTTP/1.0 and HTTP/1.1 requests off a byte stream, one at a time
 * (RFC 9110, RFC 9112).
 *
 * Pure: knows no connection and no socket. http-parser reads the message; what it lets
 * pass and a proxy in front might read otherwise is refused here before it sees it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bounds of one request. The same max_head bounds, once more, what comes between and
 * behind the chunks of a body: extensions and trailers. Trailers count as headers.
 * A max_head over 80 KiB is of no use: that is http-parser's own bound, for a whole
 * process. */
struct http_limits {
    uint32_t max_head; /* bytes of request line and headers as received, empty line too */
    uint32_t max_headers;
    uint32_t max_body; /* bytes, decoded */
};

enum http_state {
    HTTP_MORE,     /* all bytes were used, and the request goes on */
    HTTP_CONTINUE, /* the head is there, and the client waits for "100 Continue" (RFC 9110
                    * section 10.1.1) before it sends the body; comes once a request */
    HTTP_REQUEST,  /* a request is complete */
    HTTP_BAD       /* answer with `status` and close */
};

struct http_request {
    /* bytes[0..head_length) is the head: "METHOD TARGET 1.1\n" (or 1.0), and for each
     * header, in the order they came, "name: value\n" with the name in lower case and no
     * blanks round the value. The target is ASCII without blanks and as it came:
     * "/path?query", "http://host/path?query", or "*" with OPTIONS. The method is one
     * that http-parser knows, but never CONNECT. A value can hold tabs and bytes above
     * 127, no other control. bytes[head_length..length) is the body, its chunks joined.
     */
    const char *bytes;
    size_t head_length;
    size_t length;
    const char *reason;   /* why it is HTTP_BAD, one line of ASCII; static */
    int status;           /* 0 unless HTTP_BAD */
    bool keep_alive;      /* the connection can serve a next request */
    bool upgrade;         /* a WebSocket handshake; any other upgrade is ignored */
    bool expect_continue; /* HTTP_CONTINUE came */
};

struct http;

/* A reader that waits for a first request, or NULL when memory ran out. It holds some
 * 200 bytes until one begins. */
struct http *http_new(const struct http_limits *limits);
void http_free(struct http *http);

/* Takes received bytes and returns how many it used: less than `length` after
 * HTTP_CONTINUE, HTTP_REQUEST and HTTP_BAD, where it stops right behind what was read. So
 * requests sent ahead of their answers, and the first frames behind an upgrade, stay with
 * the caller. How the bytes are split makes no difference. After HTTP_REQUEST it takes
 * nothing until http_next, after HTTP_BAD nothing more.
 *
 * A caller that has unused bytes left after HTTP_CONTINUE needn't write "100 Continue":
 * the body is under way.
 *
 * The statuses of HTTP_BAD: 400 malformed, or its end can't be told for sure; 413 body
 * over max_body, told by Content-Length or as soon as chunks add up; 431 head over
 * max_head, over max_headers; 501 method or transfer coding not understood; 505 neither
 * HTTP/1.0 nor HTTP/1.1; 503 memory ran out. */
size_t http_take(struct http *http, const char *bytes, size_t length,
                 enum http_state *state);

/* What http_take found: after HTTP_CONTINUE the head, until the next http_take; after
 * HTTP_REQUEST all of it, until http_next; after HTTP_BAD status and reason. */
const struct http_request *http_request(const struct http *http);

/* Makes ready for the next request, and gives a large buffer back. */
void http_next(struct http *http);

/* Appends what a reader needs to stand where this one does, of a request that isn't
 * complete: the request as it might have come until here, without what doesn't count. */
struct record;
void http_carry(const struct http *http, struct record *record);
