/* send.c: messages to WebSockets, compressed where that was agreed on. */
#include "websocket/send.h"

#include <stdlib.h>
#include <string.h>

#include "conn/output.h"
#include "websocket/state.h"

enum {
    SMALL_BITS = 9, /* the window of what is compressed for all who want a smaller one */
    LEVEL = 6       /* of compression: zlib's own default */
};

bool send_compresses(const struct conn *conn, size_t length) {
    uint32_t from = conn_options(conn)->compress_from;
    return websocket_of(conn)->send_window_bits && from > 0 && length >= from;
}

bool send_is_small(const struct conn *conn) {
    return websocket_of(conn)->send_window_bits < WEBSOCKET_BITS;
}

void send_was_shared(struct conn *conn) {
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
        *deflater = deflater_new(small ? SMALL_BITS : WEBSOCKET_BITS, LEVEL);
    }
    return *deflater;
}

struct shared *send_compress(struct core *core, uint8_t wire, bool text,
                             const char *bytes, size_t length) {
    struct deflater *deflater = shared_deflater(core, false);
    return deflater ? compress(deflater, false, wire, text, bytes, length) : NULL;
}

enum sync_sent send_small(struct conn *conn, struct small_forms *small, const char *bytes,
                          size_t length) {
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
    send_was_shared(conn);
    return output_send(conn, NULL, NULL, 0, *form);
}

void send_release_small(struct small_forms *small) {
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
        return shared_deflater(conn->core, send_is_small(conn));
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

enum sync_sent send_message(struct conn *conn, const char *bytes, size_t length) {
    bool text = conn->wire == WIRE_TEXT && utf8_valid(bytes, length);
    if (send_compresses(conn, length)) {
        return send_compressed(conn, text, bytes, length);
    }
    struct frame frame;
    wire_frame(conn->wire, length, text, &frame);
    return output_send(conn, &frame, bytes, length, NULL);
}

void send_trim(struct core *core) {
    for (int small = 0; small < 2; small++) {
        deflater_free(core->deflaters[small]);
        core->deflaters[small] = NULL;
    }
    inflater_free(core->spare_inflater);
    core->spare_inflater = NULL;
}
