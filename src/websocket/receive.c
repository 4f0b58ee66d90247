/* receive.c: from a WebSocket's frames to messages. */
#include "websocket/receive.h"

#include "conn/clock.h"
#include "conn/codec.h"
#include "conn/input.h"
#include "conn/turn.h"
#include "conn/work.h"
#include "websocket/control.h"
#include "websocket/inflate.h"
#include "websocket/state.h"

/* Each of the functions below returns false when it has ended the connection. */

static bool take_close(struct conn *conn, const char *payload, size_t length) {
    struct websocket *websocket = websocket_of(conn);
    uint32_t code = WS_NO_CODE;
    if (length > 0) {
        code =
            length < 2
                ? 0
                : (uint32_t)((unsigned char)payload[0] << 8 | (unsigned char)payload[1]);
        if (!ws_code_valid(code)) {
            return control_fail(conn, WS_PROTOCOL_ERROR);
        }
        if (!utf8_valid(payload + 2, length - 2)) {
            return control_fail(conn, WS_INVALID_DATA);
        }
    }
    websocket->close_received = true;
    if (websocket->close_sent) {
        conn_close_answered(conn);
    } else {
        websocket->close_code = (uint16_t)code;
        input_end(conn, SYNC_BY_CLIENT);
    }
    return false;
}

static bool take_control(struct conn *conn, const struct ws_header *header,
                         char *payload) {
    size_t length = (size_t)header->length;
    ws_unmask(payload, length, header->mask);
    if (header->opcode == WS_CLOSE) {
        return take_close(conn, payload, length);
    }
    if (header->opcode == WS_PING && conn_is_open(conn)) {
        control_send(conn, WS_PONG, payload, length);
    }
    return true;
}

/* What is handed out next is of this kind. */
static void tell_kind(struct conn *conn, uint8_t kind) {
    if ((conn->tells & (SYNC_KIND_TURNS - 1)) != kind) {
        conn->tells = kind | SYNC_KIND_TURNS;
    }
}

static void push(struct conn *conn, uint8_t kind, const char *bytes, size_t length) {
    tell_kind(conn, kind);
    input_push(conn, bytes, length);
    conn->tells = kind;
}

/* See input_cut. */
static ssize_t cut(struct conn *conn, const char *bytes, size_t length) {
    tell_kind(conn, SYNC_KIND_BINARY);
    ssize_t taken = input_cut(conn, &websocket_of(conn)->scanned, bytes, length);
    if (taken > 0) {
        conn->tells = SYNC_KIND_BINARY;
    }
    return taken;
}

/* Cuts what the stream holds. */
static bool cut_stream(struct conn *conn) {
    struct backlog *stream = &websocket_of(conn)->stream;
    char *bytes = stream->block + stream->start;
    ssize_t taken = cut(conn, bytes, stream->length);
    if (taken == CODEC_TOO_LONG) {
        return control_fail(conn, WS_TOO_BIG);
    }
    backlog_consume(conn->core, stream, (size_t)taken);
    return true;
}

static bool take_stream(struct conn *conn, const char *bytes, size_t length) {
    struct backlog *stream = &websocket_of(conn)->stream;
    ssize_t taken = 0;
    if (stream->length == 0) {
        taken = cut(conn, bytes, length);
        if (taken == CODEC_TOO_LONG) {
            return control_fail(conn, WS_TOO_BIG);
        }
        if ((size_t)taken == length) {
            return true;
        }
    }
    size_t rest = length - (size_t)taken;
    if (backlog_append(conn->core, stream, bytes + taken, rest) < 0) {
        return control_no_memory(conn);
    }
    return taken > 0 || cut_stream(conn);
}

/* The message is whole: what was put together, or else, where it came at once, these
 * bytes. */
static bool end_message(struct conn *conn, const char *bytes, size_t length) {
    struct websocket *websocket = websocket_of(conn);
    bool text = websocket->opcode == WS_TEXT;
    bool stream = !text && websocket_has_stream(conn);
    uint8_t kind = text ? SYNC_KIND_TEXT : SYNC_KIND_BINARY;
    websocket->opcode = 0;
    if (text && !utf8_complete(&websocket->utf8)) {
        return control_fail(conn, WS_INVALID_DATA);
    }
    struct backlog *message = &websocket->message;
    if (stream) {
        return true;
    }
    if (message->length == 0) {
        push(conn, kind, length ? bytes : "", length);
        backlog_clear(conn->core, message);
        return true;
    }
    push(conn, kind, message->block + message->start, message->length);
    backlog_consume(conn->core, message, message->length);
    return true;
}

static bool take_compressed(struct conn *conn, const char *bytes, size_t length,
                            bool last, size_t *rest) {
    bool stream = websocket_of(conn)->opcode == WS_BINARY && websocket_has_stream(conn);
    return inflate_take(conn, bytes, length, last, rest) && (!stream || cut_stream(conn));
}

static bool take_plain(struct conn *conn, const char *bytes, size_t length, bool last) {
    struct websocket *websocket = websocket_of(conn);
    if (websocket->opcode == WS_BINARY && websocket_has_stream(conn)) {
        return take_stream(conn, bytes, length);
    }
    if (websocket->opcode == WS_TEXT && !utf8_check(&websocket->utf8, bytes, length)) {
        return control_fail(conn, WS_INVALID_DATA);
    }
    if (last && websocket->message.length == 0) {
        return true; /* it's handed out where it lies */
    }
    if (backlog_append(conn->core, &websocket->message, bytes, length) < 0) {
        return control_no_memory(conn);
    }
    return true;
}

/* Takes payload bytes of the frame under way. Returns how many, or -1 when that has ended
 * the connection. */
static ssize_t take_payload(struct conn *conn, char *bytes, size_t length) {
    struct websocket *websocket = websocket_of(conn);
    uint32_t mask = websocket->mask;
    websocket->mask = ws_unmask(bytes, length, mask);
    websocket->left -= length;
    if (!conn_is_open(conn)) {
        return (ssize_t)length; /* only the answer to our Close is waited for */
    }
    bool last = websocket->left == 0 && websocket->fin;
    size_t rest = 0;
    bool fine = websocket->compressed ? take_compressed(conn, bytes, length, last, &rest)
                                      : take_plain(conn, bytes, length, last);
    if (rest > 0) { /* for the next tick, as it came */
        websocket->mask = ws_mask_after(mask, length - rest);
        websocket->left += rest;
        ws_unmask(bytes + length - rest, rest, websocket->mask);
    } else if (fine && last) {
        fine = end_message(conn, bytes, websocket->compressed ? 0 : length);
    }
    return fine ? (ssize_t)(length - rest) : -1;
}

static bool begin_frame(struct conn *conn, const struct ws_header *header) {
    struct websocket *websocket = websocket_of(conn);
    websocket->left = header->length;
    websocket->mask = header->mask;
    websocket->fin = header->fin;
    if (!conn_is_open(conn)) {
        return true;
    }
    bool begins = header->opcode != WS_CONTINUATION;
    if (begins == (websocket->opcode != 0)) {
        return control_fail(conn, WS_PROTOCOL_ERROR);
    }
    if (begins) {
        websocket->opcode = header->opcode;
        websocket->compressed = header->compressed;
        websocket->utf8 = (struct utf8){0};
        conn->unfinished = false; /* its time begins where it isn't whole at once */
    }
    bool stream = websocket->opcode == WS_BINARY && websocket_has_stream(conn);
    if (!stream && !websocket->compressed &&
        header->length > conn_options(conn)->max_message - websocket->message.length) {
        return control_fail(conn, WS_TOO_BIG);
    }
    return true;
}

/* Whether a message begins. A byte stream's messages are counted where it's cut. */
static bool is_counted(const struct conn *conn, const struct ws_header *header) {
    bool stream = header->opcode == WS_BINARY && websocket_has_stream(conn);
    return conn_is_open(conn) && header->opcode != WS_CONTINUATION && !stream;
}

/* Takes a frame's header, and its payload as far as it has come; a control frame only as
 * a whole. Returns the bytes it took, 0 when more must come, or -1 when it has ended the
 * connection. */
static ssize_t take_frame(struct conn *conn, char *bytes, size_t length) {
    struct ws_header header;
    bool deflate = websocket_of(conn)->receive_window_bits != 0;
    int head = ws_header_read(bytes, length, deflate, &header);
    if (head == WS_INVALID) {
        control_fail(conn, WS_PROTOCOL_ERROR);
        return -1;
    }
    if (head == WS_PARTIAL) {
        return 0;
    }
    size_t rest = length - (size_t)head;
    bool begins = header.opcode != WS_CONTINUATION && header.opcode < WS_CLOSE;
    work_add(conn, !begins); /* a message counts when it's handed out */
    if (header.opcode >= WS_CLOSE) {
        if (rest < header.length) {
            return 0;
        }
        bool goes_on = take_control(conn, &header, bytes + head);
        return goes_on ? head + (ssize_t)header.length : -1;
    }
    if (is_counted(conn, &header) && !input_count(conn)) {
        return conn->reason == SYNC_FLOODED ? -1 : 0;
    }
    size_t part = rest < header.length ? rest : (size_t)header.length;
    ssize_t taken =
        begin_frame(conn, &header) ? take_payload(conn, bytes + head, part) : -1;
    return taken < 0 ? -1 : head + taken;
}

static void note_unfinished(struct conn *conn, bool partial_frame) {
    const struct websocket *websocket = websocket_of(conn);
    bool partial = partial_frame || websocket->opcode || websocket->left > 0 ||
                   websocket->stream.length > 0;
    if (!partial || conn->in_ready || conn->held) {
        conn->unfinished = false;
    } else {
        input_unfinished(conn, false);
    }
}

size_t receive_take(struct conn *conn, char *bytes, size_t length) {
    struct websocket *websocket = websocket_of(conn);
    if (websocket->pinged) {
        websocket->pinged = false;
        clock_arm(conn); /* the next ping is due before the pong's time is over */
    }
    size_t taken = 0;
    while (taken < length) {
        if (conn->held) {
            break;
        }
        if (conn->in_ready || (conn_is_open(conn) && !work_has_room(conn))) {
            turn_wait(conn);
            break;
        }
        size_t rest = length - taken;
        ssize_t used;
        if (websocket->left > 0) {
            size_t part = rest < websocket->left ? rest : (size_t)websocket->left;
            used = take_payload(conn, bytes + taken, part);
        } else {
            used = take_frame(conn, bytes + taken, rest);
        }
        if (used < 0) {
            return length;
        }
        if (used == 0) {
            break;
        }
        taken += (size_t)used;
    }
    if (conn_is_open(conn)) {
        note_unfinished(conn, taken < length);
    }
    return taken;
}

void receive_resume(struct conn *conn) {
    if (websocket_of(conn)->stream.length > 0 && conn->state == CONN_OPEN) {
        cut_stream(conn);
    }
}
