/* session.c: what a WebSocket has besides its connection: the handshake, the frames the
 * server's bytes are cut into, and the answers to its control frames. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "load.h"
#include "ws.h"

struct session {
    struct ws_reader reader;
    char key[WS_KEY_SIZE];
    struct packed packed; /* a compressed message as far as it has come */
    char *answer;         /* to the handshake, as far as it has come; NULL after it */
    size_t length;
};

void session_free(struct session *session) {
    if (session) {
        free(session->answer);
        free(session->packed.bytes);
        free(session);
    }
}

void session_begin(struct link *link) {
    const struct target *target = target_of(link->index);
    struct session *session = need(calloc(1, sizeof(*session)));
    uint8_t random[WS_KEY_BYTES];
    char request[4096];
    if (getrandom(random, sizeof(random), 0) != sizeof(random)) {
        fail("no random bytes for a key: %s", strerror(errno));
    }
    link->session = session;
    session->answer = need(malloc(WS_ANSWER_MOST));
    session->reader.deflate = plan.deflate;
    ws_key(session->key, random);
    size_t length = ws_request(request, sizeof(request), target->host, target->path,
                               session->key, plan.deflate);
    if (length == 0) {
        fail("the path of %s is too long", target->text);
    }
    link_send(link, request, length);
}

/* What came behind the answer: control frames, or a server's greeting. */
static bool take_rest(struct link *link, char *bytes, size_t count) {
    struct part part;
    free(link->session->answer);
    link->session->answer = NULL;
    if (count == 0) {
        return true;
    }
    if (plan.mode->greeted) {
        plan.mode->received(link, bytes, count, now_ns());
    } else if (session_part(link, &bytes, &count, &part)) {
        link_broke(link, "a message came before one was sent");
    }
    return link->fd >= 0;
}

bool session_answered(struct link *link) {
    struct session *session = link->session;
    char why[200];
    char *bytes;
    if (link->unsent_length > 0) {
        link_write(link);
    }
    size_t count = link->fd >= 0 ? link_read(link, &bytes) : 0;
    if (count == 0) {
        return false;
    }
    size_t room = WS_ANSWER_MOST - session->length;
    size_t taken = count < room ? count : room;
    memcpy(session->answer + session->length, bytes, taken);
    session->length += taken;
    long head = ws_answer(session->answer, session->length, session->key, plan.deflate,
                          why, sizeof(why));
    if (head < 0) {
        link_broke(link, "the answer to the handshake is wrong: %s", why);
    }
    if (head <= 0) {
        return false;
    }
    size_t used = (size_t)head - (session->length - taken); /* of `bytes` */
    return take_rest(link, bytes + used, count - used);
}

static void pong(struct link *link, const struct ws_piece *ping) {
    char frame[WS_HEAD_MOST + WS_CONTROL_MOST];
    uint32_t mask = wire_mask();
    size_t head = ws_head(frame, WS_PONG, ping->length, mask);
    ws_mask(frame + head, ping->bytes, ping->length, mask);
    link_send(link, frame, head + ping->length);
}

static void close_came(struct link *link, const struct ws_piece *close) {
    if (close->length == 1) {
        link_broke(link, "a Close frame has half a code");
        return;
    }
    if (close->length == 0) {
        link_broke(link,
                   "the server closed it after %u messages, with a Close frame that has "
                   "no code",
                   link->received);
        return;
    }
    unsigned code =
        (unsigned)(unsigned char)close->bytes[0] << 8 | (unsigned char)close->bytes[1];
    link_broke(link, "the server closed it after %u messages with code %u%s%.*s",
               link->received, code, close->length > 2 ? ": " : "",
               (int)close->length - 2, close->bytes + 2);
}

/* A message that comes as text when it left as binary is not the same. */
static void check_kind(struct link *link, const struct ws_piece *piece) {
    bool text = plan.framing == FRAMING_WS_TEXT;
    if (!plan.mode->any_kind && piece->kind != (text ? WS_TEXT : WS_BINARY)) {
        link_broke(link, "a message came back as %s, and was sent as %s",
                   text ? "binary" : "text", text ? "text" : "binary");
    }
}

/* Gives a compressed message out when it's whole. Returns whether it is. */
static bool unpack(struct link *link, const struct ws_piece *piece, struct part *part) {
    ssize_t length = inflate_part(&link->session->packed, piece->bytes, piece->length,
                                  piece->ends, &part->bytes);
    if (length == -2) {
        link_broke(link, "message %u can't be inflated", link->received);
    }
    part->length = (size_t)length;
    part->ends = true;
    part->more = 0;
    return length >= 0;
}

bool session_part(struct link *link, char **bytes, size_t *count, struct part *part) {
    while (link->fd >= 0 && *count > 0) {
        struct ws_piece piece;
        const char *why;
        long taken = ws_read(&link->session->reader, *bytes, *count, &piece, &why);
        if (taken < 0) {
            link_broke(link, "after %u messages, %s", link->received, why);
            return false;
        }
        char *end = *bytes + taken;
        *bytes = end;
        *count -= (size_t)taken;
        switch (piece.kind) {
        case WS_TEXT:
        case WS_BINARY:
            check_kind(link, &piece);
            if (piece.compressed && link->fd >= 0) {
                if (unpack(link, &piece, part)) {
                    return true;
                }
                break;
            }
            *part = (struct part){end - piece.length, piece.length, piece.ends, 0};
            return link->fd >= 0;
        case WS_PING: pong(link, &piece); break;
        case WS_CLOSE: close_came(link, &piece); break;
        default: break;
        }
    }
    return false;
}
