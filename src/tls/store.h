/* store.h: what tls.c needs to know of a store's inside. */
#pragma once

#include <openssl/bio.h>
#include <openssl/ssl.h>

#include "tls/tls.h"

struct tls_store {
    uint32_t references;
    int minimum;             /* OpenSSL's number for the version */
    BIO_METHOD *method;      /* that its connections read and write by, or NULL yet */
    struct tickets *tickets; /* NULL: its connections are clients */
    SSL_CTX **contexts;      /* one for each certificate; of clients, one */
    size_t count;
};

/* Holds the store, as its connections do; tls_store_free gives the hold up. */
struct tls_store *tls_store_hold(struct tls_store *store);
