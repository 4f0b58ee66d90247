/* output.h: from messages to bytes on their way. */
#pragma once

#include "conn/codec.h"
#include "conn/conn.h"

/* Queues a framed message; see sync_send. With `shared` it goes by reference. */
enum sync_sent output_send(struct conn *conn, const struct frame *frame,
                           const char *bytes, size_t length, struct shared *shared);

/* Queues bytes that are no message. Returns SYNC_SENT, or why not. */
enum sync_sent output_raw(struct conn *conn, const char *bytes, size_t length);

/* Writes what is queued. */
void output_flush(struct conn *conn);

/* Whether what was sent before is still unsent: in a tick, nothing leaves before its end.
 */
bool output_is_behind(const struct conn *conn);

/* Unsent bytes, those in the kernel's hands not counted. */
uint32_t output_queued(const struct conn *conn);
