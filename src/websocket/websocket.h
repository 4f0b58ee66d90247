/* websocket.h: a connection that has become a WebSocket (RFC 6455, RFC 7692).
 *
 * Text messages are messages. Binary frames are messages too, or carry a byte stream that
 * the framing cuts (see enum sync_websocket_mode). Control frames are answered here.
 */
#pragma once

#include "conn/conn.h"
#include "websocket/wire.h"

/* Makes a WebSocket of a connection whose handshake was accepted. Returns 0, or -1 when
 * memory ran out. */
int websocket_begin(struct conn *conn, const struct sync_websocket *settings);
void websocket_free(struct conn *conn);

/* Takes received bytes. Returns how many; less than length when the rest has to wait. */
size_t websocket_take(struct conn *conn, char *bytes, size_t length);

/* Hands out messages of a byte stream that waited for room. */
void websocket_resume(struct conn *conn);

/* Queues a Close frame, once. Code 0 stands for the one that fits how it ends. */
void websocket_say_close(struct conn *conn, uint32_t code, const char *why,
                         size_t length);

/* Whether it has sent a Close frame that the client has yet to answer. */
bool websocket_expects_close(const struct conn *conn);

/* The code of its Close frame; 0 before there is one. */
uint32_t websocket_close_code(const struct conn *conn);

/* Sends a ping. Whether one isn't answered yet, and since when. */
void websocket_ping(struct conn *conn);
bool websocket_pinged(const struct conn *conn, uint32_t *since);

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

/* Bytes that are held of messages that aren't complete. */
uint32_t websocket_held(const struct conn *conn);

/* Gives back what compressing for all holds. */
void websocket_trim(struct core *core);
