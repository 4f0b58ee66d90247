/* request.c: a connection that speaks HTTP. What a request means, and what it is answered
 * with, is the program's. */
#include "http/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn/reserve.h"
#include "http/file.h"
#include "http/parser.h"
#include "websocket/websocket.h"

enum {
    REQUEST_WORK = 64,  /* messages, or calls, that take the program as long */
    AHEAD = 64 * 1024,  /* unread bytes of answers behind which no request is taken */
    UNSENT = 128 * 1024 /* bytes of a file that wait in the kernel for the network */
};

struct request {
    struct http *http;
    struct file *file; /* that answers, or NULL */
    uint64_t offset;   /* of its next part */
    uint64_t left;     /* bytes of it to be sent */
    uint32_t progress; /* ms, when the client last read of a response */
    bool answered;     /* the parser still holds the request */
    bool keep;         /* the connection, after the file */
    bool found;        /* the file is open */
    bool reading;      /* a part of it is on its way */
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

static void close_file(struct conn *conn) {
    struct request *request = conn->request;
    if (request->file) {
        file_close(request->file);
        conn->core->files--;
        request->file = NULL;
        request->found = false;
        request->reading = false;
    }
}

void request_free(struct conn *conn) {
    close_file(conn);
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

void request_refuse(struct conn *conn, uint32_t status, const char *why,
                    enum sync_reason reason) {
    char text[512];
    int length = snprintf(text, sizeof(text),
                          "HTTP/1.1 %u %s\r\nContent-Type: text/plain\r\n"
                          "Content-Length: %zu\r\nConnection: close\r\n\r\n%s\n",
                          status, phrase(status), strlen(why) + 1, why);
    conn->unfinished = false;
    output_raw(conn, text, (size_t)length);
    input_end(conn, reason);
}

static void push_request(struct conn *conn) {
    const struct http_request *request = http_request(conn->request->http);
    struct core *core = conn->core;
    if (!reserve_serves(conn, request)) {
        request_refuse(conn, 503, "the server is full; try again later", SYNC_REFUSED);
        return;
    }
    batch_push(&core->batch, SYNC_REQUEST, conn->slot, (uint32_t)request->head_length,
               request->bytes, request->length);
    input_work(conn, REQUEST_WORK);
    conn->handed = true;
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
        request_refuse(conn, (uint32_t)request->status, request->reason,
                       SYNC_BROKE_PROTOCOL);
        return false;
    case HTTP_CONTINUE: output_raw(conn, go_on, sizeof(go_on) - 1); return true;
    default: input_unfinished(conn, false); return true;
    }
}

size_t request_take(struct conn *conn, const char *bytes, size_t length) {
    struct request *request = conn->request;
    uint32_t high_water = conn_options(conn)->high_water;
    if (conn->held || conn->out.bytes > (high_water < AHEAD ? high_water : AHEAD)) {
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

/* A request that may be answered. */
static bool is_open(const struct conn *conn) {
    return conn->state == CONN_OPEN && conn->held && !conn->request->answered;
}

enum sync_sent request_respond(struct conn *conn, const char *bytes, size_t length,
                               bool keep) {
    if (!is_open(conn)) {
        return SYNC_CLOSED;
    }
    enum sync_sent sent = output_raw(conn, bytes, length);
    if (sent != SYNC_SENT) {
        return sent;
    }
    close_file(conn); /* it was found, and not wanted */
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

/* What was found, with its name behind it, in a block that lives until the tick ends. */
static struct sync_file *describe(struct batch *batch, const struct file *file) {
    size_t length = strlen(file->name) + 1;
    struct sync_file *found = (void *)batch_block_new(sizeof(*found) + length);
    if (found) {
        char *name = (char *)(found + 1);
        memcpy(name, file->name, length);
        *found = (struct sync_file){name, (double)file->size, (double)file->mtime,
                                    file->mtime_ns, file->slash_missing};
        batch_spend(batch, (char *)found);
    }
    return found;
}

static void on_opened(struct file *file, int status) {
    struct conn *conn = file->context;
    struct request *request = conn->request;
    struct batch *batch = &conn->core->batch;
    const struct sync_file *found = status == 0 ? describe(batch, file) : NULL;
    request->found = found != NULL;
    uint32_t failure = found ? 0 : (uint32_t)file_http_status(status);
    if (!found) {
        close_file(conn);
    }
    if (conn->state == CONN_OPEN) {
        batch_push(batch, SYNC_FILE, conn->slot, failure, (const char *)found,
                   found ? sizeof(*found) : 0);
    }
}

int request_open_file(struct conn *conn, const char *path, uint32_t which,
                      bool any_case) {
    const struct folder *folder = conn->listener->folder;
    while (folder && which-- > 0) {
        folder = folder->beside;
    }
    if (!is_open(conn) || conn->request->file || !folder) {
        return UV_EINVAL;
    }
    if (core_descriptors(conn->core) >= conn->core->public.client_limit) {
        return UV_EMFILE;
    }
    struct file *file = (any_case ? file_open_any_case : file_open)(
        &conn->core->loop, folder->descriptor, path, "index.html", on_opened, conn);
    conn->request->file = file;
    conn->core->files += file != NULL;
    return file ? 0 : UV_ENOMEM;
}

static void end_response(struct conn *conn) {
    close_file(conn);
    if (conn->request->keep) {
        input_release(conn);
    } else {
        conn->held = false;
        conn_end(conn, SYNC_BY_SERVER);
    }
}

static void on_read(struct file *file, int status) {
    struct conn *conn = file->context;
    struct request *request = conn->request;
    request->reading = false;
    if (conn->state != CONN_OPEN) {
        return;
    }
    if (status < 0 || output_raw(conn, file->bytes, file->length) != SYNC_SENT) {
        conn_abort(conn, SYNC_RESET, true); /* the head has promised more */
        return;
    }
    request->progress = core_now(conn->core);
    request->offset += file->length;
    request->left -= file->length;
}

/* Reads the next part, now that the last one was written. */
static void read_on(struct conn *conn) {
    struct request *request = conn->request;
    if (request->reading) {
        return;
    }
    if (request->left == 0) {
        end_response(conn);
        return;
    }
    uint32_t length = request->left < FILE_READ ? (uint32_t)request->left : FILE_READ;
    request->reading = true;
    if (file_read(request->file, request->offset, length, on_read) < 0) {
        conn_abort(conn, SYNC_NO_MEMORY, true);
    }
}

enum sync_sent request_respond_file(struct conn *conn, const char *head, size_t length,
                                    uint64_t offset, uint64_t count, bool keep) {
    struct request *request = conn->request;
    if (!is_open(conn) || !request->found) {
        return SYNC_CLOSED;
    }
    enum sync_sent sent = output_raw(conn, head, length);
    if (sent != SYNC_SENT) {
        return sent;
    }
    request->answered = true;
    request->keep = keep;
    request->offset = offset;
    request->left = count;
    request->progress = core_now(conn->core);
    if (conn->transport == SYNC_TRANSPORT_TCP) {
        socket_bound_unsent(&conn->socket, UNSENT); /* a slow reader's may be megabytes */
    }
    return SYNC_SENT;
}

void request_emptied(struct conn *conn) {
    if (!conn->held || !conn->request->answered || conn->state != CONN_OPEN) {
        return;
    }
    if (conn->request->file) {
        read_on(conn);
    } else {
        input_release(conn);
    }
}

uint32_t request_progress(const struct conn *conn) {
    return conn->request->progress;
}

enum sync_sent request_upgrade(struct conn *conn, const char *head, size_t length,
                               const struct sync_websocket *settings) {
    if (!is_open(conn)) {
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
    conn->had_message = true; /* the handshake, as to time-outs */
    input_release(conn);
    return SYNC_SENT;
}
