/* request.c: a connection that speaks HTTP. What a request means, and what it is answered
 * with, is the program's. */
#include "request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"
#include "websocket.h"

struct request {
    struct http *http;
    uint32_t progress; /* ms, when the client last read of a response */
    bool answered;     /* the parser still holds the request */
};

bool request_begin(struct conn *conn) {
    const struct sync_options *options = conn_options(conn);
    struct http_limits limits = {options->max_head, options->max_headers,
                                 options->max_body};
    struct request *request = calloc(1, sizeof(*request));
    if (request) {
        request->http = http_new(&limits);
    }
    if (!request || !request->http) {
        free(request);
        conn_abort(conn, SYNC_NO_MEMORY, true);
        return false;
    }
    conn->request = request;
    conn->protocol = CONN_HTTP;
    conn->core->public.http_count++;
    conn->wire = 0;
    return true;
}

void request_free(struct conn *conn) {
    http_free(conn->request->http);
    free(conn->request);
}

static const char *phrase(uint32_t status) {
    switch (status) {
    case 408: return "Request Timeout";
    case 413: return "Content Too Large";
    case 431: return "Request Header Fields Too Large";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return "Bad Request";
    }
}

void request_refuse(struct conn *conn, uint32_t status, const char *why) {
    char text[512];
    int length = snprintf(text, sizeof(text),
                          "HTTP/1.1 %u %s\r\nContent-Type: text/plain\r\n"
                          "Content-Length: %zu\r\nConnection: close\r\n\r\n%s\n",
                          status, phrase(status), strlen(why) + 1, why);
    conn->unfinished = false;
    output_raw(conn, text, (size_t)length);
    input_end(conn, SYNC_BROKE_PROTOCOL);
}

static void push_request(struct conn *conn) {
    const struct http_request *request = http_request(conn->request->http);
    struct core *core = conn->core;
    batch_push(&core->batch, SYNC_REQUEST, conn->slot, (uint32_t)request->head_length,
               request->bytes, request->length);
    conn->tick_messages++;
    conn->held = true;
    conn->unfinished = false;
}

/* Acts on what the parser has found. Returns whether it wants more bytes. */
static bool act(struct conn *conn, enum http_state state) {
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    const struct http_request *request = http_request(conn->request->http);
    switch (state) {
    case HTTP_REQUEST: push_request(conn); return false;
    case HTTP_BAD:
        request_refuse(conn, (uint32_t)request->status, request->reason);
        return false;
    case HTTP_CONTINUE: output_raw(conn, go_on, sizeof(go_on) - 1); return true;
    default: input_unfinished(conn, false); return true;
    }
}

size_t request_take(struct conn *conn, const char *bytes, size_t length) {
    struct request *request = conn->request;
    if (conn->held || conn->out.bytes > conn_options(conn)->high_water) {
        conn->held = true; /* until its answers were read */
        return 0;
    }
    if (!input_has_room(conn)) {
        input_wait(conn);
        return 0;
    }
    if (request->answered) {
        request->answered = false;
        http_next(request->http);
    }
    size_t taken = 0;
    bool more = true;
    while (taken < length && more) {
        enum http_state state;
        taken += http_take(request->http, bytes + taken, length - taken, &state);
        more = act(conn, state);
    }
    return conn->ending || conn->state != CONN_OPEN ? length : taken;
}

enum sync_sent request_respond(struct conn *conn, const char *bytes, size_t length,
                               bool keep) {
    if (conn->state != CONN_OPEN || !conn->held || conn->request->answered) {
        return SYNC_CLOSED;
    }
    enum sync_sent sent = output_raw(conn, bytes, length);
    if (sent != SYNC_SENT) {
        return sent;
    }
    conn->request->answered = true;
    conn->request->progress = core_now(conn->core);
    if (keep) {
        input_release(conn);
    } else {
        conn->held = false;
        conn_end(conn, SYNC_BY_SERVER);
    }
    return SYNC_SENT;
}

void request_emptied(struct conn *conn) {
    if (conn->held && conn->request->answered) {
        input_release(conn);
    }
}

uint32_t request_progress(const struct conn *conn) {
    return conn->request->progress;
}

enum sync_sent request_upgrade(struct conn *conn, const char *head, size_t length,
                               const struct sync_websocket *settings) {
    if (conn->state != CONN_OPEN || !conn->held || conn->request->answered) {
        return SYNC_CLOSED;
    }
    enum sync_sent sent = output_raw(conn, head, length);
    if (sent != SYNC_SENT) {
        return sent;
    }
    struct request *request = conn->request;
    if (websocket_begin(conn, settings) < 0) {
        conn->request = request;
        conn_abort(conn, SYNC_NO_MEMORY, true);
        return SYNC_CLOSED;
    }
    http_free(request->http);
    free(request);
    conn->core->public.http_count--;
    conn->had_message = false;
    input_release(conn);
    return SYNC_SENT;
}
