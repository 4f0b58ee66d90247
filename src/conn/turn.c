/* turn.c: the lists in which a connection waits for its turn. */
#include "conn/turn.h"

void turn_owe(struct conn *conn) {
    struct core *core = conn->core;
    if (!conn->in_owing) {
        conn->in_owing = true;
        conn->next_owing = core->owing;
        core->owing = conn;
        core_wake(core);
    }
}

void turn_wait(struct conn *conn) {
    struct core *core = conn->core;
    if (!conn->in_ready) {
        conn->in_ready = true;
        conn->next_ready = NULL;
        *core->ready_end = conn;
        core->ready_end = &conn->next_ready;
    }
}

/* Who was sent something first is written first, but for connections that lead: what
 * other processes must know mustn't wait for the writes to this one's clients, who may
 * have got what nobody else knows of when the process dies between. */
void turn_write_first(struct conn *conn) {
    struct core *core = conn->core;
    bool leads = conn_options(conn)->leads;
    conn->in_unflushed = true;
    conn->next_unflushed = leads ? core->unflushed : NULL;
    if (leads && core->unflushed) {
        core->unflushed = conn;
        return;
    }
    if (core->unflushed) {
        core->last_unflushed->next_unflushed = conn;
    } else {
        core->unflushed = conn;
    }
    core->last_unflushed = conn;
}
