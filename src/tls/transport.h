/* transport.h: a connection whose bytes go through TLS. */
#pragma once

#include "conn/conn.h"

/* What came of writing. */
enum written {
    WRITTEN, /* all of it */
    FULL,    /* the kernel takes no more now */
    WAITS,   /* until the client has said more */
    BROKEN   /* the connection was told so */
};

/* Begins TLS as a client, with a connection that this side has made. */
void secure_connect(struct conn *conn);

/* Begins TLS as a server, with what has come so far. */
void secure_begin(struct conn *conn, const char *cipher, size_t length);

/* Decrypts what was received, and what waited, as far as there is room for it. */
void secure_receive(struct conn *conn, const char *cipher, size_t length);

/* Encrypts and writes what is queued. */
enum written secure_write(struct conn *conn);

/* Tells the client, once, that nothing more comes. Returns whether it had to be told. */
bool secure_end(struct conn *conn);

/* Whether the handshake is under way. */
bool secure_handshaking(const struct conn *conn);
