/* transport.h: a connection whose bytes go through TLS. */
#pragma once

#include "conn/conn.h"

/* Begins TLS as a client, with a connection that this side has made. */
void secure_connect(struct conn *conn);

/* Begins TLS as a server, with what has come so far. */
void secure_begin(struct conn *conn, const char *cipher, size_t length);

/* Whether the handshake is under way. */
bool secure_handshaking(const struct conn *conn);

/* What is wrong, in words for the log; NULL when nothing is, or for another transport. */
const char *secure_problem(const struct conn *conn);
