/* parser.c: HTTP requests off a byte stream.
 *
 * Every line (of the head, of a chunk's size, of a trailer) is gathered whole, checked,
 * given to http-parser and, if it is of the head, rewritten in place as normalized text,
 * which is never longer. http-parser's callbacks say what comes next: so both always
 * agree on where a request ends, and the split of the input can't matter.
 *
 * The checks are strict where readers are known to differ, because a proxy that sees one
 * request where this sees two lets a client smuggle the second past it. */
#include "http/parser.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/record.h"
#include "http/text.h"

/* Its enum has the name HTTP_REQUEST, too. */
#define HTTP_REQUEST PARSER_OF_REQUESTS
#include <http_parser.h>
#undef HTTP_REQUEST

enum {
    FIRST_BUFFER = 512,
    KEPT_BUFFER = 1024, /* between requests */
    SIZE_DIGITS = 16,   /* of a chunk's size: 64 bits */
    SIZE_LINE = SIZE_DIGITS + 2
};

/* What the next byte belongs to. */
enum stage {
    STAGE_REQUEST_LINE,
    STAGE_HEADER,
    STAGE_BODY,
    STAGE_CHUNK_SIZE,
    STAGE_CHUNK,
    STAGE_CHUNK_END,
    STAGE_TRAILER,
    STAGE_COMPLETE,
    STAGE_BAD
};

struct http {
    http_parser parser;
    struct http_limits limits;
    struct http_request request;
    char *bytes; /* head, body, and behind them the line that is being read */
    size_t length;
    size_t capacity;
    size_t line;        /* where that line begins */
    uint64_t remaining; /* bytes of the body or chunk to come */
    uint32_t spent;     /* of max_head */
    uint32_t headers;
    enum stage stage;
    bool asks; /* HTTP_CONTINUE is due */
    bool has_host;
    bool has_coding;
    bool says_close; /* these are tokens of its Connection, Upgrade and Expect */
    bool says_keep_alive;
    bool says_upgrade;
    bool says_websocket;
    bool says_continue;
};

/* The buffer */

static void refuse(struct http *http, int status, const char *reason) {
    free(http->bytes);
    http->bytes = NULL;
    http->length = http->line = http->capacity = 0;
    http->request = (struct http_request){.status = status, .reason = reason};
    http->stage = STAGE_BAD;
}

static bool append(struct http *http, const char *bytes, size_t length) {
    size_t needed = http->length + length;
    if (needed > http->capacity) {
        size_t capacity = http->capacity ? http->capacity * 2 : FIRST_BUFFER;
        capacity = capacity < needed ? needed : capacity;
        char *grown = realloc(http->bytes, capacity);
        if (!grown) {
            refuse(http, 503, "out of memory");
            return false;
        }
        http->bytes = grown;
        http->capacity = capacity;
    }
    memcpy(http->bytes + http->length, bytes, length);
    http->length = needed;
    return true;
}

/* Forgets the line that was read; the next is gathered in its place. */
static void drop_line(struct http *http) {
    http->length = http->line;
}

static void keep_line(struct http *http, size_t length) {
    http->line += length;
    http->length = http->line;
}

/* http-parser */

static int on_headers_complete(http_parser *parser) {
    struct http *http = parser->data;
    bool chunked = parser->flags & F_CHUNKED;
    http->stage = chunked ? STAGE_CHUNK_SIZE : STAGE_BODY;
    http->remaining = parser->flags & F_CONTENTLENGTH ? parser->content_length : 0;
    return 0;
}

static int on_chunk_header(http_parser *parser) {
    struct http *http = parser->data;
    http->remaining = parser->content_length;
    http->stage = http->remaining > 0 ? STAGE_CHUNK : STAGE_TRAILER;
    return 0;
}

static int on_chunk_complete(http_parser *parser) {
    struct http *http = parser->data;
    http->stage = STAGE_CHUNK_SIZE;
    return 0;
}

static int on_message_complete(http_parser *parser) {
    struct http *http = parser->data;
    http->stage = STAGE_COMPLETE;
    return 0;
}

static const http_parser_settings settings = {
    .on_headers_complete = on_headers_complete,
    .on_chunk_header = on_chunk_header,
    .on_chunk_complete = on_chunk_complete,
    .on_message_complete = on_message_complete,
};

/* Returns false when it refused them. A length of 0 would mean the stream's end. */
static bool parse(struct http *http, const char *bytes, size_t length) {
    http_parser_execute(&http->parser, &settings, bytes, length);
    enum http_errno error = HTTP_PARSER_ERRNO(&http->parser);
    switch (error) {
    case HPE_OK: return true;
    case HPE_INVALID_METHOD: refuse(http, 501, "unknown method"); return false;
    case HPE_HEADER_OVERFLOW: refuse(http, 431, "head too large"); return false;
    default: refuse(http, 400, http_errno_description(error)); return false;
    }
}

/* Lines */

static void read_request_line(struct http *http, struct text line) {
    struct text version = {line.bytes, line.length - 2};
    struct text method = text_cut(&version, ' ');
    struct text target = text_cut(&version, ' ');
    if (line.length == 2) {
        drop_line(http); /* a client may send it behind a body (RFC 9112 section 2.2) */
    } else if (!text_is_all(method, text_is_token) || !text_is_version(version)) {
        refuse(http, 400, "malformed request line");
    } else if (!text_equals(version, "HTTP/1.1") && !text_equals(version, "HTTP/1.0")) {
        refuse(http, 505, "not HTTP/1.1");
    } else if (text_equals(method, "CONNECT")) {
        refuse(http, 501, "not a proxy");
    } else if (!text_is_target(target, method)) {
        refuse(http, 400, "malformed request target");
    } else if (parse(http, line.bytes, line.length)) {
        char *digits = http->bytes + (version.bytes - http->bytes);
        memmove(digits, digits + 5, 3); /* "HTTP/1.1\r\n" becomes "1.1\n" */
        digits[3] = '\n';
        keep_line(http, line.length - 6);
        http->stage = STAGE_HEADER;
    }
}

/* RFC 9112 sections 6.1 and 6.3. Only "chunked" is understood, once and alone: what other
 * codings lead up to it is not, and without it behind them no end could be told. */
static void refuse_coding(struct http *http, struct text codings) {
    size_t count = 0;
    size_t chunked = 0;
    struct text last = {NULL, 0};
    while (codings.length > 0) {
        last = text_trim(text_cut(&codings, ','));
        count += last.length > 0;
        chunked += text_matches(last, "chunked");
    }
    if (count > 1 && chunked == 1 && text_matches(last, "chunked")) {
        refuse(http, 501, "unknown transfer coding");
    } else {
        refuse(http, 400, "malformed transfer-encoding");
    }
}

/* The value is as it came but for blanks before it: RFC 9110 allows some behind it, but
 * readers of lengths and codings differ in what they make of them. That a length is
 * repeated or too great for 64 bits http-parser has seen already. */
static void note_framing(struct http *http, struct text name, struct text value) {
    if (text_equals(name, "content-length") && !text_is_all(value, text_is_digit)) {
        refuse(http, 400, "malformed content-length");
    } else if (text_equals(name, "transfer-encoding")) {
        if (http->parser.http_minor == 0) {
            refuse(http, 400, "transfer-encoding in HTTP/1.0");
        } else if (!text_matches(value, "chunked") || http->has_coding) {
            refuse_coding(http, value);
        }
        http->has_coding = true;
    }
}

static void note_options(struct http *http, struct text name, struct text value) {
    if (text_equals(name, "host")) {
        if (http->has_host || !text_is_authority(value)) {
            refuse(http, 400, "malformed or repeated host");
        }
        http->has_host = true;
    } else if (text_equals(name, "connection")) {
        http->says_close |= text_list_has(value, "close");
        http->says_keep_alive |= text_list_has(value, "keep-alive");
        http->says_upgrade |= text_list_has(value, "upgrade");
    } else if (text_equals(name, "upgrade")) {
        http->says_websocket |= text_list_has(value, "websocket");
    } else if (text_equals(name, "expect")) {
        http->says_continue |= text_list_has(value, "100-continue");
    }
}

/* "Name:  value \r\n" becomes "name: value\n". */
static void normalize(struct http *http, size_t name_length, struct text value) {
    char *line = http->bytes + http->line;
    memmove(line + name_length + 2, value.bytes, value.length);
    line[name_length + 1] = ' ';
    line[name_length + 2 + value.length] = '\n';
    keep_line(http, name_length + 2 + value.length + 1);
}

static void keep_header(struct http *http, struct text name, struct text value) {
    char *line = http->bytes + http->line;
    for (size_t i = 0; i < name.length; i++) {
        line[i] = text_lower(line[i]);
    }
    note_framing(http, name, text_skip(value, text_span(value, text_is_blank)));
    if (http->stage != STAGE_BAD) {
        note_options(http, name, text_trim(value));
    }
    if (http->stage != STAGE_BAD) {
        normalize(http, name.length, text_trim(value));
    }
}

/* A line that goes on with the header before it (RFC 9112 section 5.2) begins with a
 * blank, so that, too, is no name. */
static void read_header(struct http *http, struct text line) {
    struct text value = {line.bytes, line.length - 2};
    struct text name = text_cut(&value, ':');
    if (!text_is_all(name, text_is_token) || name.bytes[name.length] != ':') {
        refuse(http, 400, "malformed header");
    } else if (http->headers == http->limits.max_headers) {
        refuse(http, 431, "too many headers");
    } else if (parse(http, line.bytes, line.length)) {
        http->headers++;
        if (http->stage == STAGE_TRAILER) {
            drop_line(http);
        } else {
            keep_header(http, name, value);
        }
    }
}

/* The empty line: what the headers mean together. */
static void end_head(struct http *http, struct text line) {
    http_parser *parser = &http->parser;
    bool old = parser->http_minor == 0;
    bool upgrade =
        !old && parser->method == HTTP_GET && http->says_upgrade && http->says_websocket;
    if (!http->has_host && !old) {
        refuse(http, 400, "no host");
        return;
    }
    if (!parse(http, line.bytes, line.length)) {
        return; /* a length and a coding, too */
    }
    bool has_body = http->stage != STAGE_COMPLETE;
    if (upgrade && has_body) {
        refuse(http, 400, "upgrade with a body");
    } else if (http->remaining > http->limits.max_body) {
        refuse(http, 413, "body too large");
    } else {
        drop_line(http);
        http->spent = 0;
        http->asks = has_body && http->says_continue && !old;
        http->request.head_length = http->length;
        http->request.keep_alive = !http->says_close && (!old || http->says_keep_alive);
        http->request.upgrade = upgrade;
        http->request.expect_continue = http->asks;
    }
}

/* No blank may follow the digits: readers differ in whether they skip it. */
static void read_chunk_size(struct http *http, struct text line) {
    size_t digits = text_span(line, text_is_hex);
    size_t body = http->line - http->request.head_length;
    if (digits > SIZE_DIGITS || !text_is_one_of(line.bytes[digits], "\r;")) {
        refuse(http, 400, "malformed chunk size");
    } else if (parse(http, line.bytes, line.length)) {
        if (http->remaining > http->limits.max_body - body) {
            refuse(http, 413, "body too large");
            return;
        }
        drop_line(http);
    }
}

/* Behind a chunk, or behind the trailers. http-parser built without its strict mode, as
 * Debian's is, takes any two bytes for the CR LF behind a chunk. */
static void read_empty_line(struct http *http, struct text line) {
    if (line.length != 2) {
        refuse(http, 400, "chunk longer than its size");
    } else if (parse(http, line.bytes, line.length)) {
        drop_line(http);
    }
}

static void read_line(struct http *http) {
    struct text line = {http->bytes + http->line, http->length - http->line};
    if (!text_is_line(line)) {
        refuse(http, 400, "control character or bare line feed");
        return;
    }
    bool empty = line.length == 2;
    switch (http->stage) {
    case STAGE_REQUEST_LINE: read_request_line(http, line); break;
    case STAGE_HEADER: (empty ? end_head : read_header)(http, line); break;
    case STAGE_TRAILER: (empty ? read_empty_line : read_header)(http, line); break;
    case STAGE_CHUNK_SIZE: read_chunk_size(http, line); break;
    default: read_empty_line(http, line);
    }
}

/* Bytes of a line that max_head doesn't count: those that every chunk needs. */
static size_t uncounted(const struct http *http) {
    switch (http->stage) {
    case STAGE_CHUNK_SIZE: return SIZE_LINE;
    case STAGE_CHUNK_END: return 2;
    default: return 0;
    }
}

static size_t longest_line(const struct http *http) {
    return uncounted(http) + http->limits.max_head - http->spent;
}

static void count_line(struct http *http) {
    size_t line = http->length - http->line;
    size_t free_of_charge = uncounted(http);
    http->spent += (uint32_t)(line > free_of_charge ? line - free_of_charge : 0);
}

/* Taking bytes */

static size_t take_line(struct http *http, const char *bytes, size_t length) {
    size_t room = longest_line(http) - (http->length - http->line);
    if (room == 0) {
        refuse(http, 431, "head too large");
        return 0;
    }
    size_t seen = length < room ? length : room;
    const char *end = memchr(bytes, '\n', seen);
    size_t used = end ? (size_t)(end - bytes) + 1 : seen;
    if (!append(http, bytes, used)) {
        return used;
    }
    if (end) {
        count_line(http);
        read_line(http);
    }
    return used;
}

static size_t take_body(struct http *http, const char *bytes, size_t length) {
    size_t used = length < http->remaining ? length : (size_t)http->remaining;
    if (append(http, bytes, used) && parse(http, bytes, used)) {
        http->line = http->length;
        http->remaining -= used;
        if (http->remaining == 0 && http->stage == STAGE_CHUNK) {
            http->stage = STAGE_CHUNK_END;
        }
    }
    return used;
}

static enum http_state found(struct http *http) {
    http->request.bytes = http->bytes;
    http->request.length = http->line;
    if (http->asks) {
        http->asks = false;
        return HTTP_CONTINUE;
    }
    switch (http->stage) {
    case STAGE_COMPLETE: return HTTP_REQUEST;
    case STAGE_BAD: return HTTP_BAD;
    default: return HTTP_MORE;
    }
}

size_t http_take(struct http *http, const char *bytes, size_t length,
                 enum http_state *state) {
    size_t used = 0;
    while (used < length && http->stage < STAGE_COMPLETE && !http->asks) {
        bool in_body = http->stage == STAGE_BODY || http->stage == STAGE_CHUNK;
        used += (in_body ? take_body : take_line)(http, bytes + used, length - used);
    }
    *state = found(http);
    return used;
}

const struct http_request *http_request(const struct http *http) {
    return &http->request;
}

static void begin(struct http *http) {
    *http = (struct http){
        .limits = http->limits, .bytes = http->bytes, .capacity = http->capacity};
    http->parser.data = http;
    http_parser_init(&http->parser, PARSER_OF_REQUESTS);
}

struct http *http_new(const struct http_limits *limits) {
    struct http *http = calloc(1, sizeof(*http));
    if (http) {
        http->limits = *limits;
        begin(http);
    }
    return http;
}

void http_free(struct http *http) {
    if (http) {
        free(http->bytes);
        free(http);
    }
}

void http_next(struct http *http) {
    if (http->stage == STAGE_BAD) {
        return;
    }
    if (http->capacity > KEPT_BUFFER) {
        free(http->bytes);
        http->bytes = NULL;
        http->capacity = 0;
    }
    begin(http);
}

/* Going on elsewhere: the request again */

static void add(struct record *record, const char *bytes, size_t length) {
    char *place = record_claim(record, length);
    if (place && length > 0) {
        memcpy(place, bytes, length);
    }
}

/* A line of the head, which is no longer than what came: the blank behind a header's
 * colon may be ours. */
static void add_line(struct record *record, const char *line, size_t length, bool first) {
    const char *cut = first ? line + length - 3 : memchr(line, ':', length);
    size_t begin = (size_t)(cut - line) + !first;
    add(record, line, begin);
    if (first) {
        add(record, "HTTP/", 5);
    }
    add(record, line + begin + !first, length - begin - !first);
    add(record, "\r\n", 2);
}

static void add_head(struct record *record, const char *head, size_t length) {
    for (size_t at = 0; at < length;) {
        const char *end = memchr(head + at, '\n', length - at);
        size_t line = (size_t)(end - head) - at;
        add_line(record, head + at, line, at == 0);
        at += line + 1;
    }
}

/* The chunks so far as one. */
static void add_chunks(struct record *record, const struct http *http, const char *body,
                       size_t length) {
    char size[SIZE_DIGITS + 3];
    bool ended = http->stage == STAGE_CHUNK_SIZE || http->stage == STAGE_TRAILER;
    if (length > 0 || !ended) {
        int digits =
            snprintf(size, sizeof(size), "%zx\r\n", length + (size_t)http->remaining);
        add(record, size, (size_t)digits);
        add(record, body, length);
        add(record, "\r\n", ended ? 2 : 0);
    }
    if (http->stage == STAGE_TRAILER) {
        add(record, "0\r\n", 3);
    }
}

void http_carry(const struct http *http, struct record *record) {
    bool in_head = http->stage <= STAGE_HEADER;
    size_t head = in_head ? http->line : http->request.head_length;
    const char *bytes = http->bytes;
    add_head(record, bytes, head);
    if (!in_head) {
        add(record, "\r\n", 2);
        bool chunked = http->parser.flags & F_CHUNKED;
        size_t body = http->line - head;
        if (chunked) {
            add_chunks(record, http, bytes + head, body);
        } else {
            add(record, bytes + head, body);
        }
    }
    add(record, bytes + http->line, http->length - http->line);
}
