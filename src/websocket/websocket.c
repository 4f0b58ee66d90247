/* websocket.c: a connection that has become a WebSocket. */
#include "websocket/websocket.h"

#include <stdlib.h>
#include <string.h>

#include "conn/backlog.h"
#include "conn/clock.h"
#include "conn/input.h"
#include "conn/output.h"
#include "conn/turn.h"
#include "conn/work.h"
#include "websocket/deflate.h"
#include "websocket/frame.h"
#include "websocket/utf8.h"
#include "websocket/wire.h"

enum {
    SHARED_BITS = 15,     /* the window of what is compressed for all */
    SMALL_BITS = 9,       /* and for all who have asked for any smaller one */
    LEVEL = 6,            /* of compression: zlib's own default */
    STREAM_SPARE = 65536, /* inflated bytes of a stream that one frame may hold above
                             max_message */
    INFLATE_LEAST = 256,  /* bytes to inflate into at a time */
    INFLATE_MOST = 16384
};

struct websocket {
    struct backlog message; /* begun and not ended, unmasked and inflated */
    struct backlog stream;  /* of binary frames: what isn't cut yet */
    struct inflater *inflater;
    struct deflater *deflater; /* only with send_takeover */
    size_t scanned;            /* of the stream: the codec's own */
    uint64_t left;             /* payload bytes to come of the frame under way */
    uint32_t mask;
    uint32_t pinged_since;
    uint16_t close_code; /* received, or that of our own complaint; 0: none */
    struct utf8 utf8;
    uint8_t opcode; /* of the message under way; 0: none */
    uint8_t mode;
    uint8_t send_window_bits; /* 0: nothing is compressed */
    uint8_t receive_window_bits;
    bool fin : 1;        /* of the frame under way */
    bool compressed : 1; /* the message under way */
    bool send_takeover : 1;
    bool receive_takeover : 1;
    bool deflater_behind : 1; /* the client got what the deflater knows nothing of */
    bool pinged : 1;
    bool close_sent : 1;
    bool close_received : 1;
    bool failed : 1; /* we complained: no answer to our Close is waited for */
};

static struct websocket *websocket_of(const struct conn *conn) {
    return conn->protocol_data;
}

static bool is_stream(const struct conn *conn) {
    return websocket_of(conn)->mode == SYNC_WEBSOCKET_MIRROR &&
           conn_options(conn)->framing != SYNC_FRAMING_RAW;
}

/* The form of what answers a message of this kind. */
static uint8_t wire_for(const struct conn *conn, bool binary) {
    if (!binary) {
        return WIRE_TEXT;
    }
    if (is_stream(conn)) {
        return (uint8_t)(WIRE_STREAM + conn_options(conn)->framing);
    }
    return WIRE_BINARY;
}

struct websocket *websocket_new(struct conn *conn,
                                const struct sync_websocket *settings) {
    struct websocket *websocket =
        slab_take_zeroed(&conn->core->websocket_slabs, sizeof(*websocket));
    if (!websocket) {
        return NULL;
    }
    websocket->mode = (uint8_t)settings->mode;
    if (settings->deflate) {
        websocket->send_window_bits = (uint8_t)settings->send_window_bits;
        websocket->receive_window_bits = (uint8_t)settings->receive_window_bits;
        websocket->send_takeover = settings->send_takeover != 0;
        websocket->receive_takeover = settings->receive_takeover != 0;
    }
    return websocket;
}

static void free_websocket(struct conn *conn) {
    struct websocket *websocket = websocket_of(conn);
    backlog_clear(conn->core, &websocket->message);
    backlog_clear(conn->core, &websocket->stream);
    inflater_free(websocket->inflater);
    deflater_free(websocket->deflater);
    slab_give(&conn->core->websocket_slabs, websocket);
}

/* Sending what is no message. */

static void send_control(struct conn *conn, enum ws_opcode opcode, const char *payload,
                         size_t length) {
    char frame[2 + WS_CONTROL_MOST];
    uint8_t head = ws_header_write(frame, opcode, false, length);
    memcpy(frame + head, payload, length);
    /* A client that pings and doesn't read gets no pongs once its queue is full. */
    output_raw(conn, frame, head + length);
}

static uint32_t code_for(const struct conn *conn) {
    if (websocket_of(conn)->close_code) {
        return websocket_of(conn)->close_code;
    }
    switch (conn->reason) {
    case SYNC_MESSAGE_LONG: return WS_TOO_BIG;
    case SYNC_BROKE_PROTOCOL: return WS_PROTOCOL_ERROR;
    case SYNC_NO_PONG: return WS_GOING_AWAY;
    case SYNC_FLOODED: return WS_POLICY;
    default: return WS_NORMAL;
    }
}

static void say_close(struct conn *conn, uint32_t code, const char *why, size_t length) {
    struct websocket *websocket = websocket_of(conn);
    /* A client that ended the stream without a Close was cut off, perhaps by something in
     * between: what still listens there must not take our Close for its end. */
    bool cut_off = conn->state == CONN_LEFT && !websocket->close_received;
    if (websocket->close_sent || cut_off) {
        return;
    }
    websocket->close_sent = true;
    code = code ? code : code_for(conn);
    if (!websocket->close_code) {
        websocket->close_code = (uint16_t)code;
    }
    char payload[WS_CONTROL_MOST] = {(char)(code >> 8), (char)(code & 0xff)};
    size_t most = sizeof(payload) - 2;
    size_t kept = length <= most && utf8_valid(why, length) ? length : 0;
    memcpy(payload + 2, why, kept);
    /* To a Close without a code the answer has none. */
    send_control(conn, WS_CLOSE, payload, code == WS_NO_CODE ? 0 : 2 + kept);
}

static bool awaits_close(const struct conn *conn) {
    const struct websocket *websocket = websocket_of(conn);
    return websocket->close_sent && !websocket->close_received && !websocket->failed &&
           conn->state != CONN_CLOSING;
}

static const struct protocol websocket_protocol;

bool websocket_is(const struct conn *conn) {
    return conn->protocol == &websocket_protocol;
}

uint32_t websocket_close_code(const struct conn *conn) {
    return websocket_is(conn) ? websocket_of(conn)->close_code : 0;
}

static void ping(struct conn *conn) {
    struct websocket *websocket = websocket_of(conn);
    websocket->pinged = true;
    websocket->pinged_since = core_now(conn->core);
    send_control(conn, WS_PING, "", 0);
    if (!websocket->deflater_behind) { /* silent for so long: its memory is given back */
        deflater_free(websocket->deflater);
        websocket->deflater = NULL;
    }
}

/* Receiving. Each of the functions below returns false when it has ended the connection.
 */

static bool fail(struct conn *conn, enum ws_code code) {
    struct websocket *websocket = websocket_of(conn);
    websocket->failed = true;
    websocket->close_code = (uint16_t)code;
    input_end(conn, code == WS_TOO_BIG ? SYNC_MESSAGE_LONG : SYNC_BROKE_PROTOCOL);
    return false;
}

static bool no_memory(struct conn *conn) {
    conn_abort(conn, SYNC_NO_MEMORY, true);
    return false;
}

static bool take_close(struct conn *conn, const char *payload, size_t length) {
    struct websocket *websocket = websocket_of(conn);
    uint32_t code = WS_NO_CODE;
    if (length > 0) {
        code =
            length < 2
                ? 0
                : (uint32_t)((unsigned char)payload[0] << 8 | (unsigned char)payload[1]);
        if (!ws_code_valid(code)) {
            return fail(conn, WS_PROTOCOL_ERROR);
        }
        if (!utf8_valid(payload + 2, length - 2)) {
            return fail(conn, WS_INVALID_DATA);
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
        send_control(conn, WS_PONG, payload, length);
    }
    return true;
}

/* Cuts what the stream holds. */
static bool cut_stream(struct conn *conn) {
    struct backlog *stream = &websocket_of(conn)->stream;
    char *bytes = stream->block + stream->start;
    ssize_t taken = input_cut(conn, &websocket_of(conn)->scanned, bytes, stream->length);
    if (taken == CODEC_TOO_LONG) {
        return fail(conn, WS_TOO_BIG);
    }
    backlog_consume(conn->core, stream, (size_t)taken);
    return true;
}

static bool take_stream(struct conn *conn, const char *bytes, size_t length) {
    struct backlog *stream = &websocket_of(conn)->stream;
    ssize_t taken = 0;
    if (stream->length == 0) {
        taken = input_cut(conn, &websocket_of(conn)->scanned, bytes, length);
        if (taken == CODEC_TOO_LONG) {
            return fail(conn, WS_TOO_BIG);
        }
        if ((size_t)taken == length) {
            return true;
        }
    }
    size_t rest = length - (size_t)taken;
    if (backlog_append(conn->core, stream, bytes + taken, rest) < 0) {
        return no_memory(conn);
    }
    return taken > 0 || cut_stream(conn);
}

static struct inflater *get_inflater(struct conn *conn) {
    struct websocket *websocket = websocket_of(conn);
    struct core *core = conn->core;
    if (!websocket->inflater && websocket->receive_window_bits == SHARED_BITS) {
        websocket->inflater = core->spare_inflater;
        core->spare_inflater = NULL;
    }
    if (!websocket->inflater) {
        websocket->inflater = inflater_new(websocket->receive_window_bits);
    }
    return websocket->inflater;
}

/* A client without context takeover needs its inflater only while a message comes. */
static void give_inflater_back(struct conn *conn) {
    struct websocket *websocket = websocket_of(conn);
    struct core *core = conn->core;
    if (websocket->receive_takeover) {
        return;
    }
    if (!core->spare_inflater && websocket->receive_window_bits == SHARED_BITS) {
        core->spare_inflater = websocket->inflater;
    } else {
        inflater_free(websocket->inflater);
    }
    websocket->inflater = NULL;
}

/* Checks and counts what was inflated to the end of a backlog. */
static bool add_inflated(struct conn *conn, struct backlog *to, size_t length,
                         size_t most) {
    struct websocket *websocket = websocket_of(conn);
    const char *bytes = to->block + to->start + to->length;
    to->length += (uint32_t)length;
    if (to->length > most) {
        return fail(conn, WS_TOO_BIG);
    }
    if (websocket->opcode == WS_TEXT && !utf8_check(&websocket->utf8, bytes, length)) {
        return fail(conn, WS_INVALID_DATA);
    }
    return true;
}

/* Inflates a part of a message, as far as this tick's work goes; `last` is the end of it.
 * Never more than one byte above what it may be is inflated, so a bomb costs no more than
 * an honest message. Sets *rest to how many bytes must wait. */
static bool take_compressed(struct conn *conn, const char *bytes, size_t length,
                            bool last, size_t *rest) {
    struct websocket *websocket = websocket_of(conn);
    bool stream = websocket->opcode == WS_BINARY && is_stream(conn);
    struct backlog *to = stream ? &websocket->stream : &websocket->message;
    size_t most = (size_t)conn_options(conn)->max_message + (stream ? STREAM_SPARE : 0);
    struct inflater *inflater = get_inflater(conn);
    bool finishing = false;
    while (inflater) {
        size_t room = most + 1 - to->length;
        size_t size = length * 4 < INFLATE_LEAST  ? INFLATE_LEAST
                      : length * 4 > INFLATE_MOST ? INFLATE_MOST
                                                  : length * 4;
        size = size < room ? size : room;
        char *place = backlog_claim(conn->core, to, size);
        if (!place) {
            break;
        }
        enum inflated state =
            finishing
                ? inflater_finish(inflater, websocket->receive_takeover, place, &size)
                : inflater_run(inflater, &bytes, &length, place, &size);
        if (state == INFLATE_CORRUPT) {
            return fail(conn, WS_INVALID_DATA);
        }
        if (state == INFLATE_NO_MEMORY) {
            break;
        }
        if (!add_inflated(conn, to, size, most)) {
            return false;
        }
        work_add(conn, size / WORK_BYTES);
        if (state == INFLATE_DONE && (finishing || !last)) {
            if (finishing) {
                give_inflater_back(conn);
            }
            return !stream || cut_stream(conn);
        }
        if (length > 0 && !work_has_room(conn)) {
            *rest = length;
            turn_wait(conn);
            return !stream || cut_stream(conn);
        }
        finishing = finishing || state == INFLATE_DONE;
    }
    return no_memory(conn);
}

/* The message is whole: what was put together, or else, where it came at once, these
 * bytes. */
static bool end_message(struct conn *conn, const char *bytes, size_t length) {
    struct websocket *websocket = websocket_of(conn);
    bool text = websocket->opcode == WS_TEXT;
    bool stream = !text && is_stream(conn);
    websocket->opcode = 0;
    if (text && !utf8_complete(&websocket->utf8)) {
        return fail(conn, WS_INVALID_DATA);
    }
    struct backlog *message = &websocket->message;
    if (stream) {
        return true;
    }
    if (message->length == 0) {
        input_push(conn, length ? bytes : "", length);
        backlog_clear(conn->core, message);
        return true;
    }
    input_push(conn, message->block + message->start, message->length);
    backlog_consume(conn->core, message, message->length);
    return true;
}

static bool take_plain(struct conn *conn, const char *bytes, size_t length, bool last) {
    struct websocket *websocket = websocket_of(conn);
    if (websocket->opcode == WS_BINARY && is_stream(conn)) {
        return take_stream(conn, bytes, length);
    }
    if (websocket->opcode == WS_TEXT && !utf8_check(&websocket->utf8, bytes, length)) {
        return fail(conn, WS_INVALID_DATA);
    }
    if (last && websocket->message.length == 0) {
        return true; /* it's handed out where it lies */
    }
    if (backlog_append(conn->core, &websocket->message, bytes, length) < 0) {
        return no_memory(conn);
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
        return fail(conn, WS_PROTOCOL_ERROR);
    }
    if (begins) {
        websocket->opcode = header->opcode;
        websocket->compressed = header->compressed;
        websocket->utf8 = (struct utf8){0};
        conn->wire = wire_for(conn, header->opcode == WS_BINARY);
        input_unfinished(conn, true);
    }
    bool stream = websocket->opcode == WS_BINARY && is_stream(conn);
    if (!stream && !websocket->compressed &&
        header->length > conn_options(conn)->max_message - websocket->message.length) {
        return fail(conn, WS_TOO_BIG);
    }
    return true;
}

/* Whether a message begins. A byte stream's messages are counted where it's cut. */
static bool is_counted(const struct conn *conn, const struct ws_header *header) {
    bool stream = header->opcode == WS_BINARY && is_stream(conn);
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
        fail(conn, WS_PROTOCOL_ERROR);
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

static size_t take(struct conn *conn, char *bytes, size_t length) {
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

static void resume(struct conn *conn) {
    if (websocket_of(conn)->stream.length > 0 && conn->state == CONN_OPEN) {
        cut_stream(conn);
    }
}

/* Deadlines. */

static void consider(const struct conn *conn, struct clock *clock) {
    const struct sync_options *options = conn_options(conn);
    const struct websocket *websocket = websocket_of(conn);
    if (websocket->pinged) {
        clock_consider(clock, websocket->pinged_since, options->pong_timeout,
                       SYNC_NO_PONG);
    } else {
        clock_consider(clock, conn->last_read, options->ping_interval, CLOCK_PING);
    }
}

static bool ran_out(struct conn *conn, int reason) {
    if (reason == CLOCK_PING) {
        ping(conn);
    } else if (reason == SYNC_NO_PONG && conn_is_open(conn) && !conn->write_broken) {
        conn_end(conn, SYNC_NO_PONG); /* with a Close, for one that is only slow */
    } else {
        return false;
    }
    return true;
}

static const struct protocol websocket_protocol = {.is_client = true,
                                                   .take = take,
                                                   .resume = resume,
                                                   .clock = consider,
                                                   .ran_out = ran_out,
                                                   .say_close = say_close,
                                                   .awaits_close = awaits_close,
                                                   .free = free_websocket};

void websocket_begin(struct conn *conn, struct websocket *websocket, bool binary) {
    conn_speak(conn, &websocket_protocol, websocket);
    conn->wire = wire_for(conn, binary);
}

/* Sending messages. */

bool websocket_compresses(const struct conn *conn, size_t length) {
    uint32_t from = conn_options(conn)->compress_from;
    return websocket_of(conn)->send_window_bits && from > 0 && length >= from;
}

bool websocket_window_is_small(const struct conn *conn) {
    return websocket_of(conn)->send_window_bits < SHARED_BITS;
}

void websocket_sent_shared(struct conn *conn) {
    websocket_of(conn)->deflater_behind = true;
}

/* Compresses a message into one frame. NULL when memory ran out. */
static struct shared *compress(struct deflater *deflater, bool keep, uint8_t wire,
                               bool text, const char *bytes, size_t length) {
    struct frame inner;
    wire_inner_frame(wire, length, &inner);
    size_t whole = inner.head_length + length + inner.tail_length;
    size_t bound = deflater_bound(deflater, whole);
    char *space = malloc(whole + bound);
    if (!space) {
        return NULL;
    }
    const char *payload = bytes;
    if (whole > length) {
        memcpy(space, inner.head, inner.head_length);
        memcpy(space + inner.head_length, bytes, length);
        memcpy(space + inner.head_length + length, inner.tail, inner.tail_length);
        payload = space;
    }
    struct shared *shared = NULL;
    char *packed = space + whole;
    ssize_t size = deflater_message(deflater, keep, payload, whole, packed, bound);
    if (size >= 0) {
        struct frame frame;
        wire_frame_compressed(wire, (size_t)size, text, &frame);
        shared = shared_new(frame.head, frame.head_length, packed, (size_t)size, "", 0);
    }
    free(space);
    return shared;
}

static struct deflater *shared_deflater(struct core *core, bool small) {
    struct deflater **deflater = &core->deflaters[small];
    if (!*deflater) {
        *deflater = deflater_new(small ? SMALL_BITS : SHARED_BITS, LEVEL);
    }
    return *deflater;
}

struct shared *websocket_compress(struct core *core, uint8_t wire, bool text,
                                  const char *bytes, size_t length) {
    struct deflater *deflater = shared_deflater(core, false);
    return deflater ? compress(deflater, false, wire, text, bytes, length) : NULL;
}

enum sync_sent websocket_send_small(struct conn *conn, struct small_forms *small,
                                    const char *bytes, size_t length) {
    if (!small->used) {
        *small = (struct small_forms){.used = true};
    }
    struct shared **form = &small->form[conn->wire];
    struct deflater *deflater = shared_deflater(conn->core, true);
    if (!*form && deflater && length <= wire_longest(conn->wire)) {
        bool text = conn->wire == WIRE_TEXT && utf8_valid(bytes, length);
        *form = compress(deflater, false, conn->wire, text, bytes, length);
    }
    if (!*form) {
        return SYNC_TOO_LONG;
    }
    websocket_sent_shared(conn);
    return output_send(conn, NULL, NULL, 0, *form);
}

void websocket_release_small(struct small_forms *small) {
    for (int i = 0; i < WIRE_COUNT; i++) {
        if (small->form[i]) {
            shared_release(small->form[i]);
        }
    }
}

/* The compressor that serves this client: its own, where it has to remember. */
static struct deflater *own_deflater(struct conn *conn) {
    struct websocket *websocket = websocket_of(conn);
    if (!websocket->send_takeover) {
        return shared_deflater(conn->core, websocket_window_is_small(conn));
    }
    if (!websocket->deflater) {
        websocket->deflater = deflater_new(websocket->send_window_bits, LEVEL);
    } else if (websocket->deflater_behind) {
        deflater_reset(websocket->deflater);
    }
    websocket->deflater_behind = false;
    return websocket->deflater;
}

static enum sync_sent send_compressed(struct conn *conn, bool text, const char *bytes,
                                      size_t length) {
    struct websocket *websocket = websocket_of(conn);
    struct deflater *deflater = own_deflater(conn);
    struct shared *shared = deflater ? compress(deflater, websocket->send_takeover,
                                                conn->wire, text, bytes, length)
                                     : NULL;
    if (!shared) {
        conn_abort(conn, SYNC_NO_MEMORY, true);
        return SYNC_CLOSED;
    }
    enum sync_sent sent = output_send(conn, NULL, NULL, 0, shared);
    if (sent != SYNC_SENT && sent != SYNC_FULL) {
        websocket->deflater_behind = true; /* the client never sees it */
    }
    shared_release(shared);
    return sent;
}

enum sync_sent websocket_send(struct conn *conn, const char *bytes, size_t length) {
    bool text = conn->wire == WIRE_TEXT && utf8_valid(bytes, length);
    if (websocket_compresses(conn, length)) {
        return send_compressed(conn, text, bytes, length);
    }
    struct frame frame;
    wire_frame(conn->wire, length, text, &frame);
    return output_send(conn, &frame, bytes, length, NULL);
}

uint32_t websocket_held(const struct conn *conn) {
    if (!websocket_is(conn)) {
        return 0;
    }
    const struct websocket *websocket = websocket_of(conn);
    return websocket->message.capacity + websocket->stream.capacity;
}

void websocket_trim(struct core *core) {
    for (int small = 0; small < 2; small++) {
        deflater_free(core->deflaters[small]);
        core->deflaters[small] = NULL;
    }
    inflater_free(core->spare_inflater);
    core->spare_inflater = NULL;
}
