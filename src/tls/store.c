/* store.c: the certificates that a listener shows, or that its connections to other
 * servers trust. */
#include "tls/store.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "tls/tickets.h"

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
    const struct tls_store *store = SSL_get_app_data(ssl);
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (!name || !*name) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    unsigned int flags =
        X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
    SSL_CTX *context = find_context(store, name, flags | X509_CHECK_FLAG_NO_WILDCARDS);
    if (!context) {
        context = find_context(store, name, flags);
    }
    if (!context) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    return SSL_set_SSL_CTX(ssl, context) ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv,
                     EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal) {
    const struct tls_store *store = SSL_get_app_data(ssl);
    return tickets_seal(store->tickets, ssl, name, iv, cipher, mac, seal);
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
static SSL_CTX *context_new(const struct tls_store *store, const SSL_METHOD *method) {
    SSL_CTX *context = SSL_CTX_new(method);
    if (!context) {
        return NULL;
    }
    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_PRIORITIZE_CHACHA | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    if (SSL_CTX_set_min_proto_version(context, store->minimum) &&
        SSL_CTX_set_cipher_list(context,
                                "ECDHE+AES128+AESGCM:ECDHE+AESGCM:ECDHE+CHACHA20") &&
        SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256:"
                                          "TLS_CHACHA20_POLY1305_SHA256:"
                                          "TLS_AES_256_GCM_SHA384") &&
        SSL_CTX_set1_groups_list(context, "X25519:P-256:P-384")) {
        return context;
    }
    SSL_CTX_free(context);
    return NULL;
}

/* What a server's context has besides. */
static SSL_CTX *server_context_new(const struct tls_store *store) {
    static const unsigned char id[] = "sync";
    SSL_CTX *context = context_new(store, TLS_server_method());
    if (!context) {
        return NULL;
    }
    SSL_CTX_set_timeout(context, TLS_TICKET_SECONDS);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket);
    SSL_CTX_set_tlsext_servername_callback(context, on_server_name);
    SSL_CTX_set_alpn_select_cb(context, on_alpn, NULL);
    if (SSL_CTX_set_num_tickets(context, 1) &&
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
    store->tickets = tickets_new();
    if (!store->tickets) {
        tls_store_free(store);
        return NULL;
    }
    return store;
}

struct tls_store *tls_store_hold(struct tls_store *store) {
    store->references++;
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
    tickets_release(store->tickets);
    store->tickets = tickets_hold(old->tickets);
}

void tls_store_age_tickets(struct tls_store *store, uint32_t seconds) {
    tickets_age(store->tickets, seconds);
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

static int check_names(const X509 *certificate, const char *path,
                       const struct note *note) {
    if (has_names(certificate)) {
        return 0;
    }
    return say(note,
               "the certificate in %s names no host, so no client accepts it; make it "
               "again with its names as subjectAltName (openssl req -addext "
               "subjectAltName=DNS:example.org)",
               path);
}

static int use_certificate(SSL_CTX *context, X509 *certificate, const char *path,
                           const struct note *note) {
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

/* Adds a context that is complete, or frees it. */
static int keep_context(struct tls_store *store, SSL_CTX *context,
                        const struct note *note) {
    SSL_CTX **contexts = realloc(store->contexts, (store->count + 1) * sizeof(SSL_CTX *));
    if (!contexts) {
        SSL_CTX_free(context);
        return say(note, "out of memory");
    }
    contexts[store->count++] = context;
    store->contexts = contexts;
    return 0;
}

int tls_store_add(struct tls_store *store, const char *certificate_file,
                  const char *key_file, char *message, size_t size) {
    struct note note = {message, size};
    ERR_clear_error();
    say(&note, "%s", "");
    int result = -1;
    SSL_CTX *context = server_context_new(store);
    if (!context) {
        say(&note, "cannot prepare TLS: %s", reason());
    } else if (read_certificates(context, certificate_file, &note) < 0 ||
               check_names(SSL_CTX_get0_certificate(context), certificate_file, &note) <
                   0 ||
               read_key(context, key_file, &note) < 0) {
        SSL_CTX_free(context);
    } else {
        result = keep_context(store, context, &note);
    }
    ERR_clear_error();
    return result;
}

/* Stores of clients */

static int trust(SSL_CTX *context, const char *authorities, const struct note *note) {
    if (!authorities) {
        return SSL_CTX_set_default_verify_paths(context)
                   ? 0
                   : say(note, "cannot read what this system trusts: %s", reason());
    }
    FILE *file = open_file(authorities, "authorities' file", note);
    if (!file) {
        return -1;
    }
    fclose(file);
    if (!SSL_CTX_load_verify_file(context, authorities)) {
        return say(note,
                   "%s holds no certificate in PEM: %s; it should begin with -----BEGIN "
                   "CERTIFICATE-----",
                   authorities, reason());
    }
    return 0;
}

struct tls_store *tls_store_trusting(const char *authorities, char *message,
                                     size_t size) {
    struct note note = {message, size};
    ERR_clear_error();
    say(&note, "%s", "");
    struct tls_store *store = calloc(1, sizeof(*store));
    if (!store) {
        say(&note, "out of memory");
        return NULL;
    }
    store->references = 1;
    store->minimum = TLS1_2_VERSION;
    SSL_CTX *context = context_new(store, TLS_client_method());
    if (!context) {
        say(&note, "cannot prepare TLS: %s", reason());
    } else if (trust(context, authorities, &note) < 0) {
        SSL_CTX_free(context);
    } else if (keep_context(store, context, &note) == 0) {
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
        /* Whom the file names is trusted, also if others have issued its certificate. */
        X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context),
                                    X509_V_FLAG_PARTIAL_CHAIN);
        return store;
    }
    ERR_clear_error();
    tls_store_free(store);
    return NULL;
}

int tls_store_show(struct tls_store *store, const char *certificate_file,
                   const char *key_file, char *message, size_t size) {
    struct note note = {message, size};
    ERR_clear_error();
    say(&note, "%s", "");
    int result = read_certificates(store->contexts[0], certificate_file, &note);
    if (result == 0) {
        result = read_key(store->contexts[0], key_file, &note);
    }
    ERR_clear_error();
    return result;
}
