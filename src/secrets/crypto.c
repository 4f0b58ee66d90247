/* crypto.c: digests, base64 and signatures, by the OpenSSL that is linked in for TLS. */
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "secrets/secrets.h"
#include "sync.h"

enum {
    RSA_LEAST = 2048, /* bits */
    P256_HALF = 32,   /* bytes of r, and of s */
    DER_MOST = 80     /* bytes of an ECDSA signature of P-256 */
};

struct sync_key {
    EVP_PKEY *key;
    uint32_t kind;
};

uint32_t sync_digest(const char *algorithm, const char *bytes, size_t length, char *out) {
    const EVP_MD *digest = EVP_get_digestbyname(algorithm);
    unsigned int size = 0;
    if (!digest ||
        EVP_Digest(bytes, length, (unsigned char *)out, &size, digest, NULL) != 1) {
        return 0;
    }
    return size;
}

uint32_t sync_hmac(const char *algorithm, const char *key, size_t key_length,
                   const char *bytes, size_t length, char *out) {
    const EVP_MD *digest = EVP_get_digestbyname(algorithm);
    unsigned int size = 0;
    if (!digest || key_length > INT_MAX ||
        !HMAC(digest, key, (int)key_length, (const unsigned char *)bytes, length,
              (unsigned char *)out, &size)) {
        return 0;
    }
    return size;
}

int32_t sync_equal(const char *a, const char *b, size_t length) {
    return CRYPTO_memcmp(a, b, length) == 0;
}

uint32_t sync_base64(const char *bytes, size_t length, char *out) {
    return (uint32_t)EVP_EncodeBlock((unsigned char *)out, (const unsigned char *)bytes,
                                     (int)length);
}

/* EVP_DecodeBlock takes white space at both ends, and counts the padding as bytes. */
int32_t sync_base64_decode(const char *text, size_t length, char *out) {
    if (length == 0) {
        return 0;
    }
    if (length % 4 != 0 || length > INT_MAX || strcspn(text, " \t\r\n") < length) {
        return -1;
    }
    int size =
        EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)text, (int)length);
    int padding = (text[length - 1] == '=') + (text[length - 2] == '=');
    return size < 0 ? -1 : size - padding;
}

static uint32_t kind_of(EVP_PKEY *key, char *message, size_t size) {
    char curve[32] = "";
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
        if (EVP_PKEY_get_bits(key) >= RSA_LEAST) {
            return SYNC_KEY_RSA;
        }
        snprintf(message, size, "an RSA key needs %d bits, this one has %d", RSA_LEAST,
                 EVP_PKEY_get_bits(key));
        return 0;
    case EVP_PKEY_EC:
        EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, curve,
                                       sizeof(curve), NULL);
        if (strcmp(curve, "prime256v1") == 0) {
            return SYNC_KEY_P256;
        }
        snprintf(message, size, "ES256 needs a key on P-256, this one is on %s", curve);
        return 0;
    case EVP_PKEY_ED25519: return SYNC_KEY_ED25519;
    default:
        snprintf(message, size, "the key is neither RSA, P-256 nor Ed25519");
        return 0;
    }
}

/* A key with a pass phrase is none: nobody is asked for it at the terminal. */
static int no_phrase(char *buffer, int size, int writing, void *data) {
    (void)buffer, (void)size, (void)writing, (void)data;
    return -1;
}

static EVP_PKEY *read_pem(BIO *bio, int32_t is_private) {
    if (is_private) {
        return PEM_read_bio_PrivateKey(bio, NULL, no_phrase, NULL);
    }
    EVP_PKEY *key = PEM_read_bio_PUBKEY(bio, NULL, no_phrase, NULL);
    if (!key && BIO_reset(bio) == 1) {
        X509 *certificate = PEM_read_bio_X509(bio, NULL, no_phrase, NULL);
        key = certificate ? X509_get_pubkey(certificate) : NULL;
        X509_free(certificate);
    }
    return key;
}

struct sync_key *sync_key_read(const char *pem, size_t length, int32_t is_private,
                               char *message, size_t size) {
    struct sync_key *made = calloc(1, sizeof(*made));
    BIO *bio = length <= INT_MAX ? BIO_new_mem_buf(pem, (int)length) : NULL;
    if (!made || !bio) {
        snprintf(message, size, "not enough memory");
        goto fail;
    }
    made->key = read_pem(bio, is_private);
    ERR_clear_error();
    if (!made->key) {
        snprintf(message, size, "this is no %s key in PEM (or one with a pass phrase)",
                 is_private ? "private" : "public");
        goto fail;
    }
    made->kind = kind_of(made->key, message, size);
    if (!made->kind) {
        goto fail;
    }
    BIO_free(bio);
    return made;
fail:
    BIO_free(bio);
    sync_key_free(made);
    return NULL;
}

void sync_key_free(struct sync_key *key) {
    if (key) {
        EVP_PKEY_free(key->key);
        free(key);
    }
}

uint32_t sync_key_kind(const struct sync_key *key) {
    return key->kind;
}

static const EVP_MD *digest_of(const struct sync_key *key) {
    return key->kind == SYNC_KEY_ED25519 ? NULL : EVP_sha256();
}

/* OpenSSL's form of an ECDSA signature is DER, a token's r and s one behind the other. */
static uint32_t der_to_raw(const unsigned char *der, size_t length, char *out) {
    ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &der, (long)length);
    unsigned char *raw = (unsigned char *)out;
    bool done = signature &&
                BN_bn2binpad(ECDSA_SIG_get0_r(signature), raw, P256_HALF) == P256_HALF &&
                BN_bn2binpad(ECDSA_SIG_get0_s(signature), raw + P256_HALF, P256_HALF) ==
                    P256_HALF;
    ECDSA_SIG_free(signature);
    return done ? 2 * P256_HALF : 0;
}

static int raw_to_der(const char *raw, size_t length, unsigned char *der) {
    const unsigned char *bytes = (const unsigned char *)raw;
    if (length != 2 * P256_HALF) {
        return 0;
    }
    ECDSA_SIG *signature = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(bytes, P256_HALF, NULL);
    BIGNUM *s = BN_bin2bn(bytes + P256_HALF, P256_HALF, NULL);
    int size = 0;
    if (signature && r && s && ECDSA_SIG_set0(signature, r, s) == 1) {
        size = i2d_ECDSA_SIG(signature, &der);
    } else {
        BN_free(r);
        BN_free(s);
    }
    ECDSA_SIG_free(signature);
    return size;
}

uint32_t sync_key_sign(const struct sync_key *key, const char *bytes, size_t length,
                       char *out) {
    unsigned char made[SYNC_SIGNATURE_MOST];
    size_t size = sizeof(made);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done =
        context &&
        EVP_DigestSignInit(context, NULL, digest_of(key), NULL, key->key) == 1 &&
        EVP_DigestSign(context, made, &size, (const unsigned char *)bytes, length) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    if (!done) {
        return 0;
    }
    if (key->kind == SYNC_KEY_P256) {
        return der_to_raw(made, size, out);
    }
    memcpy(out, made, size);
    return (uint32_t)size;
}

int32_t sync_key_verify(const struct sync_key *key, const char *bytes, size_t length,
                        const char *signature, size_t size) {
    unsigned char der[DER_MOST];
    const unsigned char *shown = (const unsigned char *)signature;
    if (key->kind == SYNC_KEY_P256) {
        size = (size_t)raw_to_der(signature, size, der);
        shown = der;
    }
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool right =
        size > 0 && context &&
        EVP_DigestVerifyInit(context, NULL, digest_of(key), NULL, key->key) == 1 &&
        EVP_DigestVerify(context, shown, size, (const unsigned char *)bytes, length) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return right;
}
