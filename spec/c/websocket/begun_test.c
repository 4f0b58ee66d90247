/* When the time of a WebSocket's message begins. */
#include "conn/conn.h"
#include "core/core.h"
#include "server.h"
#include "test.h"

static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
                              "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

static void handle(struct server *server, const struct sync_event *event) {
    struct sync_websocket settings = {0};
    if (event->type == SYNC_REQUEST) {
        CHECK_INT(sync_upgrade(server->sync, event->id, "\r\n", 2, &settings), SYNC_SENT);
    }
}

static const struct conn *open_websocket(struct server *server) {
    struct sync_options options = server_options(SYNC_FRAMING_NULL);
    options.transports = SYNC_STREAMS | SYNC_HTTP | SYNC_WEBSOCKET;
    options.max_head = 8192;
    options.max_headers = 64;
    options.message_timeout = 60000;
    server_open(server);
    server->handle = handle;
    int32_t listener = sync_listen(server->sync, "memory:", 0, &options);
    CHECK(listener > 0);
    int32_t slot = sync_memory_connect(server->sync, (uint32_t)listener);
    server_feed(server, (uint32_t)slot, request, sizeof(request) - 1);
    server_settle(server);
    return core_conn(core_of(server->sync), (uint32_t)slot);
}

/* Each read ends one and begins another; texts of four zeros. */
TEST(websocket_message_has_its_time_from_when_it_was_begun) {
    static const char bytes[] = "skmask\x81\x84ma";
    struct server server;
    const struct conn *conn = open_websocket(&server);
    const struct core *core = conn->core;
    for (int i = 0; i < 3; i++) {
        uint32_t before = core_now(core);
        while (core_now(core) <= before) {
            server_tick(&server, false);
        }
        server_feed(&server, conn->slot, bytes + (i ? 0 : 6), i ? 10 : 4);
        server_settle(&server);
        CHECK(conn->unfinished);
        CHECK(conn->since > before);
    }
    server_feed(&server, conn->slot, bytes, 6);
    server_settle(&server);
    CHECK(!conn->unfinished);
    CHECK_INT(server_saw(&server, SYNC_DATA, conn->slot), 3);
    server_close(&server);
}
