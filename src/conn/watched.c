/* watched.c: see watched.h. */
#include "conn/watched.h"

#include <stdio.h>
#include <string.h>

#include "conn/conn.h"
#include "core/finding.h"

void watched_describe(struct core *core, uint32_t slot, struct watched_client *client) {
    const struct conn *conn = core_conn(core, slot);
    if (!conn) {
        return;
    }
    if (conn->service->name) {
        memccpy(client->class, conn->service->name, 0, sizeof(client->class) - 1);
    }
    client->port = conn_address(conn, client->address, sizeof(client->address));
    client->name = conn->name ? core->names + conn->name : 0;
}

/* Which event has taken the time is known of one that was alone, and where the watchdog
 * has seen it. */
void watched_tick(struct core *core, double seconds) {
    struct finding finding;
    struct sync *sync = &core->public;
    if (seconds <= sync->longest_tick) {
        return;
    }
    sync->longest_tick = seconds;
    int32_t which = sync->event_count == 1 ? 1 : watchdog_dwelt(core);
    if (which < 1 || (uint32_t)which > sync->event_count) {
        snprintf(core->longest_handler, sizeof(core->longest_handler), "%u events",
                 sync->event_count);
        return;
    }
    finding_note(&finding, core, which, watched_describe);
    finding_name(&finding, core->longest_handler, sizeof(core->longest_handler));
}
