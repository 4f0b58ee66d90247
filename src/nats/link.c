/* link.c: see link.h. */
#include "link.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void link_wake(struct link *link) {
    uint64_t one = 1;
    ssize_t written = write(link->wake, &one, sizeof(one));
    (void)written; /* it only fails when it is awake already */
}

void link_tell(struct link *link, char type, uint32_t number, const char *text,
               size_t text_length, const void *bytes, size_t length) {
    size_t size = FRAME_HEAD + text_length + length;
    pthread_mutex_lock(&link->mutex);
    struct buffer *filling = &link->filling;
    bool first = filling->used == 0;
    bool may_drop = type == 'M' || type == 'E';
    if ((may_drop && filling->used + size > link->options.most_waiting) ||
        !buffer_reserve(filling, size)) {
        link->lost += type == 'M';
    } else {
        char head[FRAME_HEAD];
        put32(head, (uint32_t)(size - 4));
        head[4] = type;
        put32(head + 5, number);
        buffer_put(filling, head, sizeof(head));
        buffer_put(filling, text, text_length);
        buffer_put(filling, bytes, length);
    }
    pthread_mutex_unlock(&link->mutex);
    if (first) {
        link_wake(link);
    }
}

void link_tell_text(struct link *link, char type, const char *text) {
    link_tell(link, type, 0, text, strlen(text), NULL, 0);
}

void link_count_lost(struct link *link, uint32_t count) {
    pthread_mutex_lock(&link->mutex);
    link->lost += count;
    pthread_mutex_unlock(&link->mutex);
}

void link_end(struct link *link) {
    pthread_mutex_lock(&link->mutex);
    link->ended = true;
    pthread_mutex_unlock(&link->mutex);
    link_wake(link);
}

void link_release(struct link *link) {
    if (atomic_fetch_sub(&link->references, 1) > 1) {
        return;
    }
    free((char *)link->options.servers);
    free((char *)link->options.user);
    free((char *)link->options.password);
    free((char *)link->options.token);
    free((char *)link->options.authority);
    free(link->commands.bytes);
    free(link->leaving.bytes);
    free(link->filling.bytes);
    free(link->subscriptions);
    if (link->wake >= 0) {
        close(link->wake);
    }
    pthread_mutex_destroy(&link->mutex);
    free(link);
}
