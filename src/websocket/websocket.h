/* websocket.h: a connection that has become a WebSocket (RFC 6455, RFC 7692).
 *
 * Text messages are messages. Binary frames are messages too, or carry a byte stream that
 * the framing cuts (see enum sync_websocket_mode). control.h has what is sent that
 * is none of both.
 */
#pragma once

#include "conn/conn.h"

struct reading;
struct websocket;

/* What a connection needs to be a WebSocket, with what was agreed on; NULL when memory
 * ran out. */
struct websocket *websocket_new(struct conn *conn, const struct sync_websocket *settings);

/* Its handshake was accepted: from now on it is one, which is sent text or binary as long
 * as it has sent nothing. */
void websocket_begin(struct conn *conn, struct websocket *websocket, bool binary);

/* Sends messages of this enum sync_kind from now on, as the client's own kind; or for
 * now, until it's called with SYNC_KIND_NONE, which is the own one. To others than
 * WebSockets neither is of matter. */
void websocket_turn(struct conn *conn, uint32_t kind);
void websocket_use(struct conn *conn, uint32_t kind);

/* Whether a connection is one. */
bool websocket_is(const struct conn *conn);

/* The code of its Close frame; 0 before there is one, and for other connections. */
uint32_t websocket_close_code(const struct conn *conn);

/* Bytes that are held of messages that aren't complete; 0 for other connections. */
uint32_t websocket_held(const struct conn *conn);

/* A connection of the process before goes on as a WebSocket. Returns 0, UV_EINVAL when
 * what is read isn't one, or UV_ENOMEM. */
int websocket_resume(struct conn *conn, struct reading *reading);
