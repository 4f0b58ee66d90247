/* library.h: the functions of libcurl, which is opened when it is first needed. They and
 * the numbers of its options are declared here, so that no header of it is needed to
 * build. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum {
    CURL_OLDEST = 0x075000 /* 7.80: the first that shows an address before it asks */
};

/* Options of a transfer. The hundreds of thousands say what kind of value one takes. */
enum {
    CURL_WRITE_DATA = 10001,
    CURL_URL = 10002,
    CURL_PROXY = 10004,
    CURL_ERROR_BUFFER = 10010,
    CURL_POST_FIELDS = 10015,
    CURL_HTTP_HEADER = 10023,
    CURL_SSL_CERT = 10025,
    CURL_HEADER_DATA = 10029,
    CURL_CUSTOM_REQUEST = 10036,
    CURL_CA_INFO = 10065,
    CURL_SSL_KEY = 10087,
    CURL_CA_PATH = 10097,
    CURL_ACCEPT_ENCODING = 10102,
    CURL_PRIVATE = 10103,
    CURL_OPEN_SOCKET_DATA = 10164,
    CURL_RESOLVER_START_DATA = 10273,
    CURL_USER = 10173,
    CURL_PASSWORD = 10174,
    CURL_PREREQ_DATA = 10313,
    CURL_WRITE_FUNCTION = 20011,
    CURL_HEADER_FUNCTION = 20079,
    CURL_OPEN_SOCKET_FUNCTION = 20163,
    CURL_RESOLVER_START_FUNCTION = 20272,
    CURL_PREREQ_FUNCTION = 20312,
    CURL_MOST_SIZE = 30117,
    CURL_POST_FIELD_SIZE = 30120,
    CURL_NO_BODY = 44,
    CURL_NO_SIGNAL = 99,
    CURL_CONNECT_TIMEOUT = 156,
    CURL_PROTOCOLS = 181,
    CURL_SUPPRESS_CONNECT_HEADERS = 265,
    CURL_QUICK_EXIT = 322
};

enum {
    CURL_SOCKET_FUNCTION = 20001, /* options of a multi handle */
    CURL_TIMER_FUNCTION = 20004,
    CURL_SOCKET_DATA = 10002,
    CURL_TIMER_DATA = 10005,
    CURL_MOST_CONNECTIONS = 6,
    CURL_INFO_STATUS = 0x200002,
    CURL_INFO_VERSION = 0x20002e,
    CURL_INFO_SENT = 0x600007,
    CURL_INFO_PRIVATE = 0x100015,
    CURL_GLOBAL = 3,
    CURL_HTTP_AND_HTTPS = 3,
    CURL_HAS_ASYNC_NAMES = 1 << 7,
    CURL_PAUSE_WRITING = 0x10000001,
    CURL_GOES_ON = 0,
    CURL_REFUSES = 1, /* of the function that is asked before a request */
    CURL_BAD_SOCKET = -1,
    CURL_TIMEOUT_SOCKET = -1,
    CURL_WAITS_IN = 1,
    CURL_WAITS_OUT = 2,
    CURL_WAITS_NO_MORE = 4,
    CURL_READY_IN = 1,
    CURL_READY_OUT = 2,
    CURL_READY_ERROR = 4,
    CURL_DONE = 1,
    CURL_WHOLE_URL = 0,
    CURL_ENCODES = 1 << 7 /* what a URL may not have as it is */
};

/* What a transfer ends in. */
enum {
    CURL_OK = 0,
    CURL_UNSUPPORTED_PROTOCOL = 1,
    CURL_URL_MALFORMED = 3,
    CURL_NO_PROXY = 5,
    CURL_NO_NAME = 6,
    CURL_NO_CONNECTION = 7,
    CURL_WEIRD_REPLY = 8,
    CURL_HTTP2_BROKEN = 16,
    CURL_PARTIAL = 18,
    CURL_NO_MEMORY = 27,
    CURL_TIMED_OUT = 28,
    CURL_TLS_FAILED = 35,
    CURL_GOT_NOTHING = 52,
    CURL_SEND_FAILED = 55,
    CURL_RECEIVE_FAILED = 56,
    CURL_BAD_OWN_CERTIFICATE = 58,
    CURL_BAD_CIPHER = 59,
    CURL_NOT_VERIFIED = 60,
    CURL_BAD_ENCODING = 61,
    CURL_TOO_LARGE = 63,
    CURL_BAD_CA_FILE = 77,
    CURL_BAD_ISSUER = 83,
    CURL_HTTP2_STREAM = 92,
    CURL_PROXY_HANDSHAKE = 97
};

struct curl_address {
    int family;
    int type;
    int protocol;
    unsigned length;
    struct sockaddr address;
};

struct curl_message {
    int what;
    void *easy;
    union {
        void *whatever;
        int code;
    } data;
};

struct curl_version {
    int age;
    const char *text;
    unsigned number;
    const char *host;
    int features;
    const char *ssl;
    long ssl_number;
    const char *zlib;
    const char *const *protocols;
    const char *ares;
    int ares_number;
    const char *idn;
    int iconv_number;
    const char *ssh;
    unsigned brotli_number;
    const char *brotli;
    unsigned nghttp2_number;
    const char *nghttp2;
    const char *quic;
    const char *ca_info;
    const char *ca_path;
};

struct curl_slist;

/* name, result, arguments */
#define CURL_FUNCTIONS(F)                                                                \
    F(global_init, int, (long))                                                          \
    F(version_info, const struct curl_version *, (int))                                  \
    F(slist_append, struct curl_slist *, (struct curl_slist *, const char *))            \
    F(slist_free_all, void, (struct curl_slist *))                                       \
    F(url, void *, (void))                                                               \
    F(url_cleanup, void, (void *))                                                       \
    F(url_set, int, (void *, int, const char *, unsigned))                               \
    F(url_get, int, (void *, int, char **, unsigned))                                    \
    F(free, void, (void *))                                                              \
    F(easy_init, void *, (void))                                                         \
    F(easy_cleanup, void, (void *))                                                      \
    F(easy_setopt, int, (void *, int, ...))                                              \
    F(easy_getinfo, int, (void *, int, ...))                                             \
    F(easy_pause, int, (void *, int))                                                    \
    F(easy_strerror, const char *, (int))                                                \
    F(multi_init, void *, (void))                                                        \
    F(multi_cleanup, int, (void *))                                                      \
    F(multi_setopt, int, (void *, int, ...))                                             \
    F(multi_add_handle, int, (void *, void *))                                           \
    F(multi_remove_handle, int, (void *, void *))                                        \
    F(multi_socket_action, int, (void *, int, int, int *))                               \
    F(multi_info_read, struct curl_message *, (void *, int *))                           \
    F(multi_assign, int, (void *, int, void *))

/* NOLINTNEXTLINE(bugprone-macro-parentheses): they are parts of a declaration */
#define CURL_MEMBER(name, result, arguments) result(*name) arguments;
extern struct curl_functions { CURL_FUNCTIONS(CURL_MEMBER) } curl_call;
#undef CURL_MEMBER
