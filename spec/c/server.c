/* server.c: a core under test, and all that it said. */
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

struct sync_options server_options(uint32_t framing) {
    return (struct sync_options){
        .framing = framing,
        .max_message = 64 * 1024,
        .max_queue = 1024 * 1024,
        .high_water = 512 * 1024,
        .max_clients = 100000,
        .backlog = 4096,
    };
}

static uint32_t asked_threads;

bool server_use_threads(uint32_t count) {
    bool works = sync_choose_io(count ? "uring" : "auto") == 0 &&
                 sync_choose_io_threads(count) == 0;
    if (!works) {
        printf("  left out: %s\n", sync_io_why());
    }
    asked_threads = works ? count : 0;
    return works;
}

void server_open(struct server *server) {
    const char *io = getenv("SYNC_IO");
    if (io && !asked_threads && sync_choose_io(io) < 0) {
        printf("SYNC_IO=%s: no such way to the kernel works here\n", io);
        abort();
    }
    const char *threads = getenv("SYNC_IO_THREADS");
    if (threads && !asked_threads &&
        sync_choose_io_threads((uint32_t)atoi(threads)) < 0) {
        printf("SYNC_IO_THREADS=%s: %s\n", threads, sync_io_why());
        abort();
    }
    *server = (struct server){.sync = sync_open()};
    if (!server->sync) {
        abort();
    }
}

void server_forget(struct server *server) {
    for (size_t i = 0; i < server->count; i++) {
        free(server->seen[i].data);
    }
    server->count = 0;
}

void server_close(struct server *server) {
    sync_close(server->sync);
    server_forget(server);
    free(server->seen);
    *server = (struct server){0};
}

static void record(struct server *server, const struct sync_event *event) {
    if (server->count == server->capacity) {
        server->capacity = server->capacity ? 2 * server->capacity : 64;
        server->seen = realloc(server->seen, server->capacity * sizeof(*server->seen));
        if (!server->seen) {
            abort();
        }
    }
    struct seen *seen = &server->seen[server->count++];
    *seen = (struct seen){server->ticks, event->type,   event->id,
                          event->value,  event->length, NULL};
    if (event->length > 0) {
        seen->data = malloc(event->length);
        if (!seen->data) {
            abort();
        }
        memcpy(seen->data, event->data, event->length);
    }
}

int32_t server_tick(struct server *server, bool block) {
    int32_t count = sync_poll(server->sync, block);
    server->ticks++;
    for (int32_t i = 0; i < count; i++) {
        /* A copy, as the batch may move while the handler runs. */
        struct sync_event event = server->sync->events[i];
        if (event.type == SYNC_TIMER && event.id == server->bound) {
            server->in_vain = true;
            server->bound = 0;
            continue;
        }
        /* The watchdog looks at it. */
        __atomic_store_n(&server->sync->cursor, i + 1, __ATOMIC_RELAXED);
        record(server, &event);
        if (server->handle) {
            server->handle(server, &event);
        }
    }
    sync_flush(server->sync);
    return count;
}

uint32_t server_listen(struct server *server, const struct sync_options *options) {
    int32_t id = sync_listen(server->sync, "127.0.0.1", 0, options);
    return id > 0 ? sync_listener_port(server->sync, (uint32_t)id) : 0;
}

uint32_t server_memory(struct server *server, const struct sync_options *options,
                       uint32_t count) {
    int32_t id = sync_listen(server->sync, "memory:", 0, options);
    if (id < 0) {
        abort();
    }
    for (uint32_t i = 0; i < count; i++) {
        if (sync_memory_connect(server->sync, (uint32_t)id) != (int32_t)i + 1) {
            abort();
        }
    }
    if (count > 0) {
        server_tick(server, false);
    }
    return (uint32_t)id;
}

void server_settle(struct server *server) {
    while (server_tick(server, false) > 0) {
    }
}

uint32_t server_saw(const struct server *server, uint32_t type, uint32_t id) {
    uint32_t count = 0;
    for (size_t i = 0; i < server->count; i++) {
        const struct seen *seen = &server->seen[i];
        count += seen->type == type && (id == 0 || seen->id == id);
    }
    return count;
}

const struct seen *server_find(const struct server *server, uint32_t type, uint32_t id) {
    for (size_t i = 0; i < server->count; i++) {
        const struct seen *seen = &server->seen[i];
        if (seen->type == type && (id == 0 || seen->id == id)) {
            return seen;
        }
    }
    return NULL;
}

uint32_t server_close_reason(const struct server *server, uint32_t slot) {
    const struct seen *seen = server_find(server, SYNC_CLOSE, slot);
    return seen ? seen->value : 0;
}

const char *server_messages(const struct server *server, uint32_t slot, char end,
                            size_t *length) {
    static char *text;
    size_t size = 0;
    for (size_t i = 0; i < server->count; i++) {
        size += server->seen[i].length + 1;
    }
    free(text);
    text = malloc(size + 1);
    if (!text) {
        abort();
    }
    *length = 0;
    for (size_t i = 0; i < server->count; i++) {
        const struct seen *seen = &server->seen[i];
        if (seen->type == SYNC_DATA && seen->id == slot) {
            if (seen->length > 0) {
                memcpy(text + *length, seen->data, seen->length);
                *length += seen->length;
            }
            if (end) {
                text[(*length)++] = end;
            }
        }
    }
    text[*length] = '\0';
    return text;
}

void server_echo(struct server *server, const struct sync_event *event) {
    if (event->type == SYNC_DATA) {
        if (event->value & SYNC_KIND_TURNS) {
            sync_turn(server->sync, event->id, event->value & 3);
        }
        sync_send(server->sync, event->id, event->data, event->length);
    }
}

uint32_t server_take(struct server *server, uint32_t slot, char *bytes, uint32_t size) {
    return sync_memory_take(server->sync, slot, bytes, size);
}

void server_wait_begin(struct server *server) {
    server->in_vain = false;
    int32_t id = sync_timer_start(server->sync, WAIT_MS, 0);
    server->bound = id > 0 ? (uint32_t)id : 0;
}

bool server_wait_tick(struct server *server) {
    return server_tick(server, true) >= 0 && !server->in_vain;
}

void server_wait_end(struct server *server) {
    if (server->bound) {
        sync_timer_stop(server->sync, server->bound);
        server->bound = 0;
    }
}

void server_wait_left(struct server *server, uint32_t count) {
    double until = sync_now() + WAIT_MS / 1000.0;
    while (server->sync->client_count > count && sync_now() < until) {
        server_tick(server, false);
    }
    CHECK_INT(server->sync->client_count, count);
}

void server_wait_gone(struct server *server) {
    server_wait_left(server, 0);
}

void server_feed(struct server *server, uint32_t slot, const char *bytes, size_t length) {
    uint32_t stuck = 0;
    while (length > 0 && stuck < 1000) {
        uint32_t part = length < 1000000 ? (uint32_t)length : 1000000;
        uint32_t taken = sync_memory_feed(server->sync, slot, bytes, part);
        bytes += taken;
        length -= taken;
        stuck = taken ? 0 : stuck + 1;
        if (length > 0) {
            server_tick(server, false);
        }
    }
    CHECK(stuck < 1000);
}

uint32_t server_open_echo(struct server *server, const char *host, uint32_t framing) {
    struct sync_options options = server_options(framing);
    options.close_timeout = 5000;
    server_open(server);
    server->handle = server_echo;
    int32_t id = sync_listen(server->sync, host, 0, &options);
    CHECK(id > 0);
    return id > 0 ? sync_listener_port(server->sync, (uint32_t)id) : 0;
}
