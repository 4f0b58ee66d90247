/* sync.c: the functions of sync.h, each a few lines in front of the part that does it. */
#include <arpa/inet.h>
#include <errno.h>
#include <malloc.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn/conn.h"
#include "core/core.h"
#include "core/json.h"
#include "core/memory.h"
#include "core/resolve.h"
#include "core/signals.h"
#include "core/timer.h"
#include "core/times.h"
#include "http/file.h"
#include "http/request.h"
#include "listen/connect.h"
#include "listen/listener.h"
#include "state/state.h"
#include "websocket/utf8.h"
#include "websocket/websocket.h"
#include "websocket/wire.h"
#include "workers/broker.h"
#include "workers/shares.h"
#include "workers/spawn.h"

/* Messages from this size on go to many clients by reference: a copy costs more than
 * the piece that refers to it. */
enum { SHARE_FROM = 512 };

enum { CORE_EVENTS = 1 /* most in a tick that belong to none of its parts */ };

static void ignore_sigpipe(void) {
    struct sigaction action;
    if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL) {
        action.sa_handler = SIG_IGN;
        sigaction(SIGPIPE, &action, NULL);
    }
}

struct sync *sync_open(void) {
    struct core *core = calloc(1, sizeof(*core));
    if (!core) {
        return NULL;
    }
    if (batch_init(&core->batch) < 0) {
        free(core);
        return NULL;
    }
    if (batch_reserve(&core->batch, CORE_EVENTS) < 0 || uv_loop_init(&core->loop) < 0) {
        batch_free(&core->batch);
        free(core);
        return NULL;
    }
    if (poller_open(&core->poller, &core->loop) < 0) {
        uv_loop_close(&core->loop);
        batch_free(&core->batch);
        free(core);
        return NULL;
    }
    uv_timer_init(&core->loop, &core->wheel_timer);
    uv_timer_init(&core->loop, &core->retry_timer);
    core->wheel_timer.data = core;
    core->retry_timer.data = core;
    core->ready_end = &core->ready;
    core->public.events = core->batch.events;
    core->public.client_limit = UINT32_MAX;
    ignore_sigpipe();
    return &core->public;
}

static void stop_timers(struct core *core) {
    for (uint32_t id = 1; id < core->timers.used; id++) {
        timer_stop(core, id);
    }
}

void sync_close(struct sync *sync) {
    struct core *core = core_of(sync);
    for (uint32_t slot = 1; slot < core->conns.used; slot++) {
        struct conn *conn = core_conn(core, slot);
        if (conn) {
            conn_abort(conn, SYNC_BY_ABORT, false);
        }
    }
    stop_timers(core);
    signals_stop_all(core);
    spawn_forget_all(core);
    broker_close(core);
    shares_free(core);
    resolve_cancel_all(core);
    connect_cancel_all(core);
    struct listener *next;
    for (struct listener *l = core->listeners; l; l = next) {
        next = l->next;
        listener_close(l);
    }
    poller_close(&core->poller);
    uv_close((uv_handle_t *)&core->wheel_timer, NULL);
    uv_close((uv_handle_t *)&core->retry_timer, NULL);
    do {
        sync_flush(sync);
    } while (sync_poll(sync, 1) >= 0);
    sync_flush(sync);
    sync_poll(sync, 0);
    while (uv_run(&core->loop, UV_RUN_DEFAULT)) { /* until the last file is closed */
    }
    uv_loop_close(&core->loop);
    while (core->folders) {
        struct folder *folder = core->folders;
        core->folders = folder->next;
        file_folder_close(folder->descriptor);
        free(folder);
    }
    table_clear(&core->conns);
    table_clear(&core->timers);
    pool_clear(&core->pool);
    slab_trim(&core->conn_slabs);
    slab_trim(&core->websocket_slabs);
    websocket_trim(core);
    batch_free(&core->batch);
    free(core);
}

static void trim(struct core *core) {
    core->trim = false;
    core->most_weight = core->weight;
    pool_clear(&core->pool);
    slab_trim(&core->conn_slabs);
    slab_trim(&core->websocket_slabs);
    websocket_trim(core);
    table_trim(&core->conns);
    table_trim(&core->timers);
    batch_trim(&core->batch);
    malloc_trim(0);
}

/* The tick is over: nothing that its events point to is needed any more. */
static void end_tick(struct core *core) {
    batch_reset(&core->batch);
    core->filling = true;
    core->tick++;
    core->round += !core->crowded;
    core->crowded = false;
    timer_close_fired(core);
    input_resume(core);
    uint32_t files = core->files_before;
    core->files_before = core->files;
    if ((conn_free_released(core) > 0 || core->files < files) && core->accept_paused) {
        listener_resume_all(core);
    }
    if (core->trim) {
        trim(core);
    }
}

/* From the batch's being handed out to the next poll. */
static void count_tick(struct core *core) {
    if (core->handed_out > 0) {
        uint64_t spent = uv_hrtime() - core->handed_out;
        core->public.ticks++;
        core->public.busy += (double)spent / 1e9;
        times_add(&core->public.tick_times, spent / 1000);
    }
}

int32_t sync_poll(struct sync *sync, int32_t block) {
    struct core *core = core_of(sync);
    count_tick(core);
    end_tick(core);
    /* What end_tick has resumed may have made events, or bytes that wait for sync_flush.
     */
    bool work = core->batch.count > 0 || core->owing || core->ready || core->released ||
                core->noted || core->unflushed;
    core->polling = true;
    int alive = uv_run(&core->loop, block && !work ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    core->polling = false;
    conn_push_owed(core);
    if (core->noted) {
        listener_push_notices(core);
    }
    memory_look(core);
    core->filling = false;
    sync->events = core->batch.events;
    sync->event_count = core->batch.count;
    core->handed_out = uv_hrtime();
    if (core->batch.count == 0 && !alive && !core->released && !core->ready) {
        return -1;
    }
    return (int32_t)core->batch.count;
}

void sync_flush(struct sync *sync) {
    struct core *core = core_of(sync);
    struct conn *conn = core->unflushed;
    core->unflushed = NULL;
    while (conn) {
        struct conn *next = conn->next_unflushed;
        conn->in_unflushed = false;
        output_flush(conn);
        conn = next;
    }
}

int32_t sync_send(struct sync *sync, uint32_t slot, const char *bytes, size_t length) {
    struct conn *conn = core_conn(core_of(sync), slot);
    if (!conn) {
        return SYNC_CLOSED;
    }
    if (length > wire_longest(conn->wire)) {
        return SYNC_TOO_LONG;
    }
    if (wire_is_websocket(conn->wire)) {
        return (int32_t)websocket_send(conn, bytes, length);
    }
    struct frame frame;
    codecs[conn->wire].frame(length, &frame);
    return (int32_t)output_send(conn, &frame, bytes, length, NULL);
}

/* A message that goes to many. */
struct message {
    const char *bytes;
    size_t length;
    bool share; /* its forms are made once, and sent by reference */
    bool checked;
    bool text; /* valid UTF-8; looked at when it was checked */
    struct small_forms *small;
};

/* A message in one of the forms in which it leaves. */
struct form {
    struct shared *shared; /* NULL: it's small, and copied */
    struct frame frame;
    bool made;
    bool impossible; /* too long for the framing, or memory ran out */
};

enum { FORMS = 2 * WIRE_COUNT /* plain, and compressed */ };

static bool is_text(struct message *message) {
    if (!message->checked) {
        message->checked = true;
        message->text = utf8_valid(message->bytes, message->length);
    }
    return message->text;
}

static void make_form(struct form *form, uint8_t wire, struct message *message) {
    struct frame *frame = &form->frame;
    form->made = true;
    form->impossible = message->length > wire_longest(wire);
    if (form->impossible) {
        return;
    }
    wire_frame(wire, message->length, wire == WIRE_TEXT && is_text(message), frame);
    if (message->share) {
        form->shared = shared_new(frame->head, frame->head_length, message->bytes,
                                  message->length, frame->tail, frame->tail_length);
        form->impossible = form->shared == NULL;
    }
}

static void make_compressed(struct core *core, struct form *form, uint8_t wire,
                            struct message *message) {
    bool text = wire == WIRE_TEXT && is_text(message);
    form->made = true;
    form->impossible = message->length > wire_longest(wire);
    if (!form->impossible) {
        form->shared =
            websocket_compress(core, wire, text, message->bytes, message->length);
        form->impossible = form->shared == NULL;
    }
}

/* Sends a message in the form that the client takes. */
static enum sync_sent send_form(struct core *core, struct conn *conn, struct form *forms,
                                struct message *message) {
    uint8_t wire = conn->wire;
    bool compressed =
        wire_is_websocket(wire) && websocket_compresses(conn, message->length);
    if (compressed && websocket_window_is_small(conn)) {
        return websocket_send_small(conn, message->small, message->bytes,
                                    message->length);
    }
    struct form *form = &forms[compressed ? WIRE_COUNT + wire : wire];
    if (!form->made && compressed) {
        make_compressed(core, form, wire, message);
    } else if (!form->made) {
        make_form(form, wire, message);
    }
    if (form->impossible) {
        return SYNC_TOO_LONG;
    }
    if (compressed) {
        websocket_sent_shared(conn);
    }
    return output_send(conn, &form->frame, message->bytes, message->length, form->shared);
}

uint32_t sync_send_many(struct sync *sync, const uint32_t *slots, uint32_t count,
                        uint32_t except, const char *bytes, size_t length) {
    struct core *core = core_of(sync);
    struct form forms[FORMS] = {0};
    struct small_forms small;
    small.used = false;
    struct message message = {.small = &small,
                              .bytes = bytes,
                              .length = length,
                              .share = length >= SHARE_FROM && length <= UINT32_MAX - 64};
    uint32_t sent = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct conn *conn = core_conn(core, slots[i]);
        if (conn && slots[i] != except) {
            enum sync_sent result = send_form(core, conn, forms, &message);
            sent += result == SYNC_SENT || result == SYNC_FULL;
        }
    }
    for (int i = 0; i < FORMS; i++) {
        if (forms[i].shared) {
            shared_release(forms[i].shared);
        }
    }
    if (small.used) {
        websocket_release_small(&small);
    }
    return sent;
}

void sync_end(struct sync *sync, uint32_t slot, uint32_t code, const char *why,
              size_t length) {
    struct conn *conn = core_conn(core_of(sync), slot);
    if (conn && conn->protocol == CONN_WEBSOCKET && conn->state == CONN_OPEN) {
        websocket_say_close(conn, code, why, length);
    }
    if (conn) {
        conn_end(conn, SYNC_BY_SERVER);
    }
}

void sync_end_strangers(struct sync *sync, int32_t at_once) {
    struct core *core = core_of(sync);
    for (uint32_t slot = 1; slot < core->conns.used; slot++) {
        struct conn *conn = core_conn(core, slot);
        bool unknown = conn && conn->protocol == CONN_DETECT && !conn->guessed;
        bool http = conn && conn->protocol == CONN_HTTP;
        bool idle = http && !conn->held && conn->out.bytes == 0;
        if (unknown || idle || (http && at_once)) {
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
    uint32_t held = output_queued(conn) + conn->backlog.capacity;
    return conn->protocol == CONN_WEBSOCKET ? held + websocket_held(conn) : held;
}

uint32_t sync_peer(struct sync *sync, uint32_t slot, char *text, size_t size) {
    struct conn *conn = core_conn(core_of(sync), slot);
    text[0] = '\0';
    if (!conn || conn->transport != SYNC_TRANSPORT_TCP) {
        return 0;
    }
    inet_ntop(conn->ipv6 ? AF_INET6 : AF_INET, conn->address, text, (socklen_t)size);
    return conn->port;
}

uint32_t sync_transport(struct sync *sync, uint32_t slot) {
    struct conn *conn = core_conn(core_of(sync), slot);
    if (conn && conn->protocol == CONN_WEBSOCKET) {
        return SYNC_TRANSPORT_WEBSOCKET;
    }
    return conn ? conn->transport : SYNC_TRANSPORT_TCP;
}

uint32_t sync_secure(struct sync *sync, uint32_t slot) {
    struct conn *conn = core_conn(core_of(sync), slot);
    return conn && conn->tls;
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
    return conn ? conn->listener->id : 0;
}

static struct conn *request_conn(struct sync *sync, uint32_t slot) {
    struct conn *conn = core_conn(core_of(sync), slot);
    return conn && conn->protocol == CONN_HTTP ? conn : NULL;
}

int32_t sync_respond(struct sync *sync, uint32_t slot, const char *bytes, size_t length,
                     int32_t keep) {
    struct conn *conn = request_conn(sync, slot);
    return conn ? (int32_t)request_respond(conn, bytes, length, keep != 0) : SYNC_CLOSED;
}

int32_t sync_file_open(struct sync *sync, uint32_t slot, const char *path) {
    struct conn *conn = request_conn(sync, slot);
    return conn ? request_open_file(conn, path) : UV_EINVAL;
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

int32_t sync_listener_folder(struct sync *sync, uint32_t id, const char *path) {
    struct listener *listener = listener_find(core_of(sync), id);
    return listener ? listener_set_folder(listener, path) : UV_EINVAL;
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

int32_t sync_timer_start(struct sync *sync, double delay, double interval) {
    return timer_start(core_of(sync), delay, interval);
}

void sync_timer_stop(struct sync *sync, uint32_t id) {
    timer_stop(core_of(sync), id);
}

int32_t sync_is_text(const char *bytes, size_t length) {
    return utf8_valid(bytes, length);
}

int32_t sync_json_overflows(const char *text, size_t length) {
    return json_overflows(text, length);
}

int32_t sync_random(char *bytes, size_t length) {
    return RAND_bytes((unsigned char *)bytes, (int)length) == 1 ? 0 : -1;
}

double sync_now(void) {
    return (double)uv_hrtime() / 1e9;
}

double sync_bucket_end(uint32_t bucket) {
    return times_end(bucket);
}

int32_t sync_signal_start(struct sync *sync, int32_t number, int32_t once) {
    return signals_start(core_of(sync), number, once != 0);
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

int32_t sync_spawn(struct sync *sync, const char *const *arguments, uint32_t number,
                   uint32_t count, int32_t *bus) {
    int bus_pair[2];
    int broker_pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, bus_pair) < 0) {
        return -errno;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, broker_pair) < 0) {
        int error = -errno;
        close(bus_pair[0]);
        close(bus_pair[1]);
        return error;
    }
    int process = spawn_worker(core_of(sync), arguments, number, count,
                               (const int32_t[]){bus_pair[1], broker_pair[1]});
    close(bus_pair[1]);
    close(broker_pair[1]);
    if (process < 0) {
        close(bus_pair[0]);
        close(broker_pair[0]);
        return process;
    }
    int error = broker_serve(core_of(sync), broker_pair[0]);
    if (error < 0) {
        close(bus_pair[0]); /* by which the worker notices, and ends */
        return error;
    }
    *bus = bus_pair[0];
    return process;
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
    return found && !found->closed ? conn_open(found, -1, SYNC_TRANSPORT_MEMORY, NULL)
                                   : UV_EINVAL;
}

static struct conn *memory_conn(struct sync *sync, uint32_t slot) {
    struct conn *conn = core_conn(core_of(sync), slot);
    return conn && conn->transport == SYNC_TRANSPORT_MEMORY ? conn : NULL;
}

uint32_t sync_memory_feed(struct sync *sync, uint32_t slot, const char *bytes,
                          uint32_t length) {
    struct conn *conn = memory_conn(sync, slot);
    return conn ? input_feed(conn, bytes, length) : 0;
}

void sync_memory_end(struct sync *sync, uint32_t slot) {
    struct conn *conn = memory_conn(sync, slot);
    if (conn) {
        input_feed_end(conn);
    }
}

uint32_t sync_memory_take(struct sync *sync, uint32_t slot, char *bytes, uint32_t size) {
    struct conn *conn = memory_conn(sync, slot);
    uint32_t taken = 0;
    struct iovec piece;
    while (conn && taken < size && out_gather(&conn->out, &piece, 1) == 1) {
        size_t part = piece.iov_len < size - taken ? piece.iov_len : size - taken;
        memcpy(bytes + taken, piece.iov_base, part);
        out_consume(&conn->core->pool, &conn->out, part);
        conn->core->public.bytes_out += (double)part;
        taken += (uint32_t)part;
    }
    if (taken > 0) {
        output_flush(conn);
    }
    return taken;
}

/* Bytes that the kernel takes of a member before it has begun to send them: what waits
 * there is old when it leaves. */
enum { MOST_UNSENT = 16 * 1024 };

/* Whether what was sent before is still unsent: in a tick, nothing leaves before its end.
 */
static bool is_behind(const struct conn *conn) {
    return conn->transport == SYNC_TRANSPORT_MEMORY ? conn->out.bytes > 0
                                                    : conn->socket.full;
}

/* Sends a patch, never compressed: that would cost more than all the rest. */
static enum sync_sent send_patch(struct conn *conn, uint8_t form,
                                 const struct bytes *patch) {
    struct frame frame;
    uint8_t wire = form == SYNC_FORM_BINARY ? WIRE_TEXT : conn->wire;
    if (patch->length > wire_longest(wire)) {
        return SYNC_TOO_LONG;
    }
    wire_frame(wire, patch->length, form == SYNC_FORM_JSON, &frame);
    return output_send(conn, &frame, patch->at, patch->length, NULL);
}

int32_t sync_is_behind(struct sync *sync, uint32_t slot) {
    struct conn *conn = core_conn(core_of(sync), slot);
    return !conn || is_behind(conn);
}

int32_t sync_state_patch(struct sync *sync, struct sync_state *state, double tick) {
    int32_t found = sync_state_compare(state);
    for (uint32_t i = 1; i < state->member_capacity; i++) {
        struct member *member = &state->members[i];
        struct conn *conn = member->used ? core_conn(core_of(sync), member->slot) : NULL;
        if (conn && !member->bounded) {
            member->bounded = true;
            if (conn->socket.fd >= 0) {
                socket_bound_unsent(&conn->socket, MOST_UNSENT);
            }
        }
        if (conn && !is_behind(conn)) {
            const struct bytes *patch = state_write(state, member, tick);
            enum sync_sent sent =
                patch ? send_patch(conn, member->form, patch) : SYNC_SENT;
            member->renew |= sent != SYNC_SENT && sent != SYNC_FULL;
            found |= sent == SYNC_TOO_LONG && found >= 0 ? SYNC_PATCH_LONG : 0;
        }
    }
    sync_state_end_patch(state);
    return found;
}

const char *sync_error_name(int32_t code) {
    return uv_err_name(code);
}

const char *sync_error_text(int32_t code) {
    return uv_strerror(code);
}

const char *sync_uv_version(void) {
    return uv_version_string();
}
