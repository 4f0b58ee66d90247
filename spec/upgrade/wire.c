/* wire.c: lines, WebSocket frames, permessage-deflate. */
#include <stdio.h>
#include <string.h>

#include "load.h"

void wire_put(struct client *client, const char *bytes, size_t length) {
    if (client->out_length + length > BUFFER) {
        fail(client, "the server takes nothing");
        return;
    }
    memcpy(client->out + client->out_length, bytes, length);
    client->out_length += length;
}

/* Masked with zeros. */
static void put_frame(struct client *client, unsigned char first, const char *bytes,
                      size_t length) {
    char head[8] = {(char)first, (char)(0x80 | length)};
    size_t size = 2;
    if (length > 125) {
        head[1] = (char)(0x80 | 126);
        head[2] = (char)(length >> 8);
        head[3] = (char)length;
        size = 4;
    }
    wire_put(client, head, size);
    wire_put(client, "\0\0\0\0", 4);
    wire_put(client, bytes, length);
}

static size_t pack(struct client *client, const char *text, size_t length, char *packed,
                   size_t room) {
    client->deflate.next_in = (Bytef *)text;
    client->deflate.avail_in = (uInt)length;
    client->deflate.next_out = (Bytef *)packed;
    client->deflate.avail_out = (uInt)room;
    deflate(&client->deflate, Z_SYNC_FLUSH);
    return room - client->deflate.avail_out - 4;
}

void wire_say(struct client *client, const char *text, size_t length, bool in_parts) {
    char packed[2048];
    if (client->kind == STREAM) {
        wire_put(client, text, length);
        wire_put(client, "\n", 1);
        return;
    }
    if (client->packs) {
        length = pack(client, text, length, packed, sizeof(packed));
        text = packed;
    }
    size_t part = in_parts ? length / 2 : length;
    put_frame(client, (client->packs ? 0x41 : 1) | (in_parts ? 0 : 0x80), text, part);
    client->rest_length = length - part;
    memcpy(client->rest, text + part, client->rest_length);
}

void wire_say_rest(struct client *client) {
    put_frame(client, 0x80, client->rest, client->rest_length);
    client->rest_length = 0;
}

void wire_ask(struct client *client) {
    char text[512];
    int length =
        snprintf(text, sizeof(text),
                 "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                 "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
                 client->packs ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : "");
    wire_put(client, text, (size_t)length);
    deflateReset(&client->deflate);
    inflateReset(&client->inflate);
}

bool wire_agreed(const struct client *client, const char *head, size_t length) {
    return memcmp(head, "HTTP/1.1 101", 12) == 0 &&
           (!client->packs || memmem(head, length, "permessage-deflate", 18));
}

static size_t take_line(struct client *client) {
    char *end = memchr(client->in, '\n', client->in_length);
    if (!end) {
        return 0;
    }
    talk_hear(client, client->in, (size_t)(end - client->in));
    return (size_t)(end - client->in) + 1;
}

static void unpack(struct client *client, char *bytes, size_t length) {
    char text[8192];
    static const char tail[4] = {0, 0, (char)0xff, (char)0xff};
    client->inflate.next_in = (Bytef *)bytes;
    client->inflate.avail_in = (uInt)length;
    client->inflate.next_out = (Bytef *)text;
    client->inflate.avail_out = sizeof(text);
    int one = inflate(&client->inflate, Z_SYNC_FLUSH);
    client->inflate.next_in = (Bytef *)tail;
    client->inflate.avail_in = sizeof(tail);
    inflate(&client->inflate, Z_SYNC_FLUSH);
    if (one != Z_OK && one != Z_BUF_ERROR) {
        fail(client, "it can't be inflated");
    }
    talk_hear(client, text, sizeof(text) - client->inflate.avail_out);
}

static size_t take_frame(struct client *client) {
    unsigned char *in = (unsigned char *)client->in;
    if (client->in_length < 4) {
        return 0;
    }
    size_t head = in[1] == 126 ? 4 : 2;
    size_t length = in[1] == 126 ? (size_t)in[2] << 8 | in[3] : in[1];
    if (client->in_length < head + length) {
        return 0;
    }
    char *payload = client->in + head;
    switch (in[0] & 15) {
    case 1:
        if (in[0] & 0x40) {
            unpack(client, payload, length);
        } else {
            talk_hear(client, payload, length);
        }
        break;
    case 8: fail(client, "a Close"); break;
    case 9: put_frame(client, 0x8a, payload, length); break;
    default: fail(client, "a frame that nobody has asked for");
    }
    return head + length;
}

static size_t take_head(struct client *client) {
    char *end = memmem(client->in, client->in_length, "\r\n\r\n", 4);
    if (!end) {
        return 0;
    }
    size_t length = (size_t)(end - client->in) + 4;
    if (!wire_agreed(client, client->in, length)) {
        fail(client, "no WebSocket");
    }
    talk_resume(client);
    return length;
}

void wire_take(struct client *client) {
    char *begin = client->in;
    size_t used;
    do {
        used = client->in_length == 0     ? 0
               : client->phase == OPENING ? take_head(client)
               : client->kind == STREAM   ? take_line(client)
                                          : take_frame(client);
        client->in += used;
        client->in_length -= used;
    } while (used > 0);
    memmove(begin, client->in, client->in_length);
    client->in = begin;
}
