/* relay.h: a TLS connection whose plaintext another process has. TLS stays here, as its
 * keys and its state within OpenSSL can't be handed over; what is decrypted goes through
 * a socket to that process, which owns the client, and back. */
#pragma once

#include "conn/conn.h"

/* The connection, whose TLS is established, is a relay from now on, and so is the socket
 * `fd`, which is taken over. What it was is forgotten, but for what is unsent. */
void relay_begin(struct conn *conn, int fd);

/* Ends all relays. */
void relay_end_all(struct core *core);
