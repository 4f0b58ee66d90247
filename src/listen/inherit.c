/* inherit.c: listening sockets that this process has from the one before. */
#include "listen/inherit.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_meant(const struct inherited *inherited, const char *host, uint32_t port) {
    bool any = strcmp(inherited->host, INHERITED_ANY_HOST) == 0 &&
               strncmp(host, "unix:", 5) != 0 && strcmp(host, "memory:") != 0;
    return inherited->port == port && (any || strcmp(inherited->host, host) == 0);
}

struct inherited *inherit_take(struct core *core, const char *host, uint32_t port) {
    struct inherited **link = &core->inherited;
    while (*link && !is_meant(*link, host, port)) {
        link = &(*link)->next;
    }
    struct inherited *found = *link;
    if (found) {
        *link = found->next;
    }
    return found;
}

int inherit_add(struct core *core, const char *host, uint32_t port, const int *fds,
                uint32_t count) {
    struct inherited *inherited = calloc(1, sizeof(*inherited) + strlen(host) + 1);
    if (!inherited) {
        return UV_ENOMEM;
    }
    memcpy(inherited->host, host, strlen(host) + 1);
    inherited->port = port;
    inherited->count = count;
    for (uint32_t i = 0; i < count; i++) {
        bool is_unix = strncmp(host, "unix:", 5) == 0;
        inherited->fds[i] = fds[i];
        inherited->transports[i] = is_unix ? SYNC_TRANSPORT_UNIX : SYNC_TRANSPORT_TCP;
    }
    struct inherited **last = &core->inherited; /* in the order in which they come */
    while (*last) {
        last = &(*last)->next;
    }
    *last = inherited;
    return 0;
}

uint32_t inherit_close(struct core *core) {
    uint32_t count = 0;
    while (core->inherited) {
        struct inherited *first = core->inherited;
        core->inherited = first->next;
        for (uint32_t i = 0; i < first->count; i++) {
            close(first->fds[i]);
        }
        free(first);
        count++;
    }
    return count;
}
