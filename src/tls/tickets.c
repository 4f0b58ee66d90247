/* tickets.c: see tickets.h. */
#include "tls/tickets.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "tls/tls.h"

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

static int64_t seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

static bool key_make(struct ticket_key *key) {
    return RAND_priv_bytes((unsigned char *)key, sizeof(*key)) == 1;
}

struct tickets *tickets_new(void) {
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

void tickets_release(struct tickets *tickets) {
    if (tickets && --tickets->references == 0) {
        OPENSSL_cleanse(tickets, sizeof(*tickets));
        free(tickets);
    }
}

struct tickets *tickets_hold(struct tickets *tickets) {
    tickets->references++;
    return tickets;
}

void tickets_age(struct tickets *tickets, uint32_t seconds) {
    tickets->born -= seconds;
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

int tickets_seal(struct tickets *tickets, const SSL *ssl, unsigned char *name,
                 unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal) {
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
