/* inflate.c: messages that a client has compressed. */
#include "websocket/inflate.h"

#include "conn/turn.h"
#include "conn/work.h"
#include "websocket/control.h"
#include "websocket/state.h"

enum {
    STREAM_SPARE = 65536, /* inflated bytes of a stream that one frame may hold above
                             max_message */
    INFLATE_LEAST = 256,  /* bytes to inflate into at a time */
    INFLATE_MOST = 16384
};

static struct inflater *get_inflater(struct conn *conn) {
    struct websocket *websocket = websocket_of(conn);
    struct core *core = conn->core;
    if (!websocket->inflater && websocket->receive_window_bits == WEBSOCKET_BITS) {
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
    if (!core->spare_inflater && websocket->receive_window_bits == WEBSOCKET_BITS) {
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
        return control_fail(conn, WS_TOO_BIG);
    }
    if (websocket->opcode == WS_TEXT && !utf8_check(&websocket->utf8, bytes, length)) {
        return control_fail(conn, WS_INVALID_DATA);
    }
    return true;
}

/* Into how many bytes so many are inflated at a time. */
static size_t portion(size_t length, size_t room) {
    size_t size = length * 4 < INFLATE_LEAST  ? INFLATE_LEAST
                  : length * 4 > INFLATE_MOST ? INFLATE_MOST
                                              : length * 4;
    return size < room ? size : room;
}

bool inflate_take(struct conn *conn, const char *bytes, size_t length, bool last,
                  size_t *rest) {
    struct websocket *websocket = websocket_of(conn);
    bool stream = websocket->opcode == WS_BINARY && websocket_has_stream(conn);
    struct backlog *to = stream ? &websocket->stream : &websocket->message;
    size_t most = (size_t)conn_options(conn)->max_message + (stream ? STREAM_SPARE : 0);
    struct inflater *inflater = get_inflater(conn);
    const char *first = bytes;
    size_t produced = 0;
    bool finishing = false;
    while (inflater) {
        size_t size = portion(length, most + 1 - to->length);
        char *place = backlog_claim(conn->core, to, size);
        if (!place) {
            break;
        }
        enum inflated state =
            finishing
                ? inflater_finish(inflater, websocket->receive_takeover, place, &size)
                : inflater_run(inflater, &bytes, &length, place, &size);
        if (state == INFLATE_CORRUPT) {
            return control_fail(conn, WS_INVALID_DATA);
        }
        if (state == INFLATE_NO_MEMORY) {
            break;
        }
        if (!add_inflated(conn, to, size, most)) {
            return false;
        }
        work_add(conn, size / WORK_BYTES);
        produced += size;
        if (state == INFLATE_DONE && (finishing || !last)) {
            if (finishing) {
                inflater_forget(inflater);
                give_inflater_back(conn);
            } else {
                inflater_keep(inflater, first, (size_t)(bytes - first), produced);
            }
            return true;
        }
        if (length > 0 && !work_has_room(conn)) {
            *rest = length;
            inflater_keep(inflater, first, (size_t)(bytes - first), produced);
            turn_wait(conn);
            return true;
        }
        finishing = finishing || state == INFLATE_DONE;
    }
    return control_no_memory(conn);
}
