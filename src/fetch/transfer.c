/* transfer.c: one request of HTTP and its answer. */
#include "fetch/transfer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fetch/library.h"

enum {
    STREAMED = 64 * 1024, /* bytes that wait to be taken, before the peer has to wait */
    LEAST = 1024,
    LATER = 1000, /* ms by which libcurl's own time limit for connecting is later */
    INFORMATIONAL = 200
};

/* Appends. Returns false when memory ran out. */
static bool append(struct bytes *bytes, const char *data, size_t length) {
    if (bytes->length + length > bytes->capacity) {
        size_t capacity = 2 * (bytes->length + length);
        capacity = capacity < LEAST ? LEAST : capacity;
        char *grown = realloc(bytes->data, capacity);
        if (!grown) {
            return false;
        }
        bytes->data = grown;
        bytes->capacity = capacity;
    }
    memcpy(bytes->data + bytes->length, data, length);
    bytes->length += length;
    return true;
}

static void show(struct transfer *transfer) {
    struct sync_fetch *public = &transfer->public;
    public->head = transfer->head.data;
    public->head_length = transfer->head.length;
    public->body = transfer->body.data;
    public->body_length = transfer->body.length;
}

/* What libcurl calls. A length other than the one that it has given ends the transfer. */

static size_t fail(struct transfer *transfer, uint32_t problem) {
    transfer->problem = problem;
    return 0;
}

static void end_head(struct transfer *transfer) {
    long status = 0;
    curl_call.easy_getinfo(transfer->easy, CURL_INFO_STATUS, &status);
    if (status < INFORMATIONAL) {
        return;
    }
    long version = 0;
    static const uint32_t versions[] = {0, 10, 11, 20, 20, 20};
    curl_call.easy_getinfo(transfer->easy, CURL_INFO_VERSION, &version);
    transfer->head_ended = true;
    transfer->public.status = (uint32_t)status;
    transfer->public.version = version < 6 ? versions[version] : (version == 30 ? 30 : 0);
    transfer->public.state = SYNC_FETCH_BODY;
    show(transfer);
    transfer->tell(transfer);
}

/* A line of a head, or of what follows a body in pieces. */
static size_t on_header(const char *line, size_t size, size_t count, void *data) {
    struct transfer *transfer = data;
    size_t length = size * count;
    transfer->moved = true;
    transfer->headed += (uint32_t)length;
    if (transfer->headed > transfer->most_head) {
        return fail(transfer, SYNC_FETCH_HEAD);
    }
    if (transfer->head_ended) {
        return length;
    }
    if (length > 5 && memcmp(line, "HTTP/", 5) == 0) {
        transfer->head.length = 0; /* those before it were informational */
    }
    if (!append(&transfer->head, line, length)) {
        return fail(transfer, SYNC_FETCH_MEMORY);
    }
    if (line[0] == '\r' || line[0] == '\n') {
        end_head(transfer);
    }
    return length;
}

static size_t on_body(const char *bytes, size_t size, size_t count, void *data) {
    struct transfer *transfer = data;
    size_t length = size * count;
    transfer->moved = true;
    if (transfer->flags & SYNC_FETCH_STREAMS) {
        if (transfer->body.length > 0 && transfer->body.length + length > STREAMED) {
            transfer->paused = true;
            return CURL_PAUSE_WRITING;
        }
    } else if (transfer->body.length + length > transfer->most_body) {
        return fail(transfer, SYNC_FETCH_LARGE);
    }
    if (!append(&transfer->body, bytes, length)) {
        return fail(transfer, SYNC_FETCH_MEMORY);
    }
    show(transfer);
    if (transfer->flags & SYNC_FETCH_STREAMS) {
        transfer->tell(transfer);
    }
    return length;
}

static int on_look_up(void *resolver, void *reserved, void *data) {
    (void)resolver;
    (void)reserved;
    ((struct transfer *)data)->looks_up = true;
    return 0;
}

static int open_socket(void *data, int purpose, struct curl_address *address) {
    struct transfer *transfer = data;
    (void)purpose;
    transfer->looks_up = false;
    if (transfer->given_up || transfer->public.state >= SYNC_FETCH_ENDED) {
        return CURL_BAD_SOCKET;
    }
    if (guard_forbids(&transfer->guard, &address->address)) {
        transfer->problem = SYNC_FETCH_FORBIDDEN;
        return CURL_BAD_SOCKET;
    }
    return socket(address->family, address->type | SOCK_CLOEXEC, address->protocol);
}

/* There is a connection, maybe one that was kept. That one was opened by a request that
 * was allowed more. And one that is dead is only found when nothing comes: what has left
 * may have been carried out, so some requests must not leave again. */
static int before_request(void *data, const char *address, const char *own, int port,
                          int own_port) {
    struct transfer *transfer = data;
    (void)own;
    (void)port;
    (void)own_port;
    if (guard_forbids_text(&transfer->guard, address)) {
        transfer->problem = SYNC_FETCH_FORBIDDEN;
        return CURL_REFUSES;
    }
    if (transfer->asked && transfer->flags & SYNC_FETCH_ONCE) {
        transfer->problem = SYNC_FETCH_CUT;
        return CURL_REFUSES;
    }
    transfer->looks_up = false;
    transfer->connected = transfer->asked = transfer->moved = true;
    return 0;
}

/* Making one. */

static bool set_headers(struct transfer *transfer,
                        const struct sync_fetch_options *options) {
    for (uint32_t i = 0; i < options->header_count; i++) {
        struct curl_slist *list =
            curl_call.slist_append(transfer->headers, options->headers[i]);
        if (!list) {
            return false;
        }
        transfer->headers = list;
    }
    return curl_call.easy_setopt(transfer->easy, CURL_HTTP_HEADER, transfer->headers) ==
           CURL_OK;
}

static bool set_body(struct transfer *transfer,
                     const struct sync_fetch_options *options) {
    if (!options->body) {
        return strcmp(options->method, "HEAD") != 0 ||
               curl_call.easy_setopt(transfer->easy, CURL_NO_BODY, 1L) == CURL_OK;
    }
    transfer->sent = malloc(options->body_length + 1);
    if (!transfer->sent) {
        return false;
    }
    memcpy(transfer->sent, options->body, options->body_length);
    curl_call.easy_setopt(transfer->easy, CURL_POST_FIELD_SIZE,
                          (int64_t)options->body_length);
    return curl_call.easy_setopt(transfer->easy, CURL_POST_FIELDS, transfer->sent) ==
           CURL_OK;
}

static void set_calls(struct transfer *transfer) {
    void *easy = transfer->easy;
    curl_call.easy_setopt(easy, CURL_PRIVATE, transfer);
    curl_call.easy_setopt(easy, CURL_HEADER_FUNCTION, on_header);
    curl_call.easy_setopt(easy, CURL_HEADER_DATA, transfer);
    curl_call.easy_setopt(easy, CURL_WRITE_FUNCTION, on_body);
    curl_call.easy_setopt(easy, CURL_WRITE_DATA, transfer);
    curl_call.easy_setopt(easy, CURL_RESOLVER_START_FUNCTION, on_look_up);
    curl_call.easy_setopt(easy, CURL_RESOLVER_START_DATA, transfer);
    curl_call.easy_setopt(easy, CURL_OPEN_SOCKET_FUNCTION, open_socket);
    curl_call.easy_setopt(easy, CURL_OPEN_SOCKET_DATA, transfer);
    curl_call.easy_setopt(easy, CURL_PREREQ_FUNCTION, before_request);
    curl_call.easy_setopt(easy, CURL_PREREQ_DATA, transfer);
    curl_call.easy_setopt(easy, CURL_ERROR_BUFFER, transfer->text);
}

/* A folder of certificates by their names is read as they are needed; one file of all
 * takes some 10 ms at once. */
static void set_authorities(void *easy, const char *file) {
    const struct curl_version *version = curl_call.version_info(0);
    if (file) {
        curl_call.easy_setopt(easy, CURL_CA_INFO, file);
        curl_call.easy_setopt(easy, CURL_CA_PATH, NULL);
    } else if (version->ca_path && strncmp(version->ssl, "OpenSSL", 7) == 0) {
        curl_call.easy_setopt(easy, CURL_CA_INFO, NULL);
    }
}

static bool set_all(struct transfer *transfer, const struct sync_fetch_options *options) {
    void *easy = transfer->easy;
    int failed = curl_call.easy_setopt(easy, CURL_URL, options->url);
    set_calls(transfer);
    failed |= curl_call.easy_setopt(easy, CURL_CUSTOM_REQUEST, options->method);
    failed |= curl_call.easy_setopt(easy, CURL_PROTOCOLS, (long)CURL_HTTP_AND_HTTPS);
    failed |= curl_call.easy_setopt(easy, CURL_NO_SIGNAL, 1L);
    failed |= curl_call.easy_setopt(easy, CURL_SUPPRESS_CONNECT_HEADERS, 1L);
    failed |= curl_call.easy_setopt(easy, CURL_CONNECT_TIMEOUT,
                                    (long)options->connect_limit + LATER);
    curl_call.easy_setopt(easy, CURL_QUICK_EXIT, 1L); /* since 7.87 */
    if (!(options->flags & SYNC_FETCH_STREAMS)) {
        /* A piece that must wait would be kept by libcurl as a whole, decompressed. */
        failed |= curl_call.easy_setopt(easy, CURL_ACCEPT_ENCODING, "gzip, deflate");
        if (strcmp(options->method, "HEAD") != 0) { /* whose length is of no body */
            failed |=
                curl_call.easy_setopt(easy, CURL_MOST_SIZE, (int64_t)options->most_body);
        }
    }
    const char *proxy = options->forbidden_count > 0 ? "" : options->proxy;
    if (proxy) {
        failed |= curl_call.easy_setopt(easy, CURL_PROXY, proxy);
    }
    if (options->user) {
        failed |= curl_call.easy_setopt(easy, CURL_USER, options->user);
        failed |= curl_call.easy_setopt(easy, CURL_PASSWORD, options->password);
    }
    set_authorities(easy, options->ca);
    if (options->certificate) {
        curl_call.easy_setopt(easy, CURL_SSL_CERT, options->certificate);
        curl_call.easy_setopt(easy, CURL_SSL_KEY, options->key);
    }
    return failed == CURL_OK && set_headers(transfer, options) &&
           set_body(transfer, options);
}

struct transfer *transfer_new(const struct sync_fetch_options *options,
                              void (*tell)(struct transfer *transfer)) {
    struct transfer *transfer = calloc(1, sizeof(*transfer));
    if (!transfer) {
        return NULL;
    }
    transfer->public.text = transfer->text;
    transfer->tell = tell;
    transfer->flags = options->flags;
    transfer->most_head = options->most_head;
    transfer->most_body = options->most_body;
    transfer->connect_limit = options->connect_limit;
    transfer->idle_limit = options->idle_limit;
    transfer->total_limit = options->total_limit;
    transfer->easy = curl_call.easy_init();
    if (!transfer->easy ||
        guard_read(&transfer->guard, options->forbidden, options->forbidden_count) < 0 ||
        !set_all(transfer, options)) {
        transfer_free(transfer);
        return NULL;
    }
    return transfer;
}

void transfer_free(struct transfer *transfer) {
    if (transfer->easy) {
        curl_call.easy_cleanup(transfer->easy);
    }
    curl_call.slist_free_all(transfer->headers);
    guard_free(&transfer->guard);
    free(transfer->head.data);
    free(transfer->body.data);
    free(transfer->sent);
    free(transfer);
}

/* Its end. */

static const struct {
    int code;
    uint32_t problem;
} problems[] = {
    {CURL_UNSUPPORTED_PROTOCOL, SYNC_FETCH_URL},
    {CURL_URL_MALFORMED, SYNC_FETCH_URL},
    {CURL_NO_PROXY, SYNC_FETCH_PROXY},
    {CURL_PROXY_HANDSHAKE, SYNC_FETCH_PROXY},
    {CURL_NO_NAME, SYNC_FETCH_NAME},
    {CURL_NO_CONNECTION, SYNC_FETCH_AWAY},
    {CURL_WEIRD_REPLY, SYNC_FETCH_BROKEN},
    {CURL_HTTP2_BROKEN, SYNC_FETCH_BROKEN},
    {CURL_HTTP2_STREAM, SYNC_FETCH_CUT},
    {CURL_TOO_LARGE, SYNC_FETCH_LARGE},
    {CURL_BAD_ENCODING, SYNC_FETCH_BROKEN},
    {CURL_PARTIAL, SYNC_FETCH_CUT},
    {CURL_GOT_NOTHING, SYNC_FETCH_CUT},
    {CURL_SEND_FAILED, SYNC_FETCH_CUT},
    {CURL_RECEIVE_FAILED, SYNC_FETCH_CUT},
    {CURL_NO_MEMORY, SYNC_FETCH_MEMORY},
    {CURL_TIMED_OUT, SYNC_FETCH_CONNECTS},
    {CURL_TLS_FAILED, SYNC_FETCH_TLS},
    {CURL_BAD_CIPHER, SYNC_FETCH_TLS},
    {CURL_NOT_VERIFIED, SYNC_FETCH_TLS},
    {CURL_BAD_ISSUER, SYNC_FETCH_TLS},
    {CURL_BAD_OWN_CERTIFICATE, SYNC_FETCH_FILE},
    {CURL_BAD_CA_FILE, SYNC_FETCH_FILE},
};

static uint32_t problem_of(int code) {
    for (size_t i = 0; i < sizeof(problems) / sizeof(*problems); i++) {
        if (problems[i].code == code) {
            return problems[i].problem;
        }
    }
    return code == CURL_OK ? SYNC_FETCH_NONE : SYNC_FETCH_OTHER;
}

void transfer_end(struct transfer *transfer, int code, uint32_t problem) {
    problem = problem ? problem : transfer->problem;
    if (!problem) {
        problem = problem_of(code);
        /* What is no answer of HTTP counts as one of another protocol. */
        if (problem == SYNC_FETCH_URL && transfer->asked) {
            problem = SYNC_FETCH_BROKEN;
        }
        /* Bytes that are no chunks, and a connection that has ended, have one code. */
        if (problem == SYNC_FETCH_CUT && strstr(transfer->text, "chunk")) {
            problem = SYNC_FETCH_BROKEN;
        }
        if (problem == SYNC_FETCH_CUT && strstr(transfer->text, "CONNECT")) {
            problem = SYNC_FETCH_PROXY;
        }
    }
    if (problem && !transfer->text[0] && code != CURL_OK) {
        transfer->public.text = curl_call.easy_strerror(code);
    }
    transfer->looks_up = false;
    transfer->public.problem = problem;
    transfer->public.state = SYNC_FETCH_ENDED;
    show(transfer);
    transfer->tell(transfer);
}

void transfer_empty(struct transfer *transfer) {
    transfer->body.length = 0;
    show(transfer);
}
