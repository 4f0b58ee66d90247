/* password.c: passwords hashed and compared on threads of their own.
 *
 * libargon2 and libcrypt are opened when they are first needed, so that the program needs
 * neither. Their few functions are declared here: no header is needed to build.
 */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "core/library.h"
#include "jobs/jobs.h"
#include "secrets/secrets.h"

enum {
    NICE = 10,
    SALT = 16, /* bytes */
    HASH = 32, /* bytes */
    ENCODED = 256,
    DERIVED_MOST = 128,
    CRYPT_DATA = 256 * 1024, /* more than struct crypt_data has in any version */
    ARGON2_MISMATCH = -35,
    ARGON2_D = 0,
    ARGON2_I = 1,
    ARGON2_ID = 2
};

static struct {
    int (*hash)(uint32_t passes, uint32_t memory, uint32_t lanes, const void *password,
                size_t length, const void *salt, size_t salt_length, size_t hash_length,
                char *encoded, size_t size);
    int (*verify)(const char *encoded, const void *password, size_t length, int type);
} argon2;

static char *(*crypt_reentrant)(const char *password, const char *setting, void *data);

struct work {
    struct job job;
    uint32_t scheme;
    char *password; /* a NUL is behind it */
    size_t length;
    char *hash; /* a NUL is behind it */
    size_t hash_length;
    char *salt;
    size_t salt_length;
    const EVP_MD *digest;
    uint32_t memory, passes, lanes; /* or, of PBKDF2, iterations in passes */
};

static int load_argon2(char *message, size_t size) {
    static const char *const files[] = {"libargon2.so.1", "libargon2.so.0", NULL};
    static const char *const names[] = {"id_hash_encoded", "_verify"};
    if (argon2.verify) {
        return 0;
    }
    void *library = library_open(files, "libargon2", "libargon2-1", message, size);
    return library ? library_find(library, "argon2", names, 2, &argon2, message, size)
                   : -1;
}

static int load_crypt(char *message, size_t size) {
    static const char *const files[] = {"libcrypt.so.1", "libcrypt.so.2", NULL};
    static const char *const names[] = {"crypt_r"};
    if (crypt_reentrant) {
        return 0;
    }
    void *library = library_open(files, "libcrypt", "libcrypt1", message, size);
    return library ? library_find(library, "", names, 1, &crypt_reentrant, message, size)
                   : -1;
}

int32_t sync_password_load(uint32_t scheme, char *message, size_t size) {
    if (scheme == SYNC_PASSWORD_ARGON2) {
        return load_argon2(message, size);
    }
    return scheme == SYNC_PASSWORD_CRYPT ? load_crypt(message, size) : 0;
}

/* On the threads. */

static int32_t make_hash(struct work *work) {
    unsigned char salt[SALT];
    char *encoded = batch_block_new(ENCODED);
    if (!encoded || RAND_bytes(salt, SALT) != 1) {
        batch_block_free(encoded);
        return UV_ENOMEM;
    }
    int error = argon2.hash(work->passes, work->memory, work->lanes, work->password,
                            work->length, salt, SALT, HASH, encoded, ENCODED);
    if (error) {
        batch_block_free(encoded);
        return error;
    }
    work->job.result = encoded;
    work->job.length = strlen(encoded);
    return 0;
}

static int32_t verify_argon2(const struct work *work) {
    int type = ARGON2_D;
    if (strncmp(work->hash, "$argon2id$", 10) == 0) {
        type = ARGON2_ID;
    } else if (strncmp(work->hash, "$argon2i$", 9) == 0) {
        type = ARGON2_I;
    }
    int error = argon2.verify(work->hash, work->password, work->length, type);
    return error == 0 ? 1 : (error == ARGON2_MISMATCH ? 0 : UV_EINVAL);
}

/* A C library's crypt ends at a NUL: a password that has one in it is a wrong one. */
static int32_t verify_crypt(const struct work *work) {
    if (memchr(work->password, 0, work->length)) {
        return 0;
    }
    void *data = calloc(1, CRYPT_DATA);
    if (!data) {
        return UV_ENOMEM;
    }
    const char *made = crypt_reentrant(work->password, work->hash, data);
    int32_t value = UV_EINVAL;
    if (made && made[0] != '*') {
        value = strlen(made) == work->hash_length &&
                CRYPTO_memcmp(made, work->hash, work->hash_length) == 0;
    }
    OPENSSL_cleanse(data, CRYPT_DATA);
    free(data);
    return value;
}

static int32_t verify_pbkdf2(const struct work *work) {
    unsigned char made[DERIVED_MOST];
    int size = (int)work->hash_length;
    if (PKCS5_PBKDF2_HMAC(work->password, (int)work->length,
                          (const unsigned char *)work->salt, (int)work->salt_length,
                          (int)work->passes, work->digest, size, made) != 1) {
        return UV_ENOMEM;
    }
    return CRYPTO_memcmp(made, work->hash, work->hash_length) == 0;
}

static int32_t run(struct job *job, uint32_t seat) {
    struct work *work = (struct work *)job;
    (void)seat;
    if (!work->hash) {
        return make_hash(work);
    }
    switch (work->scheme) {
    case SYNC_PASSWORD_ARGON2: return verify_argon2(work);
    case SYNC_PASSWORD_CRYPT: return verify_crypt(work);
    default: return verify_pbkdf2(work);
    }
}

static void free_work(struct job *job) {
    struct work *work = (struct work *)job;
    if (work->password) {
        OPENSSL_cleanse(work->password, work->length);
    }
    free(work->password);
    free(work->hash);
    free(work->salt);
    free(work);
}

static const struct job_kind kind = {.run = run, .free = free_work};

/* On the loop. */

static char *copy(const char *bytes, size_t length) {
    char *made = malloc(length + 1);
    if (made) {
        memcpy(made, bytes, length);
        made[length] = '\0';
    }
    return made;
}

static struct work *work_new(uint32_t scheme, const char *password, size_t length) {
    struct work *work = calloc(1, sizeof(*work));
    if (!work) {
        return NULL;
    }
    work->job.kind = &kind;
    work->scheme = scheme;
    work->length = length;
    work->password = copy(password, length);
    if (!work->password) {
        free(work);
        return NULL;
    }
    return work;
}

/* Returns false when memory ran out. */
static bool set_hash(struct work *work, const char *hash, size_t length) {
    work->hash = copy(hash, length);
    work->hash_length = length;
    return work->hash;
}

struct crew *sync_password_open(struct sync *sync, uint32_t threads, uint32_t queue) {
    struct crew_options options = {
        .threads = threads, .queue = queue, .nice = NICE, .name = "sync-password"};
    return crew_open(core_of(sync), &options);
}

int32_t sync_password_hash(struct crew *crew, const char *password, size_t length,
                           uint32_t memory, uint32_t passes, uint32_t lanes) {
    struct work *work = work_new(SYNC_PASSWORD_ARGON2, password, length);
    if (!work) {
        return UV_ENOMEM;
    }
    work->memory = memory;
    work->passes = passes;
    work->lanes = lanes;
    return crew_do(crew, &work->job);
}

int32_t sync_password_verify(struct crew *crew, uint32_t scheme, const char *password,
                             size_t length, const char *hash) {
    struct work *work = work_new(scheme, password, length);
    if (!work) {
        return UV_ENOMEM;
    }
    if (!set_hash(work, hash, strlen(hash))) {
        free_work(&work->job);
        return UV_ENOMEM;
    }
    return crew_do(crew, &work->job);
}

int32_t sync_password_pbkdf2(struct crew *crew, const char *password, size_t length,
                             const char *digest, uint32_t iterations, const char *salt,
                             size_t salt_length, const char *hash, size_t size) {
    const EVP_MD *found = EVP_get_digestbyname(digest);
    if (!found || size == 0 || size > DERIVED_MOST || iterations == 0 ||
        iterations > INT32_MAX) {
        return UV_EINVAL;
    }
    struct work *work = work_new(SYNC_PASSWORD_PBKDF2, password, length);
    if (!work) {
        return UV_ENOMEM;
    }
    work->digest = found;
    work->passes = iterations;
    work->salt = copy(salt, salt_length);
    work->salt_length = salt_length;
    if (!work->salt || !set_hash(work, hash, size)) {
        free_work(&work->job);
        return UV_ENOMEM;
    }
    return crew_do(crew, &work->job);
}
