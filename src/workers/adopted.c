/* adopted.c: children that the program before has started. */
#include "workers/adopted.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "workers/spawn.h"

struct adopted {
    struct adopted *next;
    int32_t process;
};

struct orphanage {
    uv_signal_t signal;
    struct core *core;
    struct adopted *first;
};

static void on_closed(uv_handle_t *handle) {
    free(handle->data);
}

static void close_if_empty(struct orphanage *all) {
    if (!all->first) {
        all->core->adopted = NULL;
        uv_close((uv_handle_t *)&all->signal, on_closed);
    }
}

/* Looks which have ended: several that do may be told by one signal. */
static void on_child(uv_signal_t *signal, int number) {
    (void)number;
    struct orphanage *all = signal->data;
    for (struct adopted **link = &all->first; *link;) {
        struct adopted *child = *link;
        int status;
        if (waitpid(child->process, &status, WNOHANG) == child->process) {
            *link = child->next;
            spawn_ended(all->core, child->process, WEXITSTATUS(status),
                        WIFSIGNALED(status) ? WTERMSIG(status) : 0);
            free(child);
        } else {
            link = &child->next;
        }
    }
    close_if_empty(all);
}

static struct orphanage *open_orphanage(struct core *core) {
    struct orphanage *all = calloc(1, sizeof(*all));
    if (all) {
        uv_signal_init(&core->loop, &all->signal);
        all->signal.data = all;
        all->core = core;
        core->adopted = all;
        uv_signal_start(&all->signal, on_child, SIGCHLD);
    }
    return all;
}

int adopted_add(struct core *core, int32_t process) {
    struct adopted *child = calloc(1, sizeof(*child));
    struct orphanage *all = core->adopted ? core->adopted : open_orphanage(core);
    if (!child || !all || batch_reserve(&core->batch, 1) < 0) {
        free(child);
        return UV_ENOMEM;
    }
    *child = (struct adopted){all->first, process};
    all->first = child;
    kill(getpid(), SIGCHLD); /* it may have ended while nobody looked */
    return 0;
}

void adopted_forget_all(struct core *core) {
    struct orphanage *all = core->adopted;
    if (!all) {
        return;
    }
    while (all->first) {
        struct adopted *child = all->first;
        all->first = child->next;
        batch_unreserve(&core->batch, 1);
        free(child);
    }
    close_if_empty(all);
}
