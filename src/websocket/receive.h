/* receive.h: from a WebSocket's frames to messages. See protocol.h. */
#pragma once

#include "conn/conn.h"

size_t receive_take(struct conn *conn, char *bytes, size_t length);

/* Hands out messages of a byte stream that waited for room. */
void receive_resume(struct conn *conn);
