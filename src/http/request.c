/* request.c: a connection that speaks HTTP. What a request means, and what it is answered
 * with, is the program's. */
#include "http/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn/clock.h"
#include "conn/hold.h"
#include "conn/input.h"
#include "conn/output.h"
#include "conn/reserve.h"
#include "conn/turn.h"
#include "conn/work.h"
#include "http/file.h"
#include "http/parser.h"
#include "websocket/websocket.h"

enum {
    REQUEST_WORK = 64,  /* messages, or calls, that take the program as long */
    AHEAD = 64 * 1024,  /* unread bytes of answers behind which no request is taken */
    UNSENT = 128 * 1024 /* bytes of a file that wait in the kernel for the network */
};

struct exchange {
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

static struct exchange *exchange_of(const struct conn *conn) {
    return conn->protocol_data;
}

static void close_file(struct conn *conn) {
    struct exchange *exchange = exchange_of(conn);
    if (exchange->file) {
        file_close(exchange->file);
        conn->core->files--;
        exchange->file = NULL;
        exchange->found = false;
        exchange->reading = false;
    }
}

static void free_exchange(struct conn *conn) {
    close_file(conn);
    http_free(exchange_of(conn)->http);
    free(exchange_of(conn));
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

/* Whether a server that is full serves a request: it is an operator's. */
static bool is_operators(const struct http_request *request) {
    static const char *const paths[] = {"/healthz", "/readyz", "/metrics", "/panel",
                                        "/panel.json"};
    const char *target = memchr(request->bytes, ' ', request->head_length);
    size_t length = target ? strcspn(++target, "? ") : 0;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]) && !request->upgrade; i++) {
        if (length == strlen(paths[i]) && memcmp(target, paths[i], length) == 0) {
            return true;
        }
    }
    return false;
}

static void push_request(struct conn *conn) {
    const struct http_request *request = http_request(exchange_of(conn)->http);
    struct core *core = conn->core;
    if (!reserve_admits(conn) && !is_operators(request)) {
        request_refuse(conn, 503,
                       core->draining ? "the server drains; come back elsewhere"
                                      : "the server is full; try again later",
                       SYNC_REFUSED);
        return;
    }
    batch_push(&core->batch, SYNC_REQUEST, conn->slot, (uint32_t)request->head_length,
               request->bytes, request->length);
    work_add(conn, REQUEST_WORK);
    conn->handed = true;
    conn->held = true;
    conn->unfinished = false;
}

/* Acts on what the parser has found. Returns whether it wants more bytes. */
static bool act(struct conn *conn, enum http_state state) {
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    const struct http_request *request = http_request(exchange_of(conn)->http);
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

static size_t take(struct conn *conn, char *bytes, size_t length) {
    struct exchange *exchange = exchange_of(conn);
    uint32_t high_water = conn_options(conn)->high_water;
    if (conn->held || conn->out.bytes > (high_water < AHEAD ? high_water : AHEAD)) {
        conn->held = true; /* until its answers were read */
        return 0;
    }
    if (!work_has_room(conn)) {
        turn_wait(conn);
        return 0;
    }
    if (exchange->answered) {
        exchange->answered = false;
        http_next(exchange->http);
    }
    size_t taken = 0;
    bool more = true;
    while (taken < length && more) {
        enum http_state state;
        taken += http_take(exchange->http, bytes + taken, length - taken, &state);
        more = act(conn, state);
    }
    return conn->state != CONN_OPEN ? length : taken;
}

/* A request that may be answered. */
static bool is_open(const struct conn *conn) {
    return conn_is_open(conn) && conn->held && !exchange_of(conn)->answered;
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
    exchange_of(conn)->answered = true;
    exchange_of(conn)->progress = core_now(conn->core);
    if (keep) {
        hold_release(conn);
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
    struct exchange *exchange = exchange_of(conn);
    struct batch *batch = &conn->core->batch;
    const struct sync_file *found = status == 0 ? describe(batch, file) : NULL;
    exchange->found = found != NULL;
    uint32_t failure = found ? 0 : (uint32_t)file_http_status(status);
    if (!found) {
        close_file(conn);
    }
    if (conn_is_open(conn)) {
        batch_push(batch, SYNC_FILE, conn->slot, failure, (const char *)found,
                   found ? sizeof(*found) : 0);
    }
}

int request_open_file(struct conn *conn, const char *path, uint32_t which,
                      bool any_case) {
    const struct root *root = conn->service->root;
    while (root && which-- > 0) {
        root = root->beside;
    }
    if (!is_open(conn) || exchange_of(conn)->file || !root) {
        return UV_EINVAL;
    }
    if (core_descriptors(conn->core) >= conn->core->public.client_limit) {
        return UV_EMFILE;
    }
    struct file *file = (any_case ? file_open_any_case : file_open)(
        &conn->core->loop, root->descriptor, path, "index.html", on_opened, conn);
    exchange_of(conn)->file = file;
    conn->core->files += file != NULL;
    return file ? 0 : UV_ENOMEM;
}

static void end_response(struct conn *conn) {
    close_file(conn);
    if (exchange_of(conn)->keep) {
        hold_release(conn);
    } else {
        conn->held = false;
        conn_end(conn, SYNC_BY_SERVER);
    }
}

static void on_read(struct file *file, int status) {
    struct conn *conn = file->context;
    struct exchange *exchange = exchange_of(conn);
    exchange->reading = false;
    if (!conn_is_open(conn)) {
        return;
    }
    if (status < 0 || output_raw(conn, file->bytes, file->length) != SYNC_SENT) {
        conn_abort(conn, SYNC_RESET, true); /* the head has promised more */
        return;
    }
    exchange->progress = core_now(conn->core);
    exchange->offset += file->length;
    exchange->left -= file->length;
}

/* Reads the next part, now that the last one was written. */
static void read_on(struct conn *conn) {
    struct exchange *exchange = exchange_of(conn);
    if (exchange->reading) {
        return;
    }
    if (exchange->left == 0) {
        end_response(conn);
        return;
    }
    uint32_t length = exchange->left < FILE_READ ? (uint32_t)exchange->left : FILE_READ;
    exchange->reading = true;
    if (file_read(exchange->file, exchange->offset, length, on_read) < 0) {
        conn_abort(conn, SYNC_NO_MEMORY, true);
    }
}

enum sync_sent request_respond_file(struct conn *conn, const char *head, size_t length,
                                    uint64_t offset, uint64_t count, bool keep) {
    struct exchange *exchange = exchange_of(conn);
    if (!is_open(conn) || !exchange->found) {
        return SYNC_CLOSED;
    }
    enum sync_sent sent = output_raw(conn, head, length);
    if (sent != SYNC_SENT) {
        return sent;
    }
    exchange->answered = true;
    exchange->keep = keep;
    exchange->offset = offset;
    exchange->left = count;
    exchange->progress = core_now(conn->core);
    if (conn->kind == SYNC_TRANSPORT_TCP) {
        stream_bound_unsent(&conn->stream, UNSENT); /* a slow reader's may be megabytes */
    }
    return SYNC_SENT;
}

static void emptied(struct conn *conn) {
    if (!conn->held || !exchange_of(conn)->answered || !conn_is_open(conn)) {
        return;
    }
    if (exchange_of(conn)->file) {
        read_on(conn);
    } else {
        hold_release(conn);
    }
}

/* Between requests, and while a response isn't read. */
static void consider(const struct conn *conn, struct clock *clock) {
    const struct sync_options *options = conn_options(conn);
    if (conn->out.bytes > 0) {
        clock_consider(clock, exchange_of(conn)->progress, options->message_timeout,
                       SYNC_UNFINISHED);
    } else if (!conn->held) {
        clock_consider(clock, conn->last_read, options->first_timeout, SYNC_IDLE);
    }
}

static bool ran_out(struct conn *conn, int reason) {
    if (reason != SYNC_UNFINISHED || !conn_is_open(conn) || !conn->unfinished) {
        return false;
    }
    request_refuse(conn, 408, "the request did not come in time", SYNC_BROKE_PROTOCOL);
    return true;
}

/* A request that is being answered is this process's to answer. */
static bool carry(const struct conn *conn, struct record *record) {
    const struct exchange *exchange = exchange_of(conn);
    if (exchange->file || (conn->held && !exchange->answered)) {
        return false;
    }
    if (!exchange->answered) {
        http_carry(exchange->http, record);
    }
    return true;
}

static const struct protocol http_protocol = {.is_http = true,
                                              .carried = CARRIED_HTTP,
                                              .carry = carry,
                                              .take = take,
                                              .emptied = emptied,
                                              .clock = consider,
                                              .ran_out = ran_out,
                                              .free = free_exchange};

bool request_begin(struct conn *conn) {
    const struct sync_options *options = conn_options(conn);
    struct http_limits limits = {options->max_head, options->max_headers,
                                 options->max_body};
    struct exchange *exchange = calloc(1, sizeof(*exchange));
    if (exchange) {
        exchange->http = http_new(&limits);
    }
    if (!exchange || !exchange->http) {
        free(exchange);
        conn_abort(conn, SYNC_NO_MEMORY, true);
        return false;
    }
    conn_speak(conn, &http_protocol, exchange);
    conn->core->public.http_count++;
    return true;
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
    struct websocket *websocket = websocket_new(conn, settings);
    if (!websocket) {
        conn_abort(conn, SYNC_NO_MEMORY, true);
        return SYNC_CLOSED;
    }
    free_exchange(conn);
    conn->core->public.http_count--;
    conn->had_message = true; /* the handshake, as to time-outs */
    websocket_begin(conn, websocket, settings->binary != 0);
    hold_release(conn);
    return SYNC_SENT;
}
