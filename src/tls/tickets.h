/* tickets.h: TLS sessions that the clients keep, sealed with keys of the server (RFC
 * 5077, RFC 8446 section 4.6.1). */
#pragma once

#include <stdint.h>

#include <openssl/ssl.h>

struct tickets;

/* Returns NULL when there is no memory, or no randomness. */
struct tickets *tickets_new(void);

/* Another holds them, too; each gives up its hold, and the last one's frees them. */
struct tickets *tickets_hold(struct tickets *tickets);
void tickets_release(struct tickets *tickets);

/* Makes the keys older: see tls_store_age_tickets. */
void tickets_age(struct tickets *tickets, uint32_t seconds);

/* What a callback of SSL_CTX_set_tlsext_ticket_key_evp_cb does. Returns 1; 2 when the
 * client shall get a new ticket: its key is not the newest, or it is TLS 1.3, where a
 * ticket should be used only once (RFC 8446 appendix C.4); 0 for a ticket whose key is
 * not known: then a full handshake is done; or -1. */
int tickets_seal(struct tickets *tickets, const SSL *ssl, unsigned char *name,
                 unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal);
