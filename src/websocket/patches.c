/* patches.c: what has changed in a room's state, to its members' connections. */
#include "websocket/patches.h"

#include "conn/output.h"
#include "state/state.h"
#include "websocket/wire.h"

/* Bytes that the kernel takes of a member before it has begun to send them: what waits
 * there is old when it leaves. */
enum { MOST_UNSENT = 16 * 1024 };

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

static void bound_unsent(struct member *member, struct conn *conn) {
    if (!member->bounded && conn->transport->has_socket) {
        stream_bound_unsent(&conn->stream, MOST_UNSENT);
    }
    member->bounded = true;
}

int32_t patches_send(struct core *core, struct sync_state *state, double tick) {
    int32_t found = sync_state_compare(state);
    for (uint32_t i = 1; i < state->member_capacity; i++) {
        struct member *member = &state->members[i];
        struct conn *conn = member->used ? core_conn(core, member->slot) : NULL;
        if (conn) {
            bound_unsent(member, conn);
        }
        if (conn && !output_is_behind(conn)) {
            const struct bytes *patch = state_write(state, member, tick);
            enum sync_sent sent =
                patch ? send_patch(conn, member->form, patch) : SYNC_SENT;
            member->renew |= sent != SYNC_SENT && sent != SYNC_FULL;
            found |= sent == SYNC_TOO_LONG && found >= 0 ? SYNC_PATCH_LONG : 0;
        }
    }
    sync_state_copy(state, tick);
    sync_state_end_patch(state);
    return found;
}
