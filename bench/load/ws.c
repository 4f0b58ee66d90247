/* ws.c: WebSocket as a client speaks it. No extension but permessage-deflate, and no
 * subprotocol, is ever asked for, so a server that grants one is wrong. */
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "ws.h"

/* Handshake */

static void base64(char *to, const uint8_t *bytes, int length) {
    EVP_EncodeBlock((unsigned char *)to, bytes, length);
}

void ws_key(char key[WS_KEY_SIZE], const uint8_t bytes[WS_KEY_BYTES]) {
    base64(key, bytes, WS_KEY_BYTES);
}

void ws_accept(char accept[29], const char *key) {
    char text[WS_KEY_SIZE + 36];
    uint8_t digest[SHA_DIGEST_LENGTH];
    int length =
        snprintf(text, sizeof(text), "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    SHA1((unsigned char *)text, (size_t)length, digest);
    base64(accept, digest, SHA_DIGEST_LENGTH);
}

size_t ws_request(char *to, size_t room, const char *host, const char *path,
                  const char *key, bool deflate) {
    int length = snprintf(to, room,
                          "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"
                          "Connection: Upgrade\r\nSec-WebSocket-Key: %s\r\n"
                          "%sSec-WebSocket-Version: 13\r\n\r\n",
                          path, host, key,
                          deflate ? "Sec-WebSocket-Extensions: permessage-deflate; "
                                    "server_no_context_takeover; "
                                    "client_no_context_takeover\r\n"
                                  : "");
    return length > 0 && (size_t)length < room ? (size_t)length : 0;
}

/* A header's value, blanks round it taken off. Returns its length, or -1: there is none.
 * `end` is behind the CR LF of the last header. */
static int header(const char *line, const char *end, const char *name,
                  const char **value) {
    size_t length = strlen(name);
    while (line < end) {
        const char *stop = memmem(line, (size_t)(end - line), "\r\n", 2);
        if ((size_t)(stop - line) > length && line[length] == ':' &&
            strncasecmp(line, name, length) == 0) {
            const char *from = line + length + 1;
            while (from < stop && (*from == ' ' || *from == '\t')) {
                from++;
            }
            while (stop > from && (stop[-1] == ' ' || stop[-1] == '\t')) {
                stop--;
            }
            *value = from;
            return (int)(stop - from);
        }
        line = stop + 2;
    }
    return -1;
}

/* Whether a list such as `keep-alive, Upgrade` has the word. */
static bool has_word(const char *list, int length, const char *word) {
    const char *end = list + length;
    size_t wanted = strlen(word);
    while (list < end) {
        size_t run = 0;
        while (list + run < end && !strchr(", \t", list[run])) {
            run++;
        }
        if (run == wanted && strncasecmp(list, word, run) == 0) {
            return true;
        }
        list += run + 1;
    }
    return false;
}

/* What is wrong with the headers, or NULL. */
static const char *headers_wrong(const char *head, const char *end, const char *key,
                                 bool deflate) {
    char accept[29];
    const char *value = NULL;
    ws_accept(accept, key);
    int length = header(head, end, "Upgrade", &value);
    if (length != 9 || strncasecmp(value, "websocket", 9) != 0) {
        return "it has no `Upgrade: websocket`";
    }
    length = header(head, end, "Connection", &value);
    if (length < 0 || !has_word(value, length, "upgrade")) {
        return "it has no `Connection: Upgrade`";
    }
    length = header(head, end, "Sec-WebSocket-Accept", &value);
    if (length < 0) {
        return "it has no Sec-WebSocket-Accept";
    }
    if (length != 28 || memcmp(value, accept, 28) != 0) {
        return "its Sec-WebSocket-Accept does not belong to the key that was sent";
    }
    length = header(head, end, "Sec-WebSocket-Extensions", &value);
    if (deflate && (length < 18 || memcmp(value, "permessage-deflate", 18) != 0 ||
                    !memmem(value, (size_t)length, "server_no_context_takeover", 26))) {
        return "it does not grant permessage-deflate without context takeover";
    }
    if (!deflate && length > 0) {
        return "it grants an extension that was not asked for";
    }
    if (header(head, end, "Sec-WebSocket-Protocol", &value) > 0) {
        return "it names a subprotocol that was not asked for";
    }
    return NULL;
}

long ws_answer(const char *bytes, size_t length, const char *key, bool deflate, char *why,
               size_t room) {
    const char *end = memmem(bytes, length, "\r\n\r\n", 4);
    if (!end && length < WS_ANSWER_MOST) {
        return 0;
    }
    if (!end) {
        snprintf(why, room, "its head is longer than %d bytes", WS_ANSWER_MOST);
        return -1;
    }
    const char *line_end = memmem(bytes, length, "\r\n", 2);
    int line = (int)(line_end - bytes);
    if (line < 12 || memcmp(bytes, "HTTP/1.1 101", 12) != 0 ||
        (line > 12 && bytes[12] != ' ')) {
        snprintf(why, room, "it is `%.*s`, not `HTTP/1.1 101`", line < 100 ? line : 100,
                 bytes);
        return -1;
    }
    const char *wrong = headers_wrong(line_end + 2, end + 2, key, deflate);
    if (wrong) {
        snprintf(why, room, "%s", wrong);
        return -1;
    }
    return end + 4 - bytes;
}

/* Frames */

size_t ws_head(char *to, unsigned opcode, size_t length, uint32_t mask) {
    uint8_t *head = (uint8_t *)to;
    unsigned wide = length < 126 ? 0 : length < 65536 ? 2 : 8;
    head[0] = (uint8_t)(0x80 | opcode);
    head[1] = (uint8_t)(0x80 | (wide == 0 ? length : wide == 2 ? 126 : 127));
    for (unsigned i = 0; i < wide; i++) {
        head[2 + i] = (uint8_t)((uint64_t)length >> (8 * (wide - 1 - i)));
    }
    memcpy(head + 2 + wide, &mask, 4);
    return 6 + wide;
}

void ws_mask(char *to, const char *from, size_t length, uint32_t mask) {
    uint64_t wide = (uint64_t)mask << 32 | mask;
    size_t at = 0;
    for (; at + 16 <= length; at += 16) {
        uint64_t words[2];
        memcpy(words, from + at, 16);
        words[0] ^= wide;
        words[1] ^= wide;
        memcpy(to + at, words, 16);
    }
    const char *bytes = (const char *)&mask;
    for (; at < length; at++) {
        to[at] = (char)(from[at] ^ bytes[at & 3]);
    }
}

/* The rules that a head's first two bytes can break (section 5). */
static const char *head_wrong(const struct ws_reader *reader) {
    unsigned opcode = reader->head[0] & 15;
    bool last = reader->head[0] & 0x80;
    bool begins = opcode == WS_TEXT || opcode == WS_BINARY;
    if (reader->head[0] & (reader->deflate && begins ? 0x30 : 0x70)) {
        return "a frame has reserved bits set, and no extension was agreed on";
    }
    if (reader->head[1] & 0x80) {
        return "a frame is masked, which only clients may do";
    }
    if (opcode > WS_PONG || (opcode > WS_BINARY && opcode < WS_CLOSE)) {
        return "a frame has an opcode that does not exist";
    }
    if (opcode >= WS_CLOSE) {
        return !last || (reader->head[1] & 127) > WS_CONTROL_MOST
                   ? "a control frame is fragmented or longer than 125 bytes"
                   : NULL;
    }
    if (opcode == WS_CONTINUATION && reader->message == 0) {
        return "a continuation frame continues nothing";
    }
    if (opcode != WS_CONTINUATION && reader->message != 0) {
        return "a message begins inside a fragmented one";
    }
    return NULL;
}

static const char *length_wrong(struct ws_reader *reader) {
    unsigned short_form = reader->head[1] & 127;
    reader->left = short_form;
    if (short_form >= 126) {
        reader->left = 0;
        for (unsigned i = 2; i < reader->head_length; i++) {
            reader->left = reader->left << 8 | reader->head[i];
        }
        if (reader->left < (short_form == 126 ? 126 : 65536)) {
            return "a frame's length is not in its shortest form";
        }
        if (reader->left >> 63) {
            return "a frame's length has its highest bit set";
        }
    }
    return NULL;
}

/* Takes bytes of a head. `*why` is set when it is wrong. */
static size_t take_head(struct ws_reader *reader, const char *bytes, size_t length,
                        const char **why) {
    size_t taken = 0;
    for (;;) {
        unsigned form = reader->head_length >= 2 ? reader->head[1] & 127 : 0;
        unsigned wanted = form == 126 ? 4 : form == 127 ? 10 : 2;
        if (reader->head_length == wanted) {
            break;
        }
        if (taken == length) {
            return taken;
        }
        reader->head[reader->head_length++] = (uint8_t)bytes[taken++];
        if (reader->head_length == 2 && (*why = head_wrong(reader))) {
            return taken;
        }
    }
    *why = length_wrong(reader);
    reader->opcode = reader->head[0] & 15;
    reader->last = reader->head[0] & 0x80;
    reader->in_frame = true;
    reader->head_length = 0;
    reader->control_length = 0;
    if (reader->opcode == WS_TEXT || reader->opcode == WS_BINARY) {
        reader->message = reader->opcode;
        reader->compressed = reader->head[0] & 0x40;
    }
    return taken;
}

/* A control frame is put together: its payload is given out whole. */
static void take_control(struct ws_reader *reader, const char *bytes, size_t length,
                         struct ws_piece *piece) {
    memcpy(reader->control + reader->control_length, bytes, length);
    reader->control_length = (uint8_t)(reader->control_length + length);
    if (reader->left == 0) {
        *piece = (struct ws_piece){reader->opcode, true, false, reader->control,
                                   reader->control_length};
    }
}

static void take_data(struct ws_reader *reader, const char *bytes, size_t length,
                      struct ws_piece *piece) {
    bool ends = reader->last && reader->left == 0;
    *piece = (struct ws_piece){reader->message, ends, reader->compressed, bytes, length};
    if (ends) {
        reader->message = 0;
    }
}

long ws_read(struct ws_reader *reader, const char *bytes, size_t length,
             struct ws_piece *piece, const char **why) {
    size_t taken = 0;
    *piece = (struct ws_piece){0};
    *why = NULL;
    if (!reader->in_frame) {
        taken = take_head(reader, bytes, length, why);
        if (*why) {
            return -1;
        }
        if (!reader->in_frame) {
            return (long)taken;
        }
    }
    size_t rest = length - taken;
    size_t part = reader->left < rest ? (size_t)reader->left : rest;
    reader->left -= part;
    reader->in_frame = reader->left > 0;
    if (reader->opcode >= WS_CLOSE) {
        take_control(reader, bytes + taken, part, piece);
    } else if (part > 0 || !reader->in_frame) {
        take_data(reader, bytes + taken, part, piece);
    }
    return (long)(taken + part);
}
