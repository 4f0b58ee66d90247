/* carry_fuzz.c: a connection of the process before, of any bytes. It's none, or one that
 * lives, takes what comes, and can be handed over again. */
#include <stdbool.h>
#include <stdint.h>

#include "core/core.h"
#include "fuzz.h"
#include "listen/listener.h"
#include "sync.h"
#include "upgrade/carry.h"

static struct sync *sync_core;
static uint32_t listener;

static void open_core(void) {
    struct sync_options options = {
        .framing = SYNC_FRAMING_NULL,
        .transports = SYNC_STREAMS | SYNC_WEBSOCKET | SYNC_HTTP | SYNC_POLICY,
        .max_message = 300,
        .max_queue = 65536,
        .high_water = 32768,
        .max_clients = 100,
        .max_head = 1000,
        .max_headers = 10,
        .max_body = 100,
    };
    sync_core = sync_open();
    FUZZ_REQUIRE(sync_core != NULL);
    int32_t id = sync_listen(sync_core, "memory:", 0, &options);
    FUZZ_REQUIRE(id > 0);
    listener = (uint32_t)id;
}

static void tick(void) {
    sync_poll(sync_core, 0);
    sync_flush(sync_core);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    static const char more[] = "\x81\x85\0\0\0\0hello\0GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    if (!sync_core) {
        open_core();
    }
    struct core *core = core_of(sync_core);
    struct service *service = &listener_find(core, listener)->service;
    int slot = carry_in(service, -1, (const char *)bytes, length);
    tick();
    if (slot > 0 && core_conn(core, (uint32_t)slot)) {
        struct record record = {0};
        sync_memory_feed(sync_core, (uint32_t)slot, more, sizeof(more));
        tick();
        struct conn *conn = core_conn(core, (uint32_t)slot);
        if (conn && carry_may(conn)) {
            carry_out(conn, &record);
        }
        record_clear(&record);
        sync_let_go(sync_core, NULL, (uint32_t)slot);
    }
    tick();
    tick();
    FUZZ_REQUIRE(sync_core->client_count == 0);
    return 0;
}
