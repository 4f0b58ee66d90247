/* resolve.c: host names looked up in libuv's thread pool, told as an event. */
#include "core/resolve.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>

enum {
    RESOLVE_REQUESTS = 1024, /* under way at once; more get UV_EAGAIN */
    RESOLVE_ADDRESSES = 32,  /* of one name; the rest is left out */
    ADDRESS_SIZE = 48        /* an IPv6 address and a line end */
};

struct resolution {
    uv_getaddrinfo_t request;
    struct core *core;
    struct resolution *next; /* of those under way */
    struct resolution **link;
    uint32_t id;
};

/* Writes the addresses, one a line, and returns the length. */
static size_t write_addresses(const struct addrinfo *list, char *text, size_t size) {
    size_t used = 0;
    int count = 0;
    for (; list && count < RESOLVE_ADDRESSES; list = list->ai_next, count++) {
        if (count > 0) {
            text[used++] = '\n';
        }
        if (list->ai_family == AF_INET6) {
            uv_ip6_name((struct sockaddr_in6 *)(void *)list->ai_addr, text + used,
                        size - used);
        } else {
            uv_ip4_name((struct sockaddr_in *)(void *)list->ai_addr, text + used,
                        size - used);
        }
        used += strlen(text + used);
    }
    return used;
}

static void remember(struct resolution *resolution) {
    struct core *core = resolution->core;
    resolution->next = core->resolutions;
    resolution->link = &core->resolutions;
    if (resolution->next) {
        resolution->next->link = &resolution->next;
    }
    core->resolutions = resolution;
    core->requests++;
}

static void forget(struct resolution *resolution) {
    struct core *core = resolution->core;
    *resolution->link = resolution->next;
    if (resolution->next) {
        resolution->next->link = resolution->link;
    }
    core->requests--;
    batch_unreserve(&core->batch, 1);
    free(resolution);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list) {
    struct resolution *resolution = request->data;
    struct core *core = resolution->core;
    size_t size = RESOLVE_ADDRESSES * ADDRESS_SIZE;
    char *text = status == 0 ? batch_block_new(size) : NULL;
    size_t length = 0;
    if (text) {
        batch_spend(&core->batch, text);
        length = write_addresses(list, text, size);
    } else if (status == 0) {
        status = UV_ENOMEM;
    }
    batch_push(&core->batch, SYNC_RESOLVED, resolution->id, (uint32_t)-status, text,
               length);
    uv_freeaddrinfo(list);
    forget(resolution);
}

int resolve_start(struct core *core, const char *host) {
    if (core->requests >= RESOLVE_REQUESTS) {
        return UV_EAGAIN;
    }
    struct resolution *resolution = calloc(1, sizeof(*resolution));
    if (!resolution || batch_reserve(&core->batch, 1) < 0) {
        free(resolution);
        return UV_ENOMEM;
    }
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    resolution->core = core;
    resolution->request.data = resolution;
    int error = uv_getaddrinfo(&core->loop, &resolution->request, on_resolved, host, NULL,
                               &hints);
    if (error < 0) {
        batch_unreserve(&core->batch, 1);
        free(resolution);
        return error;
    }
    remember(resolution);
    resolution->id = core_next_request(core);
    return (int)resolution->id;
}

void resolve_cancel_all(struct core *core) {
    for (struct resolution *r = core->resolutions; r; r = r->next) {
        uv_cancel((uv_req_t *)&r->request); /* one that is being looked up stays */
    }
}
