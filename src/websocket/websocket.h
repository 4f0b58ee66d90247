/* websocket.h: a connection that has become a WebSocket (RFC 6455, RFC 7692).
 *
 * Text messages are messages. Binary frames are messages too, or carry a byte stream that
 * the framing cuts (see enum sync_websocket_mode). Control frames are answered here.
 */
#pragma once

#include "conn/conn.h"
#include "websocket/wire.h"

struct websocket;

/* What a connection needs to be a WebSocket, with what was agreed on; NULL when memory
 * ran out. */
struct websocket *websocket_new(struct conn *conn, const struct sync_websocket *settings);

/* Its handshake was accepted: from now on it is one, which is sent text or binary as long
 * as it has sent nothing. */
void websocket_begin(struct conn *conn, struct websocket *websocket, bool binary);

/* Whether a connection is one. */
bool websocket_is(const struct conn *conn);

/* The code of its Close frame; 0 before there is one, and for other connections. */
uint32_t websocket_close_code(const struct conn *conn);

/* Sends a message to this client alone. */
enum sync_sent websocket_send(struct conn *conn, const char *bytes, size_t length);

/* Whether a message of this length is compressed for the client. */
bool websocket_compresses(const struct conn *conn, size_t length);

/* Whether the client has asked for a window below 15 bits. All who have are sent what
 * fits the smallest: a client chooses no compressor of its own. */
bool websocket_window_is_small(const struct conn *conn);

/* The client gets what was compressed for all. Its own compressor has not seen that, and
 * begins anew. */
void websocket_sent_shared(struct conn *conn);

/* A message's forms that are compressed for small windows, by wire; the caller sets
 * `used` to false, and where it has become true, releases them. */
struct small_forms {
    bool used;
    struct shared *form[WIRE_COUNT];
};
enum sync_sent websocket_send_small(struct conn *conn, struct small_forms *small,
                                    const char *bytes, size_t length);
void websocket_release_small(struct small_forms *small);

/* A message as one frame with its payload compressed, referring to nothing before it, for
 * all clients of this wire but those with a small window; NULL when memory ran out. */
struct shared *websocket_compress(struct core *core, uint8_t wire, bool text,
                                  const char *bytes, size_t length);

/* Bytes that are held of messages that aren't complete; 0 for other connections. */
uint32_t websocket_held(const struct conn *conn);

/* Gives back what compressing for all holds. */
void websocket_trim(struct core *core);
