/* secrets.h: passwords, digests and signatures. See lua/sync/secrets.
 *
 * This same text is an ffi.cdef, as sync.h is, and follows it. Passwords are hashed on
 * threads and end in SYNC_JOB; the rest answers at once. Keys and passwords are wiped
 * before their memory is freed.
 */
#pragma once
#pragma GCC visibility push(default)

struct sync;
struct crew;
struct sync_key;

/* The threads that passwords are hashed on: as many jobs at once, and so many that wait.
 * They give way to the loop. NULL when memory ran out. */
struct crew *sync_password_open(struct sync *sync, uint32_t threads, uint32_t queue);

enum sync_password_scheme {
    SYNC_PASSWORD_ARGON2 = 1, /* by libargon2 */
    SYNC_PASSWORD_CRYPT,      /* bcrypt and what else crypt(3) knows, by libcrypt */
    SYNC_PASSWORD_PBKDF2
};

/* Opens the library that a scheme needs, once. Returns 0, or -1 and which package lacks.
 */
int32_t sync_password_load(uint32_t scheme, char *message, size_t size);

/* Hashes a password by argon2id; the scheme was loaded. memory is in KiB. The event's
 * value is 0 or an error of libargon2's, its data the hash as text. Returns the job's id
 * or an error code (UV_EAGAIN: too many wait). */
int32_t sync_password_hash(struct crew *crew, const char *password, size_t length,
                           uint32_t memory, uint32_t passes, uint32_t lanes);

/* Compares a password with a hash as text, for the schemes but PBKDF2. The event's value
 * is 1 for the right one, 0 for a wrong one, or an error code. */
int32_t sync_password_verify(struct crew *crew, uint32_t scheme, const char *password,
                             size_t length, const char *hash);

/* The same with what PBKDF2 has made of it: `size` bytes at `hash`. */
int32_t sync_password_pbkdf2(struct crew *crew, const char *password, size_t length,
                             const char *digest, uint32_t iterations, const char *salt,
                             size_t salt_length, const char *hash, size_t size);

enum { SYNC_DIGEST_MOST = 64, SYNC_SIGNATURE_MOST = 1024 };

/* The digest of bytes by an algorithm of OpenSSL's ("md5", "sha256"), written to out
 * (SYNC_DIGEST_MOST bytes). Returns its length, or 0: no such algorithm. */
uint32_t sync_digest(const char *algorithm, const char *bytes, size_t length, char *out);
uint32_t sync_hmac(const char *algorithm, const char *key, size_t key_length,
                   const char *bytes, size_t length, char *out);

/* Whether two times `length` bytes are equal, in a time that doesn't depend on them. */
int32_t sync_equal(const char *a, const char *b, size_t length);

/* Base64. out has (length + 2) / 3 * 4 + 1 bytes; returns the text's length. */
uint32_t sync_base64(const char *bytes, size_t length, char *out);
/* out has length / 4 * 3 + 1 bytes; the length is a multiple of 4. Returns how many bytes
 * it was, or -1: it is none. */
int32_t sync_base64_decode(const char *text, size_t length, char *out);

enum sync_key_kind { SYNC_KEY_RSA = 1, SYNC_KEY_P256, SYNC_KEY_ED25519 };

/* Reads a key in PEM, a private one or (is_private == 0) a public one or a certificate.
 * NULL: it is none, or none of these kinds; the message says which. Free it with
 * sync_key_free. */
struct sync_key *sync_key_read(const char *pem, size_t length, int32_t is_private,
                               char *message, size_t size);
void sync_key_free(struct sync_key *key);
uint32_t sync_key_kind(const struct sync_key *key);

/* Signs bytes as RS256, ES256 or EdDSA want it; out has SYNC_SIGNATURE_MOST bytes.
 * Returns the signature's length, or 0. */
uint32_t sync_key_sign(const struct sync_key *key, const char *bytes, size_t length,
                       char *out);
/* Whether a signature is right. */
int32_t sync_key_verify(const struct sync_key *key, const char *bytes, size_t length,
                        const char *signature, size_t size);

#pragma GCC visibility pop
