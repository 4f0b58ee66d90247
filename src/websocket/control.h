/* control.h: how a WebSocket is asked whether it is there, and how it ends: what is sent
 * that is no message. */
#pragma once

#include "conn/conn.h"
#include "websocket/frame.h"

/* Queues a control frame. */
void control_send(struct conn *conn, enum ws_opcode opcode, const char *payload,
                  size_t length);

/* Queues a Close frame, once. Code 0 stands for the one that fits how it ends. */
void control_say_close(struct conn *conn, uint32_t code, const char *why, size_t length);

/* Sends a ping, and notes when. */
void control_ping(struct conn *conn);

/* The client broke a rule, or memory ran out: the connection ends. Both return false. */
bool control_fail(struct conn *conn, enum ws_code code);
bool control_no_memory(struct conn *conn);
