/* engine.c: libcurl's transfers on the loop. */
#include "fetch/engine.h"

#include <stdlib.h>

#include "fetch/library.h"

enum {
    LOOK_EVERY = 100, /* ms */
    KEPT = 32         /* connections for later requests */
};

/* One of libcurl's sockets. */
struct link {
    uv_poll_t poll;
    struct engine *engine;
    struct link *next;
    struct link **place;
    int fd;
};

struct engine {
    struct core *core;
    struct engine_calls calls;
    void *multi;
    struct link *links;
    uv_timer_t timer; /* libcurl's */
    uv_timer_t clock;
    uv_timer_t kick;
    uint32_t closing; /* handles that are to be closed yet */
};

static void take_messages(struct engine *engine) {
    struct curl_message *message;
    int left;
    while ((message = curl_call.multi_info_read(engine->multi, &left))) {
        if (message->what == CURL_DONE) {
            engine->calls.ended(message->easy, message->data.code);
        }
    }
}

static void act(struct engine *engine, int fd, int ready) {
    int running;
    curl_call.multi_socket_action(engine->multi, fd, ready, &running);
    take_messages(engine);
}

static void on_ready(uv_poll_t *handle, int status, int events) {
    struct link *link = handle->data;
    int ready = status < 0 ? CURL_READY_ERROR : 0;
    ready |= events & UV_READABLE ? CURL_READY_IN : 0;
    ready |= events & UV_WRITABLE ? CURL_READY_OUT : 0;
    act(link->engine, link->fd, ready);
}

static void on_timer(uv_timer_t *handle) {
    act(handle->data, CURL_TIMEOUT_SOCKET, 0);
}

static int set_timer(void *multi, long milliseconds, void *data) {
    struct engine *engine = data;
    (void)multi;
    if (milliseconds < 0) {
        return uv_timer_stop(&engine->timer);
    }
    uv_update_time(&engine->core->loop); /* else it counts from when the tick began */
    return uv_timer_start(&engine->timer, on_timer, (uint64_t)milliseconds, 0);
}

static void on_link_closed(uv_handle_t *handle) {
    free(handle->data);
}

static void unlink_socket(struct link *link) {
    *link->place = link->next;
    if (link->next) {
        link->next->place = link->place;
    }
    uv_close((uv_handle_t *)&link->poll, on_link_closed);
}

static struct link *link_socket(struct engine *engine, int fd) {
    struct link *link = calloc(1, sizeof(*link));
    if (!link || uv_poll_init(&engine->core->loop, &link->poll, fd) < 0) {
        free(link); /* the transfer runs into its time limit */
        return NULL;
    }
    uv_unref((uv_handle_t *)&link->poll);
    link->poll.data = link;
    link->engine = engine;
    link->fd = fd;
    link->next = engine->links;
    link->place = &engine->links;
    if (link->next) {
        link->next->place = &link->next;
    }
    engine->links = link;
    curl_call.multi_assign(engine->multi, fd, link);
    return link;
}

static int set_socket(void *easy, int fd, int what, void *data, void *assigned) {
    struct engine *engine = data;
    struct link *link = assigned;
    (void)easy;
    if (what == CURL_WAITS_NO_MORE) {
        if (link) {
            curl_call.multi_assign(engine->multi, fd, NULL);
            unlink_socket(link);
        }
        return 0;
    }
    link = link ? link : link_socket(engine, fd);
    int events = (what & CURL_WAITS_IN ? UV_READABLE : 0) |
                 (what & CURL_WAITS_OUT ? UV_WRITABLE : 0);
    if (link) {
        uv_poll_start(&link->poll, events, on_ready);
    }
    return 0;
}

static void on_clock(uv_timer_t *handle) {
    struct engine *engine = handle->data;
    engine->calls.look(engine->calls.data);
}

static void open_timer(struct engine *engine, uv_timer_t *timer) {
    uv_timer_init(&engine->core->loop, timer);
    timer->data = engine;
}

struct engine *engine_open(struct core *core, const struct engine_calls *calls) {
    struct engine *engine = calloc(1, sizeof(*engine));
    void *multi = engine ? curl_call.multi_init() : NULL;
    if (!multi) {
        free(engine);
        return NULL;
    }
    engine->core = core;
    engine->calls = *calls;
    engine->multi = multi;
    open_timer(engine, &engine->timer);
    open_timer(engine, &engine->clock);
    open_timer(engine, &engine->kick);
    uv_unref((uv_handle_t *)&engine->timer);
    curl_call.multi_setopt(multi, CURL_SOCKET_FUNCTION, set_socket);
    curl_call.multi_setopt(multi, CURL_SOCKET_DATA, engine);
    curl_call.multi_setopt(multi, CURL_TIMER_FUNCTION, set_timer);
    curl_call.multi_setopt(multi, CURL_TIMER_DATA, engine);
    curl_call.multi_setopt(multi, CURL_MOST_CONNECTIONS, (long)KEPT);
    return engine;
}

static void on_closed(uv_handle_t *handle) {
    struct engine *engine = handle->data;
    if (--engine->closing == 0) {
        free(engine);
    }
}

void engine_close(struct engine *engine, bool leave) {
    if (!leave) {
        curl_call.multi_cleanup(engine->multi); /* it unlinks its sockets */
    }
    while (engine->links) {
        unlink_socket(engine->links);
    }
    engine->closing = 3;
    uv_close((uv_handle_t *)&engine->timer, on_closed);
    uv_close((uv_handle_t *)&engine->clock, on_closed);
    uv_close((uv_handle_t *)&engine->kick, on_closed);
}

bool engine_add(struct engine *engine, void *easy) {
    return curl_call.multi_add_handle(engine->multi, easy) == CURL_OK;
}

void engine_remove(struct engine *engine, void *easy) {
    curl_call.multi_remove_handle(engine->multi, easy);
}

void engine_watch_time(struct engine *engine, bool on) {
    if (!on) {
        uv_timer_stop(&engine->clock);
    } else if (!uv_is_active((uv_handle_t *)&engine->clock)) {
        uv_timer_start(&engine->clock, on_clock, LOOK_EVERY, LOOK_EVERY);
    }
}

void engine_kick(struct engine *engine) {
    uv_timer_start(&engine->kick, on_clock, 0, 0);
}
