/* tls.c: OpenSSL between two buffers.
 *
 * OpenSSL reads from and writes to one BIO that is the connection's two buffers. A memory
 * BIO of OpenSSL would keep the memory of its fullest hour; these buffers keep none.
 */
#include "tls/tls.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "tls/store.h"

/* A record that brings no data, as one that changes the keys, takes some ten times as
 * long as a short one that does. */
enum { RECORD_HEAD = 5, RECORD_WORK = 8, READ_WORK = 1024 };

/* Bytes from `begin` to `end`. Empty, it has no storage. */
struct buffer {
    char *storage;
    size_t begin;
    size_t end;
    size_t size;
};
struct tls {
    SSL *ssl;
    struct tls_store *store; /* outlives the handshake: the BIO's method is in it */
    struct buffer in;
    struct buffer out;
    size_t record;       /* bytes that OpenSSL hasn't got yet of the record under way */
    uint32_t idle;       /* records that it got since it gave data */
    uint32_t work;       /* of the last tls_read, without these */
    unsigned long error; /* OpenSSL's, of a failed connection; 0: out of memory */
    bool established;
    bool ended; /* by the other side */
    bool failed;
};

/* The buffers */

static void buffer_clear(struct buffer *buffer) {
    free(buffer->storage);
    *buffer = (struct buffer){0};
}

/* Makes room for that much more; false when memory ran out. It doubles, so that all moves
 * together cost no more than the appends. */
static bool buffer_reserve(struct buffer *buffer, size_t more) {
    size_t held = buffer->end - buffer->begin;
    if (buffer->size - buffer->end >= more) {
        return true;
    }
    size_t size = held + (more > held ? more : held);
    char *storage = more <= SIZE_MAX / 4 ? malloc(size) : NULL;
    if (!storage) {
        return false;
    }
    if (held > 0) {
        memcpy(storage, buffer->storage + buffer->begin, held);
    }
    free(buffer->storage);
    *buffer = (struct buffer){storage, 0, held, size};
    return true;
}

static int buffer_append(struct buffer *buffer, const char *bytes, size_t length) {
    if (length == 0) {
        return 0;
    }
    if (!buffer_reserve(buffer, length)) {
        return -1;
    }
    memcpy(buffer->storage + buffer->end, bytes, length);
    buffer->end += length;
    return 0;
}

static void buffer_consume(struct buffer *buffer, size_t length) {
    buffer->begin += length;
    if (buffer->begin == buffer->end) {
        buffer_clear(buffer);
    }
}

static int bio_write(BIO *bio, const char *bytes, size_t length, size_t *written) {
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *written = length;
    return buffer_append(&tls->out, bytes, length) == 0;
}

static bool has_worked_enough(const struct tls *tls) {
    return tls->work + tls->idle * RECORD_WORK >= READ_WORK;
}

/* How many bytes OpenSSL may have of what is held: those of one record, so that it does
 * no more than it should before it asks again. */
static size_t record_part(struct tls *tls) {
    size_t held = tls->in.end - tls->in.begin;
    if (tls->record == 0 && held >= RECORD_HEAD && !has_worked_enough(tls)) {
        const unsigned char *head =
            (const unsigned char *)tls->in.storage + tls->in.begin;
        tls->record = RECORD_HEAD + ((size_t)head[3] << 8 | head[4]);
        tls->idle++;
    }
    return tls->record < held ? tls->record : held;
}

static int bio_read(BIO *bio, char *bytes, size_t size, size_t *read) {
    struct tls *tls = BIO_get_data(bio);
    size_t part = record_part(tls);
    size_t length = size < part ? size : part;
    BIO_clear_retry_flags(bio);
    *read = length;
    if (length == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(bytes, tls->in.storage + tls->in.begin, length);
    buffer_consume(&tls->in, length);
    tls->record -= length;
    return 1;
}

static long bio_control(BIO *bio, int command, long number, void *pointer) {
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *method_new(void) {
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "buffers");
    if (method && BIO_meth_set_write_ex(method, bio_write) &&
        BIO_meth_set_read_ex(method, bio_read) &&
        BIO_meth_set_ctrl(method, bio_control)) {
        return method;
    }
    BIO_meth_free(method);
    return NULL;
}

/* A connection */

/* OpenSSL tells its errors apart only when none is left of before. Clearing writes to all
 * of its sixteen places, so it is done only when there is one. */
static void forget_errors(void) {
    if (ERR_peek_error() != 0) {
        ERR_clear_error();
    }
}

static struct tls *connection_new(struct tls_store *store) {
    struct tls *tls = store->count > 0 ? calloc(1, sizeof(*tls)) : NULL;
    if (!tls) {
        return NULL;
    }
    ERR_clear_error();
    tls->store = tls_store_hold(store);
    store->method = store->method ? store->method : method_new();
    tls->ssl = SSL_new(store->contexts[0]);
    BIO *bio = store->method ? BIO_new(store->method) : NULL;
    if (!tls->ssl || !bio || !SSL_set_app_data(tls->ssl, store)) {
        BIO_free(bio);
        tls_free(tls);
        return NULL;
    }
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    return tls;
}

struct tls *tls_new(struct tls_store *store) {
    struct tls *tls = connection_new(store);
    if (tls) {
        SSL_set_accept_state(tls->ssl);
    }
    return tls;
}

/* An address is looked for among a certificate's addresses, and is no name to ask for. */
static bool expect(SSL *ssl, const char *host) {
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
                               X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host)) {
        return true;
    }
    return SSL_set1_host(ssl, host) && SSL_set_tlsext_host_name(ssl, host);
}

struct tls *tls_new_client(struct tls_store *store, const char *host) {
    struct tls *tls = connection_new(store);
    if (tls && !expect(tls->ssl, host)) {
        tls_free(tls);
        return NULL;
    }
    if (tls) {
        SSL_set_connect_state(tls->ssl);
    }
    ERR_clear_error();
    return tls;
}

void tls_free(struct tls *tls) {
    if (!tls) {
        return;
    }
    SSL_free(tls->ssl);
    buffer_clear(&tls->in);
    buffer_clear(&tls->out);
    tls_store_free(tls->store);
    free(tls);
}

int tls_feed(struct tls *tls, const char *cipher, size_t length) {
    if (tls->ended || tls->failed) {
        return 0;
    }
    tls->failed = buffer_append(&tls->in, cipher, length) < 0;
    return tls->failed ? -1 : 0;
}

/* What a call to OpenSSL that did nothing comes to. */
static ssize_t explain(struct tls *tls) {
    switch (SSL_get_error(tls->ssl, 0)) {
    case SSL_ERROR_WANT_READ: return 0;
    case SSL_ERROR_ZERO_RETURN: tls->ended = true; break;
    default:
        tls->failed = true;
        tls->error = ERR_peek_last_error(); /* the ones before it are details */
        ERR_clear_error();
        break;
    }
    buffer_clear(&tls->in);
    return tls->failed ? TLS_FAILED : TLS_ENDED;
}

ssize_t tls_read(struct tls *tls, char *plain, size_t size) {
    size_t total = 0;
    ssize_t end = tls->failed ? TLS_FAILED : tls->ended ? TLS_ENDED : 0;
    tls->work = 0;
    tls->idle = 0;
    while (total < size && end == 0 && !has_worked_enough(tls)) {
        size_t length;
        forget_errors();
        if (!SSL_read_ex(tls->ssl, plain + total, size - total, &length)) {
            end = explain(tls);
            end = end == 0 && has_worked_enough(tls) ? TLS_LATER : end;
            break;
        }
        total += length;
        tls->work += tls->idle > 0 ? 1 + (tls->idle - 1) * RECORD_WORK : 0;
        tls->idle = 0;
        if (tls->in.begin == tls->in.end && !SSL_has_pending(tls->ssl)) {
            break; /* asking again would only be told so, at a third of a read's cost */
        }
    }
    tls->established = tls->established || SSL_is_init_finished(tls->ssl);
    return total > 0 ? (ssize_t)total : end;
}

uint32_t tls_work(const struct tls *tls) {
    return tls->work + tls->idle * RECORD_WORK;
}

ssize_t tls_write(struct tls *tls, const char *plain, size_t length) {
    if (tls->failed) {
        return TLS_FAILED;
    }
    if (SSL_get_shutdown(tls->ssl) & SSL_SENT_SHUTDOWN) {
        return TLS_ENDED;
    }
    if (length == 0 || !SSL_is_init_finished(tls->ssl)) {
        return 0;
    }
    size_t records = length / TLS_RECORD_MOST + 1;
    size_t written;
    if (!buffer_reserve(&tls->out, length + records * TLS_OVERHEAD)) {
        tls->failed = true;
        return TLS_FAILED;
    }
    forget_errors();
    return SSL_write_ex(tls->ssl, plain, length, &written) ? (ssize_t)written
                                                           : explain(tls);
}

size_t tls_peek(const struct tls *tls, const char **cipher) {
    size_t length = tls->out.end - tls->out.begin;
    if (cipher) {
        *cipher = length > 0 ? tls->out.storage + tls->out.begin : NULL;
    }
    return length;
}

void tls_consume(struct tls *tls, size_t length) {
    buffer_consume(&tls->out, length);
}

bool tls_end(struct tls *tls) {
    bool sent = SSL_get_shutdown(tls->ssl) & SSL_SENT_SHUTDOWN;
    if (tls->failed || sent || !SSL_is_init_finished(tls->ssl)) {
        return false;
    }
    ERR_clear_error();
    if (SSL_shutdown(tls->ssl) < 0) {
        explain(tls);
        return false;
    }
    return true;
}

bool tls_established(const struct tls *tls) {
    return tls->established;
}

bool tls_resumed(const struct tls *tls) {
    return SSL_session_reused(tls->ssl);
}

const char *tls_server_name(const struct tls *tls) {
    return SSL_get_servername(tls->ssl, TLSEXT_NAMETYPE_host_name);
}

/* What goes wrong often enough to deserve better words than OpenSSL's. */
static const struct {
    int reason;
    const char *words;
} problems[] = {
    {SSL_R_HTTP_REQUEST, "the client speaks plain HTTP; its address must begin with "
                         "https:// or wss://"},
    {SSL_R_HTTPS_PROXY_REQUEST, "the client takes this server for a proxy"},
    {SSL_R_WRONG_VERSION_NUMBER, "the client does not speak TLS"},
    {SSL_R_UNSUPPORTED_PROTOCOL, "the client speaks only versions of TLS that are too "
                                 "old here"},
    {SSL_R_NO_SHARED_CIPHER, "no cipher that both the client and the server have"},
    {SSL_R_NO_SUITABLE_KEY_SHARE, "no key exchange that both the client and the server "
                                  "have"},
    {SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, "the client cannot check this kind of "
                                            "certificate"},
    {SSL_R_NO_APPLICATION_PROTOCOL, "no shared protocol: the client asks for others "
                                    "than http/1.1"},
    {SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, "what the client sent was changed on "
                                                "its way"},
    {SSL_R_TLSV1_ALERT_UNKNOWN_CA, "the client does not trust the certificate: it does "
                                   "not know who issued it"},
    {SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, "the client does not trust the certificate"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, "the client does not trust the certificate"},
    {SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE, "the client cannot use this kind of "
                                                "certificate"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, "the certificate was revoked, the client "
                                            "says"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, "the certificate has expired, the client "
                                            "says"},
    {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "the client refuses this version of TLS"},
    {SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, "the client refuses the handshake"},
    {SSL_R_TLSV1_ALERT_USER_CANCELLED, "the client gave up"},
    {SSL_R_TLSV1_ALERT_INTERNAL_ERROR, "the client has a problem of its own"},
};

#define UNKNOWN_ISSUER                                                                   \
    "nobody that is trusted here has issued the server's certificate; name the file of " \
    "its authority"

/* The same for what a client may find. */
static const struct {
    long result;
    const char *words;
} mistrusts[] = {
    {X509_V_ERR_HOSTNAME_MISMATCH, "the server's certificate is for another name"},
    {X509_V_ERR_IP_ADDRESS_MISMATCH, "the server's certificate is not for this address"},
    {X509_V_ERR_CERT_HAS_EXPIRED, "the server's certificate has expired"},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, UNKNOWN_ISSUER},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, UNKNOWN_ISSUER},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, UNKNOWN_ISSUER},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, UNKNOWN_ISSUER},
};

static const char *client_problem(const struct tls *tls) {
    size_t count = sizeof(mistrusts) / sizeof(mistrusts[0]);
    long result = SSL_get_verify_result(tls->ssl);
    for (size_t i = 0; i < count; i++) {
        if (mistrusts[i].result == result) {
            return mistrusts[i].words;
        }
    }
    if (result != X509_V_OK) {
        return X509_verify_cert_error_string(result);
    }
    bool is_tls = ERR_GET_LIB(tls->error) == ERR_LIB_SSL;
    if (is_tls && ERR_GET_REASON(tls->error) == SSL_R_WRONG_VERSION_NUMBER) {
        return "the server does not speak TLS";
    }
    return ERR_reason_error_string(tls->error);
}

static const char *server_problem(const struct tls *tls) {
    size_t count = sizeof(problems) / sizeof(problems[0]);
    for (size_t i = 0; i < count && ERR_GET_LIB(tls->error) == ERR_LIB_SSL; i++) {
        if (ERR_GET_REASON(tls->error) == problems[i].reason) {
            return problems[i].words;
        }
    }
    return ERR_reason_error_string(tls->error);
}

const char *tls_problem(const struct tls *tls) {
    if (!tls->failed) {
        return NULL;
    }
    if (tls->error == 0) {
        return "out of memory";
    }
    const char *words =
        SSL_is_server(tls->ssl) ? server_problem(tls) : client_problem(tls);
    return words ? words : "a TLS error without a name";
}
