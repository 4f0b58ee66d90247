/* send.h: messages to WebSockets, compressed where that was agreed on. */
#pragma once

#include "conn/conn.h"
#include "websocket/wire.h"

/* Sends a message to this client alone. */
enum sync_sent send_message(struct conn *conn, const char *bytes, size_t length);

/* Whether a message of this length is compressed for the client. */
bool send_compresses(const struct conn *conn, size_t length);

/* Whether the client has asked for a window below 15 bits. All who have are sent what
 * fits the smallest: a client chooses no compressor of its own. */
bool send_is_small(const struct conn *conn);

/* The client gets what was compressed for all. Its own compressor has not seen that, and
 * begins anew. */
void send_was_shared(struct conn *conn);

/* A message's forms that are compressed for small windows, by wire; the caller sets
 * `used` to false, and where it has become true, releases them. */
struct small_forms {
    bool used;
    struct shared *form[WIRE_COUNT];
};
enum sync_sent send_small(struct conn *conn, struct small_forms *small, const char *bytes,
                          size_t length);
void send_release_small(struct small_forms *small);

/* A message as one frame with its payload compressed, referring to nothing before it, for
 * all clients of this wire but those with a small window; NULL when memory ran out. */
struct shared *send_compress(struct core *core, uint8_t wire, bool text,
                             const char *bytes, size_t length);

/* Gives back what compressing for all holds. */
void send_trim(struct core *core);
