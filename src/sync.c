/* sync.c: the functions of sync.h, each a few lines in front of the part that does it. */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "conn/abuse.h"
#include "conn/codec.h"
#include "conn/conn.h"
#include "conn/hold.h"
#include "conn/memory.h"
#include "conn/output.h"
#include "conn/watched.h"
#include "core/core.h"
#include "core/json.h"
#include "core/luajit.h"
#include "core/own.h"
#include "core/resolve.h"
#include "core/signals.h"
#include "core/timer.h"
#include "core/times.h"
#include "core/watchdog.h"
#include "http/request.h"
#include "jobs/jobs.h"
#include "jobs/keep.h"
#include "jobs/watch.h"
#include "listen/connect.h"
#include "listen/detection.h"
#include "listen/listener.h"
#include "net/network.h"
#include "websocket/broadcast.h"
#include "websocket/patches.h"
#include "websocket/send.h"
#include "websocket/utf8.h"
#include "websocket/websocket.h"
#include "websocket/wire.h"
#include "workers/broker.h"
#include "workers/shares.h"
#include "workers/spawn.h"

int32_t sync_send(struct sync *sync, uint32_t slot, const void *bytes, size_t length) {
    struct conn *conn = core_conn(core_of(sync), slot);
    if (!conn) {
        return SYNC_CLOSED;
    }
    if (length > wire_longest(conn->wire)) {
        return SYNC_TOO_LONG;
    }
    if (wire_is_websocket(conn->wire)) {
        return (int32_t)send_message(conn, bytes, length);
    }
    struct frame frame;
    codecs[conn->wire].frame(length, &frame);
    return (int32_t)output_send(conn, &frame, bytes, length, NULL);
}

/* Sets in what kind these clients are sent messages; SYNC_KIND_NONE: each in its own.
 * Those who send without a kind, as most do, pay nothing for kinds so. */
static void use_kind(struct core *core, const uint32_t *slots, uint32_t count,
                     uint32_t kind) {
    for (uint32_t i = 0; i < count; i++) {
        struct conn *conn = core_conn(core, slots[i]);
        if (conn) {
            websocket_use(conn, kind);
        }
    }
}

int32_t sync_send_as(struct sync *sync, uint32_t slot, const void *bytes, size_t length,
                     uint32_t kind) {
    use_kind(core_of(sync), &slot, 1, kind);
    int32_t sent = sync_send(sync, slot, bytes, length);
    use_kind(core_of(sync), &slot, 1, SYNC_KIND_NONE);
    return sent;
}

void sync_turn(struct sync *sync, uint32_t slot, uint32_t kind) {
    struct conn *conn = core_conn(core_of(sync), slot);
    if (conn) {
        websocket_turn(conn, kind);
    }
}

uint32_t sync_send_many(struct sync *sync, const uint32_t *slots, uint32_t count,
                        uint32_t except, const void *bytes, size_t length) {
    return broadcast(core_of(sync), slots, count, except, bytes, length);
}

uint32_t sync_send_many_as(struct sync *sync, const uint32_t *slots, uint32_t count,
                           uint32_t except, const void *bytes, size_t length,
                           uint32_t kind) {
    struct core *core = core_of(sync);
    if (kind == SYNC_KIND_NONE) {
        return broadcast(core, slots, count, except, bytes, length);
    }
    use_kind(core, slots, count, kind);
    uint32_t sent = broadcast(core, slots, count, except, bytes, length);
    use_kind(core, slots, count, SYNC_KIND_NONE);
    return sent;
}

void sync_end(struct sync *sync, uint32_t slot, uint32_t code, const char *why,
              size_t length) {
    struct conn *conn = core_conn(core_of(sync), slot);
    if (!conn) {
        return;
    }
    if (conn->protocol->say_close && conn_is_open(conn)) {
        conn->protocol->say_close(conn, code, why, length);
    }
    conn_end(conn, SYNC_BY_SERVER);
}

void sync_pause(struct sync *sync, uint32_t slot, int32_t pause) {
    struct conn *conn = core_conn(core_of(sync), slot);
    if (conn) {
        hold_pause(conn, pause != 0);
    }
}

void sync_close_idle(struct sync *sync, int32_t at_once) {
    struct core *core = core_of(sync);
    for (uint32_t slot = 1; slot < core->conns.used; slot++) {
        struct conn *conn = core_conn(core, slot);
        if (!conn || conn->protocol->is_client || conn->protocol->is_relay) {
            continue;
        }
        bool answered = !conn->held && conn->out.bytes == 0;
        if (!conn->protocol->is_http || answered || at_once) {
            conn_abort(conn, SYNC_BY_SERVER, false);
        }
    }
}

void sync_abort(struct sync *sync, uint32_t slot) {
    struct conn *conn = core_conn(core_of(sync), slot);
    if (conn) {
        conn_abort(conn, SYNC_BY_ABORT, true);
    }
}

uint32_t sync_queued(struct sync *sync, uint32_t slot) {
    struct conn *conn = core_conn(core_of(sync), slot);
    return conn ? output_queued(conn) : 0;
}

uint32_t sync_held(struct sync *sync, uint32_t slot) {
    struct conn *conn = core_conn(core_of(sync), slot);
    if (!conn) {
        return 0;
    }
    return output_queued(conn) + conn->backlog.capacity + websocket_held(conn);
}

uint32_t sync_peer(struct sync *sync, uint32_t slot, char *text, size_t size) {
    struct conn *conn = core_conn(core_of(sync), slot);
    text[0] = '\0';
    return conn ? conn_address(conn, text, size) : 0;
}

uint32_t sync_transport(struct sync *sync, uint32_t slot) {
    struct conn *conn = core_conn(core_of(sync), slot);
    if (conn && websocket_is(conn)) {
        return SYNC_TRANSPORT_WEBSOCKET;
    }
    return conn ? conn->kind : SYNC_TRANSPORT_TCP;
}

uint32_t sync_secure(struct sync *sync, uint32_t slot) {
    struct conn *conn = core_conn(core_of(sync), slot);
    return conn && (conn->transport->secure || conn->relayed);
}

uint32_t sync_close_code(struct sync *sync, uint32_t slot) {
    struct conn *conn = core_conn(core_of(sync), slot);
    return conn ? websocket_close_code(conn) : 0;
}

uint32_t sync_sends_text(struct sync *sync, uint32_t slot) {
    struct conn *conn = core_conn(core_of(sync), slot);
    return conn && conn->wire == WIRE_TEXT;
}

uint32_t sync_listener_of(struct sync *sync, uint32_t slot) {
    struct conn *conn = core_conn(core_of(sync), slot);
    return conn ? conn->service->id : 0;
}

static struct conn *request_conn(struct sync *sync, uint32_t slot) {
    struct conn *conn = core_conn(core_of(sync), slot);
    return conn && conn->protocol->is_http ? conn : NULL;
}

int32_t sync_respond(struct sync *sync, uint32_t slot, const char *bytes, size_t length,
                     int32_t keep) {
    struct conn *conn = request_conn(sync, slot);
    return conn ? (int32_t)request_respond(conn, bytes, length, keep != 0) : SYNC_CLOSED;
}

int32_t sync_file_open(struct sync *sync, uint32_t slot, const char *path, uint32_t which,
                       int32_t any_case) {
    struct conn *conn = request_conn(sync, slot);
    return conn ? request_open_file(conn, path, which, any_case != 0) : UV_EINVAL;
}

int32_t sync_respond_file(struct sync *sync, uint32_t slot, const char *head,
                          size_t head_length, double offset, double length,
                          int32_t keep) {
    struct conn *conn = request_conn(sync, slot);
    return conn ? (int32_t)request_respond_file(conn, head, head_length, (uint64_t)offset,
                                                (uint64_t)length, keep != 0)
                : SYNC_CLOSED;
}

int32_t sync_upgrade(struct sync *sync, uint32_t slot, const char *head, size_t length,
                     const struct sync_websocket *settings) {
    struct conn *conn = request_conn(sync, slot);
    return conn ? (int32_t)request_upgrade(conn, head, length, settings) : SYNC_CLOSED;
}

void sync_websocket_accept(const char *key, size_t length, char *text) {
    static const char magic[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char digest[SHA_DIGEST_LENGTH];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_DigestInit_ex(context, EVP_sha1(), NULL);
    EVP_DigestUpdate(context, key, length);
    EVP_DigestUpdate(context, magic, sizeof(magic) - 1);
    EVP_DigestFinal_ex(context, digest, NULL);
    EVP_MD_CTX_free(context);
    EVP_EncodeBlock((unsigned char *)text, digest, sizeof(digest));
}

int32_t sync_listener_tls(struct sync *sync, uint32_t id, const char *const *files,
                          uint32_t count, uint32_t minimum, char *message, size_t size) {
    struct listener *listener = listener_find(core_of(sync), id);
    return listener
               ? listener_set_tls(listener, files, count, (int)minimum, message, size)
               : UV_EINVAL;
}

int32_t sync_listener_trust(struct sync *sync, uint32_t id, const char *host,
                            const char *const *files, char *message, size_t size) {
    struct listener *listener = listener_find(core_of(sync), id);
    return listener ? listener_trust(listener, host, files, message, size) : UV_EINVAL;
}

int32_t sync_listener_renew(struct sync *sync, uint32_t id,
                            const struct sync_options *options) {
    struct listener *listener = listener_find(core_of(sync), id);
    if (!listener || listener->closed) {
        return UV_EINVAL;
    }
    listener_renew(listener, options);
    return 0;
}

int32_t sync_listener_root(struct sync *sync, uint32_t id, const char *path) {
    struct listener *listener = listener_find(core_of(sync), id);
    return listener ? listener_add_root(listener, path) : UV_EINVAL;
}

int32_t sync_network(const char *text) {
    struct network network;
    return network_read(&network, text);
}

int32_t sync_network_name(const char *text, char *name, size_t size) {
    struct network network;
    int error = network_read(&network, text);
    if (error == 0) {
        network_name(&network, name, size);
    }
    return error;
}

int32_t sync_listener_proxy(struct sync *sync, uint32_t id, const char *network) {
    struct listener *listener = listener_find(core_of(sync), id);
    return listener ? listener_add_proxy(listener, network) : UV_EINVAL;
}

uint32_t sync_proxied(struct sync *sync, uint32_t slot) {
    struct conn *conn = core_conn(core_of(sync), slot);
    return conn && conn->proxied;
}

int32_t sync_is_proxy(struct sync *sync, uint32_t slot, const char *address) {
    struct conn *conn = core_conn(core_of(sync), slot);
    struct sockaddr_storage peer = {0};
    if (!conn || network_address(address, &peer) < 0) {
        return UV_EINVAL;
    }
    return network_has(conn->service->proxies, (const struct sockaddr *)&peer);
}

int32_t sync_forwarded(struct sync *sync, uint32_t slot, const char *address) {
    struct conn *conn = core_conn(core_of(sync), slot);
    return conn ? listener_forwarded(conn, address) : UV_EINVAL;
}

int32_t sync_listener_ping(struct sync *sync, uint32_t id, const char *bytes,
                           size_t length) {
    struct listener *listener = listener_find(core_of(sync), id);
    return listener ? listener_set_ping(listener, bytes, length) : UV_EINVAL;
}

int32_t sync_listener_policy(struct sync *sync, uint32_t id, const char *text,
                             size_t length) {
    struct listener *listener = listener_find(core_of(sync), id);
    return listener ? listener_set_policy(listener, text, length) : UV_EINVAL;
}

int32_t sync_listen(struct sync *sync, const char *host, uint32_t port,
                    const struct sync_options *options) {
    if (port > UINT16_MAX || options->framing >= CODEC_COUNT) {
        return UV_EINVAL;
    }
    return listener_open(core_of(sync), host, port, options);
}

uint32_t sync_listener_port(struct sync *sync, uint32_t id) {
    struct listener *listener = listener_find(core_of(sync), id);
    return listener ? listener_port(listener) : 0;
}

uint32_t sync_listener_addresses(struct sync *sync, uint32_t id, char *text,
                                 size_t size) {
    struct listener *listener = listener_find(core_of(sync), id);
    text[0] = '\0';
    return listener ? listener_addresses(listener, text, size) : 0;
}

void sync_listener_close(struct sync *sync, uint32_t id) {
    struct listener *listener = listener_find(core_of(sync), id);
    if (listener) {
        listener_close(listener);
    }
}

void sync_listener_end(struct sync *sync, uint32_t id) {
    struct listener *listener = listener_find(core_of(sync), id);
    if (listener) {
        listener_end(listener);
    }
}

void sync_limit_clients(struct sync *sync, uint32_t limit) {
    sync->client_limit = limit;
    listener_resume_all(core_of(sync));
}

void sync_hold_accepting(struct sync *sync, int32_t hold) {
    struct core *core = core_of(sync);
    core->accept_held = hold != 0;
    if (!core->accept_held && core->accept_paused) {
        listener_resume_all(core);
    }
}

int32_t sync_keep_file(struct sync *sync, const char *path, const char *text,
                       size_t length) {
    return keep_file(core_of(sync), path, text, length);
}

void sync_fail(struct sync *sync, uint32_t slot) {
    struct conn *conn = core_conn(core_of(sync), slot);
    if (conn) {
        abuse_allows(conn->service, conn->peer, PEER_FAILS);
    }
}

int32_t sync_ban(struct sync *sync, const char *network, double seconds) {
    struct core *core = core_of(sync);
    uint64_t now = uv_now(&core->loop);
    struct network banned;
    int error = network_read(&banned, network);
    return error < 0 ? error
                     : bans_set(&core->bans, &banned,
                                seconds > 0 ? now + (uint64_t)(seconds * 1000) : 0, now);
}

uint32_t sync_is_banned(struct sync *sync, const char *address) {
    struct core *core = core_of(sync);
    struct sockaddr_storage peer = {0};
    return network_address(address, &peer) == 0 &&
           bans_has(&core->bans, (const struct sockaddr *)&peer, uv_now(&core->loop));
}

uint32_t sync_kick(struct sync *sync, const char *network) {
    struct network kicked;
    return network_read(&kicked, network) < 0 || kicked.is_unix
               ? 0
               : abuse_kick(core_of(sync), &kicked);
}

void sync_drain(struct sync *sync) {
    struct core *core = core_of(sync);
    core->draining = true;
    shares_tell(core);
    listener_resume_all(core);
}

int32_t sync_timer_start(struct sync *sync, double delay, double interval) {
    return timer_start(core_of(sync), delay, interval);
}

void sync_timer_stop(struct sync *sync, uint32_t id) {
    timer_stop(core_of(sync), id);
}

int32_t sync_is_text(const char *bytes, size_t length) {
    return utf8_valid(bytes, length);
}

int32_t sync_random(char *bytes, size_t length) {
    return RAND_bytes((unsigned char *)bytes, (int)length) == 1 ? 0 : -1;
}

double sync_now(void) {
    return (double)uv_hrtime() / 1e9;
}

static double read_clock(clockid_t clock) {
    struct timespec time;
    return clock_gettime(clock, &time) == 0
               ? (double)time.tv_sec + (double)time.tv_nsec / 1e9
               : sync_now();
}

double sync_awake(void) {
#ifdef CLOCK_BOOTTIME
    return read_clock(CLOCK_BOOTTIME);
#else
    return sync_now();
#endif
}

double sync_wall(void) {
    return read_clock(CLOCK_REALTIME);
}

double sync_bucket_end(uint32_t bucket) {
    return times_end(bucket);
}

int32_t sync_signal_start(struct sync *sync, int32_t number, int32_t seconds) {
    return signals_start(core_of(sync), number, seconds);
}

void sync_signal_stop(struct sync *sync, int32_t number) {
    signals_stop(core_of(sync), number);
}

int32_t sync_resolve(struct sync *sync, const char *host) {
    return resolve_start(core_of(sync), host);
}

int32_t sync_connect(struct sync *sync, uint32_t listener, const char *address,
                     uint32_t port) {
    struct listener *found = listener_find(core_of(sync), listener);
    return found && !found->closed ? connect_start(found, address, port) : UV_EINVAL;
}

int32_t sync_adopt(struct sync *sync, uint32_t listener, int32_t fd) {
    struct listener *found = listener_find(core_of(sync), listener);
    return found && !found->closed ? connect_adopt(found, fd) : UV_EINVAL;
}

void sync_connect_cancel(struct sync *sync, uint32_t id) {
    connect_cancel(core_of(sync), id);
}

int32_t sync_shares_new(struct sync *sync, uint32_t count) {
    return count >= 1 && count <= SYNC_MOST_WORKERS ? shares_new(core_of(sync), count)
                                                    : UV_EINVAL;
}

/* A worker with one end of a socket of this type, whose other end is written to *fd, and
 * one of the broker's. */
static int32_t spawn(struct sync *sync, const char *const *arguments, uint32_t number,
                     uint32_t count, const char *takes, int type, int32_t *fd) {
    int pair[2];
    int broker_pair[2];
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0) {
        return -errno;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, broker_pair) < 0) {
        int error = -errno;
        close(pair[0]);
        close(pair[1]);
        return error;
    }
    int process = spawn_worker(core_of(sync), arguments, number, count, takes,
                               (const int32_t[]){pair[1], broker_pair[1]});
    close(pair[1]);
    close(broker_pair[1]);
    if (process < 0) {
        close(pair[0]);
        close(broker_pair[0]);
        return process;
    }
    int error = broker_serve(core_of(sync), broker_pair[0]);
    if (error < 0) {
        close(pair[0]); /* by which the worker notices, and ends */
        return error;
    }
    *fd = pair[0];
    return process;
}

int32_t sync_spawn(struct sync *sync, const char *const *arguments, uint32_t number,
                   uint32_t count, int32_t *bus) {
    return spawn(sync, arguments, number, count, NULL, SOCK_STREAM, bus);
}

int32_t sync_spawn_next(struct sync *sync, const char *const *arguments, uint32_t number,
                        uint32_t count, const char *takes, int32_t *fd) {
    return spawn(sync, arguments, number, count, takes, SOCK_SEQPACKET, fd);
}

static const char OFFERED[] = "next:"; /* the broker's name of sockets to successors */

int32_t sync_next_offer(struct sync *sync, int32_t process, int32_t fd) {
    return broker_offer(core_of(sync), OFFERED, (uint32_t)process, fd);
}

void sync_next_withdraw(struct sync *sync, int32_t process) {
    broker_withdraw(core_of(sync), OFFERED, (uint32_t)process);
}

int32_t sync_next_fetch(struct sync *sync, int32_t process) {
    return broker_fetch(core_of(sync), OFFERED, (uint32_t)process);
}

uint32_t sync_core_count(void) {
    return uv_available_parallelism();
}

int32_t sync_kill(int32_t process, int32_t number) {
    return uv_kill(process, number);
}

void sync_shares_leave(struct sync *sync, uint32_t number) {
    shares_leave(core_of(sync), number);
}

void sync_shares_close(struct sync *sync) {
    broker_close(core_of(sync));
}

int32_t sync_worker_begin(struct sync *sync) {
    return spawn_begin(core_of(sync));
}

void sync_worker_end(struct sync *sync) {
    shares_free(core_of(sync));
}

void sync_trim(struct sync *sync) {
    core_of(sync)->trim = true;
}

uint32_t sync_file_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return 1024;
    }
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        getrlimit(RLIMIT_NOFILE, &limit);
    }
    return limit.rlim_cur < UINT32_MAX ? (uint32_t)limit.rlim_cur : UINT32_MAX;
}

int32_t sync_memory_connect(struct sync *sync, uint32_t listener) {
    struct listener *found = listener_find(core_of(sync), listener);
    return found && !found->closed ? detection_open_memory(&found->service) : UV_EINVAL;
}

static struct conn *memory_conn(struct sync *sync, uint32_t slot) {
    struct conn *conn = core_conn(core_of(sync), slot);
    return conn && conn->transport == &memory_transport ? conn : NULL;
}

uint32_t sync_memory_feed(struct sync *sync, uint32_t slot, const char *bytes,
                          uint32_t length) {
    struct conn *conn = memory_conn(sync, slot);
    return conn ? memory_feed(conn, bytes, length) : 0;
}

void sync_memory_end(struct sync *sync, uint32_t slot) {
    struct conn *conn = memory_conn(sync, slot);
    if (conn) {
        memory_end(conn);
    }
}

uint32_t sync_memory_take(struct sync *sync, uint32_t slot, char *bytes, uint32_t size) {
    struct conn *conn = memory_conn(sync, slot);
    return conn ? memory_take(conn, bytes, size) : 0;
}

int32_t sync_is_behind(struct sync *sync, uint32_t slot) {
    struct conn *conn = core_conn(core_of(sync), slot);
    return !conn || output_is_behind(conn);
}

int32_t sync_state_patch(struct sync *sync, struct sync_state *state, double tick) {
    return patches_send(core_of(sync), state, tick);
}

int32_t sync_watchdog_start(struct sync *sync, const struct sync_watchdog *options,
                            char *message, size_t size) {
    return watchdog_start(core_of(sync), options, watched_describe, message, size);
}

void sync_watchdog_caught(void) {
    watchdog_caught();
}

void sync_watchdog_stop(struct sync *sync) {
    watchdog_stop(core_of(sync));
}

void sync_watchdog_allow(struct sync *sync, uint32_t milliseconds) {
    watchdog_allow(core_of(sync), milliseconds);
}

int32_t sync_watchdog_asks(struct sync *sync) {
    return watchdog_asks(core_of(sync));
}

void sync_watchdog_tell(struct sync *sync, const char *stack) {
    watchdog_tell(core_of(sync), stack);
}

void sync_watchdog_own(const char *prefix) {
    own_set(prefix);
}

uint32_t sync_longest_handler(struct sync *sync, char *text, size_t size) {
    int length = snprintf(text, size, "%s", core_of(sync)->longest_handler);
    return (uint32_t)length < size ? (uint32_t)length : (uint32_t)size - 1;
}

int32_t sync_is_profiled(void) {
    return watchdog_sees_profiler();
}

int32_t sync_listener_name(struct sync *sync, uint32_t id, const char *name) {
    struct listener *listener = listener_find(core_of(sync), id);
    if (!listener || !sync_is_text(name, strlen(name))) {
        return UV_EINVAL;
    }
    char *copy = strdup(name);
    if (!copy) {
        return UV_ENOMEM;
    }
    free(listener->service.name);
    listener->service.name = copy;
    return 0;
}

void sync_name(struct sync *sync, uint32_t slot, double name) {
    struct conn *conn = core_conn(core_of(sync), slot);
    if (conn) {
        conn->name = (uint32_t)(uint64_t)name;
        core_of(sync)->names = name - conn->name;
    }
}

const char *sync_error_name(int32_t code) {
    return uv_err_name(code);
}

const char *sync_error_text(int32_t code) {
    return uv_strerror(code);
}

int32_t sync_choose_io(const char *name) {
    return poller_choose(name);
}

int32_t sync_choose_io_threads(uint32_t count) {
    return poller_choose_threads(count);
}

uint32_t sync_io_threads(void) {
    return poller_threads();
}

const char *sync_io(void) {
    return poller_name();
}

const char *sync_io_why(void) {
    return poller_why();
}

const char *sync_uv_version(void) {
    return uv_version_string();
}
