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
    char *answer; /* to the handshake, as far as it has come; NULL after it */
    size_t length;
};

/* A target is HOST:PORT/PATH, or of a Unix socket no name that HTTP could give. */
static void target_split(char *host, size_t room, const char **path) {
    bool file = strncmp(plan.target, "unix:", 5) == 0;
    const char *slash = file ? NULL : strchr(plan.target, '/');
    *path = slash ? slash : "/";
    if (file) {
        snprintf(host, room, "localhost");
    } else {
        snprintf(host, room, "%.*s", (int)strcspn(plan.target, "/"), plan.target);
    }
}

void session_begin(struct link *link) {
    struct session *session = calloc(1, sizeof(*session));
    uint8_t random[WS_KEY_BYTES];
    char request[4096];
    char host[300];
    const char *path;
    if (!session || !(session->answer = malloc(WS_ANSWER_MOST))) {
        fail("not enough memory");
    }
    if (getrandom(random, sizeof(random), 0) != sizeof(random)) {
        fail("no random bytes for a key: %s", strerror(errno));
    }
    link->session = session;
    ws_key(session->key, random);
    target_split(host, sizeof(host), &path);
    size_t length = ws_request(request, sizeof(request), host, path, session->key);
    if (length == 0) {
        fail("the path of %s is too long", plan.target);
    }
    link_send(link, request, length);
}

bool session_answered(struct link *link) {
    struct session *session = link->session;
    char why[200];
    char *bytes;
    if (link->unsent_length > 0) {
        link_write(link);
    }
    size_t count = link_read(link, &bytes);
    size_t room = WS_ANSWER_MOST - session->length;
    size_t taken = count < room ? count : room;
    memcpy(session->answer + session->length, bytes, taken);
    session->length += taken;
    long head =
        ws_answer(session->answer, session->length, session->key, why, sizeof(why));
    if (head < 0) {
        fail("connection %d: the answer to the handshake is wrong: %s", link->index, why);
    }
    if (head == 0) {
        return false;
    }
    /* What came with it can only be control frames: nothing was sent yet. */
    struct part part;
    size_t before = session->length - taken; /* of the head, and not in `bytes` */
    bytes += (size_t)head - before;
    count -= (size_t)head - before;
    free(session->answer);
    session->answer = NULL;
    if (session_part(link, &bytes, &count, &part)) {
        fail("connection %d: a message came before one was sent", link->index);
    }
    return true;
}

static void pong(struct link *link, const struct ws_piece *ping) {
    char frame[WS_HEAD_MOST + WS_CONTROL_MOST];
    uint32_t mask = wire_mask();
    size_t head = ws_head(frame, WS_PONG, ping->length, mask);
    ws_mask(frame + head, ping->bytes, ping->length, mask);
    link_send(link, frame, head + ping->length);
}

static _Noreturn void close_came(const struct link *link, const struct ws_piece *close) {
    if (close->length == 1) {
        fail("connection %d: a Close frame has half a code", link->index);
    }
    if (close->length == 0) {
        fail("connection %d: the server closed it after %u messages, with a Close frame "
             "that has no code",
             link->index, link->received);
    }
    unsigned code =
        (unsigned)(unsigned char)close->bytes[0] << 8 | (unsigned char)close->bytes[1];
    fail("connection %d: the server closed it after %u messages with code %u%s%.*s",
         link->index, link->received, code, close->length > 2 ? ": " : "",
         (int)close->length - 2, close->bytes + 2);
}

/* A message that comes as text when it left as binary is not the same. */
static void check_kind(const struct link *link, const struct ws_piece *piece) {
    bool text = plan.framing == FRAMING_WS_TEXT;
    if (piece->kind != (text ? WS_TEXT : WS_BINARY)) {
        fail("connection %d: a message came back as %s, and was sent as %s", link->index,
             text ? "binary" : "text", text ? "text" : "binary");
    }
}

bool session_part(struct link *link, char **bytes, size_t *count, struct part *part) {
    while (*count > 0) {
        struct ws_piece piece;
        const char *why;
        long taken = ws_read(&link->session->reader, *bytes, *count, &piece, &why);
        if (taken < 0) {
            fail("connection %d: after %u messages, %s", link->index, link->received,
                 why);
        }
        char *end = *bytes + taken;
        *bytes = end;
        *count -= (size_t)taken;
        switch (piece.kind) {
        case WS_TEXT:
        case WS_BINARY:
            check_kind(link, &piece);
            *part = (struct part){end - piece.length, piece.length, piece.ends, 0};
            return true;
        case WS_PING: pong(link, &piece); break;
        case WS_CLOSE: close_came(link, &piece);
        default: break;
        }
    }
    return false;
}
