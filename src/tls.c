/* tls.c: OpenSSL's server side between two buffers, and the certificates it shows.
 *
 * OpenSSL reads from and writes to one BIO that is the connection's two buffers. A memory
 * BIO of OpenSSL would keep the memory of its fullest hour; these buffers keep none.
 */
#include "tls.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

/* Bytes from `begin` to `end`. Empty, it has no storage. */
struct buffer {
    char *storage;
    size_t begin;
    size_t end;
    size_t size;
};

struct ticket_key {
    unsigned char name[16];
    unsigned char cipher[32];
    unsigned char mac[32];
};

struct tickets {
    uint32_t references;
    int64_t born;              /* the first key, in seconds */
    struct ticket_key keys[2]; /* the one in use, and the one that was before it */
};

struct tls_store {
    uint32_t references;
    int minimum; /* OpenSSL's number for the version */
    BIO_METHOD *method;
    struct tickets *tickets;
    SSL_CTX **contexts; /* one for each certificate */
    size_t count;
};

struct tls {
    SSL *ssl;
    struct tls_store *store; /* outlives the handshake: the BIO's method is in it */
    struct buffer in;
    struct buffer out;
    unsigned long error; /* OpenSSL's, of a failed connection; 0: out of memory */
    bool established;
    bool ended; /* by the client */
    bool failed;
};

/* The buffers */

static void buffer_clear(struct buffer *buffer) {
    free(buffer->storage);
    *buffer = (struct buffer){0};
}

/* Makes room for that much more. It doubles, so that all moves together cost no more than
 * the appends. */
static int buffer_reserve(struct buffer *buffer, size_t more) {
    size_t held = buffer->end - buffer->begin;
    if (buffer->size - buffer->end >= more) {
        return 0;
    }
    size_t size = held + (more > held ? more : held);
    char *storage = more <= SIZE_MAX / 4 ? malloc(size) : NULL;
    if (!storage) {
        return -1;
    }
    if (held > 0) {
        memcpy(storage, buffer->storage + buffer->begin, held);
    }
    free(buffer->storage);
    *buffer = (struct buffer){storage, 0, held, size};
    return 0;
}

static int buffer_append(struct buffer *buffer, const char *bytes, size_t length) {
    if (length == 0) {
        return 0;
    }
    if (buffer_reserve(buffer, length) < 0) {
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

static int bio_read(BIO *bio, char *bytes, size_t size, size_t *read) {
    struct tls *tls = BIO_get_data(bio);
    size_t held = tls->in.end - tls->in.begin;
    size_t length = size < held ? size : held;
    BIO_clear_retry_flags(bio);
    *read = length;
    if (length == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(bytes, tls->in.storage + tls->in.begin, length);
    buffer_consume(&tls->in, length);
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

/* Tickets: sessions that the clients keep, sealed with keys of the server (RFC 5077) */

static int64_t seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

static bool key_make(struct ticket_key *key) {
    return RAND_priv_bytes((unsigned char *)key, sizeof(*key)) == 1;
}

static struct tickets *tickets_new(void) {
    struct tickets *tickets = calloc(1, sizeof(*tickets));
    if (!tickets) {
        return NULL;
    }
    tickets->references = 1;
    tickets->born = seconds_now();
    if (!key_make(&tickets->keys[0]) || !key_make(&tickets->keys[1])) {
        free(tickets);
        return NULL;
    }
    return tickets;
}

static void tickets_release(struct tickets *tickets) {
    if (tickets && --tickets->references == 0) {
        OPENSSL_cleanse(tickets, sizeof(*tickets));
        free(tickets);
    }
}

/* Replaces keys that are too old. */
static bool tickets_renew(struct tickets *tickets) {
    int64_t now = seconds_now();
    int64_t age = now - tickets->born;
    if (age < TLS_TICKET_SECONDS) {
        return true;
    }
    tickets->keys[1] = tickets->keys[0];
    tickets->born = now;
    return key_make(&tickets->keys[0]) &&
           (age < 2 * TLS_TICKET_SECONDS || key_make(&tickets->keys[1]));
}

static bool key_use(struct ticket_key *key, const unsigned char *iv,
                    EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal) {
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof(key->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end()};
    return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv, seal) &&
           EVP_MAC_CTX_set_params(mac, params);
}

/* Returns 1; 2 when the client shall get a new ticket: its key is not the newest, or it
 * is TLS 1.3, where a ticket should be used only once (RFC 8446 appendix C.4); 0 for a
 * ticket whose key is not known: then a full handshake is done; or -1. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv,
                     EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal) {
    const struct tls *tls = SSL_get_app_data(ssl);
    struct tickets *tickets = tls->store->tickets;
    if (!tickets_renew(tickets)) {
        return -1;
    }
    struct ticket_key *keys = tickets->keys;
    if (seal) {
        memcpy(name, keys[0].name, sizeof(keys[0].name));
        bool sealed = RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1 &&
                      key_use(&keys[0], iv, cipher, mac, 1);
        return sealed ? 1 : -1;
    }
    int used = 0;
    while (used < 2 && memcmp(name, keys[used].name, sizeof(keys[used].name)) != 0) {
        used++;
    }
    if (used == 2) {
        return 0;
    }
    if (!key_use(&keys[used], iv, cipher, mac, 0)) {
        return -1;
    }
    return used == 0 && SSL_version(ssl) != TLS1_3_VERSION ? 1 : 2;
}

/* The store */

static SSL_CTX *find_context(const struct tls_store *store, const char *name,
                             unsigned int flags) {
    for (size_t i = 0; i < store->count; i++) {
        X509 *certificate = SSL_CTX_get0_certificate(store->contexts[i]);
        if (X509_check_host(certificate, name, 0, flags, NULL) == 1) {
            return store->contexts[i];
        }
    }
    return NULL;
}

static int on_server_name(SSL *ssl, int *alert, void *argument) {
    (void)alert;
    (void)argument;
    const struct tls *tls = SSL_get_app_data(ssl);
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (!name || !*name) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    unsigned int flags =
        X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
    SSL_CTX *context =
        find_context(tls->store, name, flags | X509_CHECK_FLAG_NO_WILDCARDS);
    if (!context) {
        context = find_context(tls->store, name, flags);
    }
    if (!context) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    return SSL_set_SSL_CTX(ssl, context) ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* A client that names protocols and not http/1.1 gets the alert of RFC 7301 section 3.2:
 * it would not be understood, and a server that goes on regardless can be made to take
 * one protocol's bytes for another's. Clients that name none, as programs with protocols
 * of their own do, are never asked. */
static int on_alpn(SSL *ssl, const unsigned char **chosen, unsigned char *length,
                   const unsigned char *offered, unsigned int offered_length,
                   void *argument) {
    (void)ssl;
    (void)argument;
    static const unsigned char spoken[] = "\x08http/1.1";
    unsigned char *found;
    int answer = SSL_select_next_proto(&found, length, spoken, sizeof(spoken) - 1,
                                       offered, offered_length);
    *chosen = found;
    return answer == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK
                                            : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* Only ciphers that authenticate and that forget their keys. AES with 128 bits goes
 * before 256: nothing is known to break it, and it takes a quarter less time. Clients
 * without AES in hardware get ChaCha20. Only quick groups: the large ones, such as
 * ffdhe8192, let a client keep the server busy with little work of its own. */
static SSL_CTX *context_new(const struct tls_store *store) {
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context) {
        return NULL;
    }
    static const unsigned char id[] = "sync";
    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_PRIORITIZE_CHACHA | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(context, TLS_TICKET_SECONDS);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket);
    SSL_CTX_set_tlsext_servername_callback(context, on_server_name);
    SSL_CTX_set_alpn_select_cb(context, on_alpn, NULL);
    if (SSL_CTX_set_min_proto_version(context, store->minimum) &&
        SSL_CTX_set_cipher_list(context,
                                "ECDHE+AES128+AESGCM:ECDHE+AESGCM:ECDHE+CHACHA20") &&
        SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256:"
                                          "TLS_CHACHA20_POLY1305_SHA256:"
                                          "TLS_AES_256_GCM_SHA384") &&
        SSL_CTX_set1_groups_list(context, "X25519:P-256:P-384") &&
        SSL_CTX_set_num_tickets(context, 1) &&
        SSL_CTX_set_session_id_context(context, id, sizeof(id) - 1)) {
        return context;
    }
    SSL_CTX_free(context);
    return NULL;
}

struct tls_store *tls_store_new(void) {
    struct tls_store *store = calloc(1, sizeof(*store));
    if (!store) {
        return NULL;
    }
    ERR_clear_error();
    store->references = 1;
    store->minimum = TLS1_2_VERSION;
    store->method = method_new();
    store->tickets = tickets_new();
    if (!store->method || !store->tickets) {
        tls_store_free(store);
        return NULL;
    }
    return store;
}

void tls_store_free(struct tls_store *store) {
    if (!store || --store->references > 0) {
        return;
    }
    for (size_t i = 0; i < store->count; i++) {
        SSL_CTX_free(store->contexts[i]);
    }
    free(store->contexts);
    tickets_release(store->tickets);
    BIO_meth_free(store->method);
    free(store);
}

int tls_store_minimum(struct tls_store *store, int version) {
    if (version != 12 && version != 13) {
        return -1;
    }
    store->minimum = version == 12 ? TLS1_2_VERSION : TLS1_3_VERSION;
    for (size_t i = 0; i < store->count; i++) {
        SSL_CTX_set_min_proto_version(store->contexts[i], store->minimum);
    }
    return 0;
}

void tls_store_keep_tickets(struct tls_store *store, struct tls_store *old) {
    old->tickets->references++;
    tickets_release(store->tickets);
    store->tickets = old->tickets;
}

void tls_store_age_tickets(struct tls_store *store, uint32_t seconds) {
    store->tickets->born -= seconds;
}

/* Adding a certificate */

struct note {
    char *text;
    size_t size;
};

__attribute__((format(printf, 2, 3))) static int say(const struct note *note,
                                                     const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    /* The analyzer does not see that va_start has begun the list. */
    vsnprintf(note->text, note->size, format, arguments); /* NOLINT */
    va_end(arguments);
    return -1;
}

/* OpenSSL's reason for what went wrong last. */
static const char *reason(void) {
    unsigned long error = ERR_peek_last_error();
    const char *words = error ? ERR_reason_error_string(error) : NULL;
    return words ? words : "for no given reason";
}

static FILE *open_file(const char *path, const char *what, const struct note *note) {
    struct stat status;
    FILE *file = fopen(path, "re");
    if (file && fstat(fileno(file), &status) == 0 && S_ISDIR(status.st_mode)) {
        fclose(file);
        file = NULL;
        errno = EISDIR;
    }
    if (!file) {
        const char *advice = errno == EACCES ? "let this user read it" : "check the path";
        say(note, "cannot open the %s %s: %s; %s", what, path, strerror(errno), advice);
    }
    return file;
}

/* Called for a key that is encrypted; without it OpenSSL asks on the terminal. */
static int on_passphrase(char *passphrase, int size, int writing, void *argument) {
    (void)passphrase;
    (void)size;
    (void)writing;
    *(bool *)argument = true;
    return -1;
}

static bool has_names(const X509 *certificate) {
    GENERAL_NAMES *names =
        X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    bool found = false;
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && !found; i++) {
        int type = sk_GENERAL_NAME_value(names, i)->type;
        found = type == GEN_DNS || type == GEN_IPADD;
    }
    GENERAL_NAMES_free(names);
    return found;
}

static int use_certificate(SSL_CTX *context, X509 *certificate, const char *path,
                           const struct note *note) {
    if (!has_names(certificate)) {
        return say(note,
                   "the certificate in %s names no host, so no client accepts it; make "
                   "it again with its names as subjectAltName (openssl req -addext "
                   "subjectAltName=DNS:example.org)",
                   path);
    }
    if (!SSL_CTX_use_certificate(context, certificate)) {
        return say(note,
                   "the certificate in %s cannot be used: %s; make it again with a "
                   "larger key or a newer algorithm",
                   path, reason());
    }
    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0) {
        say(note, "the certificate in %s has expired; renew it", path);
    } else if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0) {
        say(note, "the certificate in %s is not valid yet; check this machine's clock",
            path);
    }
    return 0;
}

/* Reads the certificates behind the first, up to the end of the file. */
static int read_chain(SSL_CTX *context, FILE *file, const char *path,
                      const struct note *note) {
    bool encrypted = false; /* only keys are; there may be one in the file */
    X509 *issuer;
    while ((issuer = PEM_read_X509(file, NULL, on_passphrase, &encrypted))) {
        if (!SSL_CTX_add0_chain_cert(context, issuer)) {
            X509_free(issuer);
            return say(note, "a certificate of the chain in %s cannot be used: %s", path,
                       reason());
        }
    }
    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
        return say(note,
                   "the chain behind the certificate in %s is damaged: %s; copy "
                   "it again",
                   path, reason());
    }
    ERR_clear_error();
    return 0;
}

static int read_certificates(SSL_CTX *context, const char *path,
                             const struct note *note) {
    bool encrypted = false;
    FILE *file = open_file(path, "certificate", note);
    if (!file) {
        return -1;
    }
    int result = -1;
    X509 *certificate = PEM_read_X509_AUX(file, NULL, on_passphrase, &encrypted);
    if (!certificate) {
        say(note,
            "%s holds no certificate in PEM: %s; it should begin with -----BEGIN "
            "CERTIFICATE-----",
            path, reason());
    } else if (use_certificate(context, certificate, path, note) == 0) {
        result = read_chain(context, file, path, note);
    }
    X509_free(certificate);
    fclose(file);
    return result;
}

static int use_key(SSL_CTX *context, EVP_PKEY *key, const char *path,
                   const struct note *note) {
    X509 *certificate = SSL_CTX_get0_certificate(context);
    if (!X509_check_private_key(certificate, key)) {
        return say(note,
                   "the key in %s is not the certificate's; give the key that the "
                   "certificate was made with, and the server's own certificate before "
                   "those of its chain",
                   path);
    }
    if (!SSL_CTX_use_PrivateKey(context, key)) {
        return say(note, "the key in %s cannot be used: %s", path, reason());
    }
    return 0;
}

static int read_key(SSL_CTX *context, const char *path, const struct note *note) {
    bool encrypted = false;
    FILE *file = open_file(path, "key", note);
    if (!file) {
        return -1;
    }
    int result = -1;
    EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, on_passphrase, &encrypted);
    if (key) {
        result = use_key(context, key, path, note);
    } else if (encrypted) {
        say(note,
            "the key in %s is encrypted with a passphrase, which a server has nobody to "
            "ask for; decrypt it (openssl pkey -in %s -out key.pem) and let only this "
            "user read it",
            path, path);
    } else {
        say(note,
            "%s holds no private key in PEM: %s; it should begin with -----BEGIN "
            "PRIVATE KEY-----",
            path, reason());
    }
    EVP_PKEY_free(key);
    fclose(file);
    return result;
}

int tls_store_add(struct tls_store *store, const char *certificate_file,
                  const char *key_file, char *message, size_t size) {
    struct note note = {message, size};
    SSL_CTX **contexts = NULL;
    ERR_clear_error();
    say(&note, "%s", "");
    SSL_CTX *context = context_new(store);
    if (!context) {
        say(&note, "cannot prepare TLS: %s", reason());
        goto fail;
    }
    if (read_certificates(context, certificate_file, &note) < 0 ||
        read_key(context, key_file, &note) < 0) {
        goto fail;
    }
    contexts = realloc(store->contexts, (store->count + 1) * sizeof(SSL_CTX *));
    if (!contexts) {
        say(&note, "out of memory");
        goto fail;
    }
    contexts[store->count++] = context;
    store->contexts = contexts;
    return 0;

fail:
    SSL_CTX_free(context);
    ERR_clear_error();
    return -1;
}

/* A connection */

/* OpenSSL tells its errors apart only when none is left of before. Clearing writes to all
 * of its sixteen places, so it is done only when there is one. */
static void forget_errors(void) {
    if (ERR_peek_error() != 0) {
        ERR_clear_error();
    }
}

struct tls *tls_new(struct tls_store *store) {
    struct tls *tls = store->count > 0 ? calloc(1, sizeof(*tls)) : NULL;
    if (!tls) {
        return NULL;
    }
    ERR_clear_error();
    store->references++;
    tls->store = store;
    tls->ssl = SSL_new(store->contexts[0]);
    BIO *bio = BIO_new(store->method);
    if (!tls->ssl || !bio || !SSL_set_app_data(tls->ssl, tls)) {
        BIO_free(bio);
        tls_free(tls);
        return NULL;
    }
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_accept_state(tls->ssl);
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
    while (total < size && end == 0) {
        size_t length;
        forget_errors();
        if (!SSL_read_ex(tls->ssl, plain + total, size - total, &length)) {
            end = explain(tls);
            break;
        }
        total += length;
        if (tls->in.begin == tls->in.end && !SSL_has_pending(tls->ssl)) {
            break; /* asking again would only be told so, at a third of a read's cost */
        }
    }
    tls->established = tls->established || SSL_is_init_finished(tls->ssl);
    return total > 0 ? (ssize_t)total : end;
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
    if (buffer_reserve(&tls->out, length + records * TLS_OVERHEAD) < 0) {
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

void tls_end(struct tls *tls) {
    bool sent = SSL_get_shutdown(tls->ssl) & SSL_SENT_SHUTDOWN;
    if (tls->failed || sent || !SSL_is_init_finished(tls->ssl)) {
        return;
    }
    ERR_clear_error();
    if (SSL_shutdown(tls->ssl) < 0) {
        explain(tls);
    }
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

const char *tls_problem(const struct tls *tls) {
    if (!tls->failed) {
        return NULL;
    }
    if (tls->error == 0) {
        return "out of memory";
    }
    size_t count = sizeof(problems) / sizeof(problems[0]);
    for (size_t i = 0; i < count && ERR_GET_LIB(tls->error) == ERR_LIB_SSL; i++) {
        if (ERR_GET_REASON(tls->error) == problems[i].reason) {
            return problems[i].words;
        }
    }
    const char *words = ERR_reason_error_string(tls->error);
    return words ? words : "a TLS error without a name";
}
