/* broadcast.c: one message to many connections.
 *
 * A large one is made once for each form in which it leaves, and sent by reference. Small
 * ones are added to a run, one for each form: the messages of a tick that many clients
 * are sent lie there one behind the other, and each client's queue has one reference to
 * all of them.
 */
#include "websocket/broadcast.h"

#include "conn/codec.h"
#include "conn/output.h"
#include "websocket/send.h"
#include "websocket/utf8.h"
#include "websocket/wire.h"

/* Messages from this size on go to many clients by reference: a copy costs more than
 * the piece that refers to it. */
enum { SHARE_FROM = 512 };

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
    struct shared *shared; /* NULL: it's copied */
    struct frame frame;
    bool in_run; /* whose reference is the core's */
    bool made;
    bool impossible; /* too long for the framing, or memory ran out */
};

_Static_assert((int)WIRE_COUNT <= (int)CORE_RUNS, "each form has its run");

enum { FORMS = 2 * WIRE_COUNT /* plain, and compressed */ };

static bool is_text(struct message *message) {
    if (!message->checked) {
        message->checked = true;
        message->text = utf8_valid(message->bytes, message->length);
    }
    return message->text;
}

static void make_form(struct core *core, struct form *form, uint8_t wire,
                      struct message *message) {
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
        return;
    }
    form->shared =
        shared_run(&core->runs[wire], frame->head, frame->head_length, message->bytes,
                   message->length, frame->tail, frame->tail_length);
    form->in_run = form->shared != NULL;
}

static void make_compressed(struct core *core, struct form *form, uint8_t wire,
                            struct message *message) {
    bool text = wire == WIRE_TEXT && is_text(message);
    form->made = true;
    form->impossible = message->length > wire_longest(wire);
    if (!form->impossible) {
        form->shared = send_compress(core, wire, text, message->bytes, message->length);
        form->impossible = form->shared == NULL;
    }
}

/* Sends a message in the form that the client takes. */
static enum sync_sent send_form(struct core *core, struct conn *conn, struct form *forms,
                                struct message *message) {
    uint8_t wire = conn->wire;
    bool compressed = wire_is_websocket(wire) && send_compresses(conn, message->length);
    if (compressed && send_is_small(conn)) {
        return send_small(conn, message->small, message->bytes, message->length);
    }
    struct form *form = &forms[compressed ? WIRE_COUNT + wire : wire];
    if (!form->made && compressed) {
        make_compressed(core, form, wire, message);
    } else if (!form->made) {
        make_form(core, form, wire, message);
    }
    if (form->impossible) {
        return SYNC_TOO_LONG;
    }
    if (compressed) {
        send_was_shared(conn);
    }
    return output_send(conn, &form->frame, message->bytes, message->length, form->shared);
}

uint32_t broadcast(struct core *core, const uint32_t *slots, uint32_t count,
                   uint32_t except, const char *bytes, size_t length) {
    struct form forms[FORMS] = {0};
    struct small_forms small;
    small.used = false;
    struct message message = {.small = &small,
                              .bytes = bytes,
                              .length = length,
                              .share = length >= SHARE_FROM && length <= UINT32_MAX - 64};
    uint32_t sent = 0;
    uint32_t followed = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct conn *conn = core_conn(core, slots[i]);
        if (conn && slots[i] != except) {
            const struct form *form = &forms[conn->wire];
            uint32_t from = conn_options(conn)->compress_from; /* 0: never */
            if (form->in_run && length - 1 < (size_t)from - 1 &&
                output_follows(conn, form->shared)) {
                followed++;
                continue;
            }
            enum sync_sent result = send_form(core, conn, forms, &message);
            sent += result == SYNC_SENT || result == SYNC_FULL;
        }
    }
    for (int i = 0; i < FORMS; i++) {
        if (forms[i].shared && !forms[i].in_run) {
            shared_release(forms[i].shared);
        }
    }
    if (small.used) {
        send_release_small(&small);
    }
    core->public.messages_out += followed;
    return sent + followed;
}

void broadcast_trim(struct core *core) {
    for (int i = 0; i < CORE_RUNS; i++) {
        if (core->runs[i]) {
            shared_release(core->runs[i]);
            core->runs[i] = NULL;
        }
    }
}
