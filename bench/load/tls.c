/* tls.c: TLS under a link, by OpenSSL. What is measured is a server's TLS, so no
 * certificate is looked at. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "load.h"

static SSL_CTX *context(void) {
    static SSL_CTX *made;
    if (!made) {
        made = need(SSL_CTX_new(TLS_client_method()));
        SSL_CTX_set_options(made, SSL_OP_IGNORE_UNEXPECTED_EOF); /* as without TLS */
        SSL_CTX_set_read_ahead(made, 1); /* one system call for a record, not two */
        SSL_CTX_set_mode(made, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                   SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
    return made;
}

void tls_begin(struct link *link) {
    link->tls = need(SSL_new(context()));
    if (SSL_set_fd(link->tls, link->fd) != 1) {
        fail("not enough memory");
    }
}

static const char *reason(void) {
    unsigned long error = ERR_peek_last_error();
    return error ? ERR_error_string(error, NULL) : "the server closed it";
}

bool tls_shaken(struct link *link) {
    if (SSL_is_init_finished(link->tls)) {
        return true;
    }
    ERR_clear_error();
    int done = SSL_connect(link->tls);
    int why = SSL_get_error(link->tls, done);
    if (done != 1 && why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
        link_broke(link, "TLS handshake: %s", reason());
        return false;
    }
    return done == 1;
}

/* Says by errno, as recv and send do, why nothing was done. Returns 0 at TLS's end. */
static ssize_t nothing(struct link *link, int count) {
    switch (SSL_get_error(link->tls, count)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: errno = EAGAIN; return -1;
    case SSL_ERROR_ZERO_RETURN: return 0;
    case SSL_ERROR_SYSCALL: return errno ? -1 : 0;
    default: errno = EPROTO; return -1;
    }
}

ssize_t tls_send(struct link *link, const char *bytes, size_t length) {
    size_t sent = 0;
    while (sent < length) {
        size_t part = 0;
        errno = 0;
        ERR_clear_error();
        if (SSL_write_ex(link->tls, bytes + sent, length - sent, &part) != 1) {
            ssize_t why = nothing(link, 0);
            errno = why == 0 ? EPIPE : errno;
            return sent > 0 && errno == EAGAIN ? (ssize_t)sent : -1;
        }
        sent += part;
    }
    return (ssize_t)sent;
}

ssize_t tls_read(struct link *link, char *bytes, size_t room) {
    size_t got = 0;
    do {
        size_t part = 0;
        errno = 0;
        ERR_clear_error();
        if (SSL_read_ex(link->tls, bytes + got, room - got, &part) != 1) {
            return got > 0 ? (ssize_t)got : nothing(link, 0);
        }
        got += part;
    } while (got < room && SSL_has_pending(link->tls));
    return (ssize_t)got;
}

bool tls_pending(const struct link *link) {
    return SSL_has_pending(link->tls);
}

void tls_free(struct link *link) {
    SSL_free(link->tls);
}
