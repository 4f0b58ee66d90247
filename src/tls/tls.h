/* tls.h: TLS 1.2 and 1.3 for one side of a connection (RFC 5246, RFC 8446).
 *
 * Pure: bytes in, bytes out; knows no socket and no connection. The caller feeds what the
 * network brought, reads until there is no more, and sends what then waits:
 *
 *     tls_feed(tls, received, length);
 *     while ((n = tls_read(tls, plain, sizeof(plain))) > 0) { ... }
 *     length = tls_peek(tls, &cipher);
 *     tls_consume(tls, sent);
 *
 * What a connection costs, with OpenSSL 3.0, nearly all of it OpenSSL's own: 9 KiB before
 * the first byte, 72 KiB until the client's hello is complete, then 44 KiB until the
 * handshake is done; idle and established 13.4 KiB in TLS 1.2 and 14.0 KiB in TLS 1.3.
 * Its 17 KiB buffers for records are there only while a part of a record is, and what was
 * read or consumed is not kept.
 *
 * Nothing here is shared between threads: a store, the stores that share its tickets and
 * their connections belong to one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { TLS_ENDED = -1, TLS_FAILED = -2, TLS_LATER = -3 };

enum {
    TLS_RECORD_MOST = 16384, /* plain bytes of one record */
    TLS_OVERHEAD = 29,       /* bytes that a record adds, at most (TLS 1.2, AES-GCM) */
    TLS_TICKET_SECONDS = 12 * 60 * 60
};

/* The certificates of one listener, or what connections to other servers trust.
 *
 * To reload them, make a new store of the same files. When all is well, let it keep the
 * tickets, put it in the old one's place and free the old one. Connections hold their
 * store, so those that are in the middle of a handshake end it with the old certificates.
 */
struct tls_store;

/* NULL when memory ran out or there is no randomness. The store wants TLS 1.2 or later.
 */
struct tls_store *tls_store_new(void);

/* Gives up the owner's hold; the last of its connections frees the store. */
void tls_store_free(struct tls_store *store);

/* Adds a certificate, with the chain that leads to its issuer behind it in the file, and
 * its key; both in PEM, possibly in the same file. The first one added is the default. A
 * client that asks for a name (SNI, RFC 6066 section 3) gets the first certificate that
 * has it as a subjectAltName, else the first with a wildcard that fits, else the default,
 * which the client then refuses in words that its user understands.
 *
 * Returns 0, or -1 when it can't be used, and nothing was added. The message says what is
 * wrong and what to do about it. On success it's empty, or a warning: an expired
 * certificate is taken, as a server that runs is of more use than one that does not.
 * Never asks for a passphrase: a key that needs one is refused. */
int tls_store_add(struct tls_store *store, const char *certificate_file,
                  const char *key_file, char *message, size_t size);

/* Sets the oldest version that is spoken from now on: 12 or 13. Returns 0, or -1 for any
 * other, and nothing was changed. */
int tls_store_minimum(struct tls_store *store, int version);

/* Shares the old store's ticket keys, so that clients resume their sessions after a
 * reload. A ticket is good for each name of the store: no client shows a certificate, so
 * there is no trust that one name could lend to another. Keys are replaced by new ones
 * every TLS_TICKET_SECONDS and forgotten after twice that: it takes a key to read a
 * recorded TLS 1.2 session that it resumed. */
void tls_store_keep_tickets(struct tls_store *store, struct tls_store *old);

/* Makes the ticket keys older. By TLS_TICKET_SECONDS: a new one is used from now on. By
 * twice that: all are forgotten, and with them every session. */
void tls_store_age_tickets(struct tls_store *store, uint32_t seconds);

/* Makes a store for connections that are clients. They take a server's certificate if it
 * was issued for the host that they want, by an authority of a file (PEM), or for NULL by
 * one that the system trusts. NULL when that can't be used; then the message says what is
 * wrong. */
struct tls_store *tls_store_trusting(const char *authorities, char *message, size_t size);

/* Gives such a store a certificate, with its key, for servers that ask for one. Returns
 * 0, or -1, and the store is of no use; the message as by tls_store_add. */
int tls_store_show(struct tls_store *store, const char *certificate_file,
                   const char *key_file, char *message, size_t size);

/* One connection. */
struct tls;

/* NULL when the store has no certificate or memory ran out. */
struct tls *tls_new(struct tls_store *store);

/* The client's side of one, to a host of this name, or with this address. NULL when
 * memory ran out. The first tls_read begins the handshake. */
struct tls *tls_new_client(struct tls_store *store, const char *host);
void tls_free(struct tls *tls);

/* Takes a copy of bytes from the network. Feed when tls_read has returned 0; then never
 * more is kept than was fed once. What comes after the end or a failure is dropped.
 * Returns 0, or -1 when memory ran out; then nothing was taken and the connection is of
 * no more use. */
int tls_feed(struct tls *tls, const char *cipher, size_t length);

/* Does the handshake's next steps, then fills `plain` with what has come. Returns how
 * many bytes; 0 when more must be fed first; TLS_ENDED when the other side has said that
 * it sends no more (close_notify; one may still write to it); or TLS_FAILED. Then
 * tls_problem says why, and what still waits to be sent is the alert that tells the
 * other side. Reading may queue bytes, never more than a handshake's, or than were fed.
 *
 * A call takes 1,024 records at most, or 128 that bring no data; TLS_LATER says that only
 * such came, and more may be there: feed nothing, and call again. */
ssize_t tls_read(struct tls *tls, char *plain, size_t size);

/* What the last tls_read has done: 1 is a record that brought data, 8 another. */
uint32_t tls_work(const struct tls *tls);

/* Encrypts. Returns `length`: all was queued, with at most TLS_OVERHEAD bytes for each
 * call and for each TLS_RECORD_MOST in it, so small messages are better joined. Returns 0
 * before the handshake is done or while the other side is in the middle of a key update:
 * try again after the next tls_read. TLS_ENDED after tls_end; or TLS_FAILED. */
ssize_t tls_write(struct tls *tls, const char *plain, size_t length);

/* Returns how many bytes wait to be sent, with *cipher set to them, if not NULL. They
 * stay there until the next call that reads, writes, ends or consumes. */
size_t tls_peek(const struct tls *tls, const char **cipher);

/* Takes off what was sent: at most what tls_peek has returned. */
void tls_consume(struct tls *tls, size_t length);

/* Queues a close_notify, once. Before the handshake is done there's nothing to end.
 * Returns whether one was queued. */
bool tls_end(struct tls *tls);

/* Whether the handshake was done; stays true. */
bool tls_established(const struct tls *tls);

/* Whether the handshake resumed an earlier session. */
bool tls_resumed(const struct tls *tls);

/* The name the client asked for, or NULL. Any bytes but NUL may be in it. */
const char *tls_server_name(const struct tls *tls);

/* What is wrong, in words for the log, after TLS_FAILED; else NULL. Never freed. */
const char *tls_problem(const struct tls *tls);
