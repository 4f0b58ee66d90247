/* shares.c: how many clients each worker has, in memory that all of them share.
 *
 * Several processes read and write it; a value that is a moment old does no harm.
 */
#include "workers/shares.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SHARE_SLACK = 8 }; /* an eighth more than the least busy one's clients is even */

int shares_map(struct core *core, int fd, uint32_t count, uint32_t own) {
    void *shares = mmap(NULL, count * sizeof(*core->shares), PROT_READ | PROT_WRITE,
                        MAP_SHARED, fd, 0);
    if (shares == MAP_FAILED) {
        return -errno;
    }
    core->shares = shares;
    core->share_count = count;
    core->share = own;
    return 0;
}

int shares_new(struct core *core, uint32_t count) {
    int fd = memfd_create("sync-workers", MFD_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int error = ftruncate(fd, (off_t)(count * sizeof(*core->shares))) < 0 ? -errno : 0;
    if (error == 0) {
        error = shares_map(core, fd, count, count);
    }
    if (error < 0) {
        close(fd);
        return error;
    }
    core->shares_fd = fd;
    for (uint32_t i = 1; i <= count; i++) {
        shares_leave(core, i);
    }
    return 0;
}

int shares_go_on(struct core *core, int fd, uint32_t count) {
    int error = shares_map(core, fd, count, count);
    if (error < 0) {
        close(fd);
        return error;
    }
    core->shares_fd = fd;
    return 0;
}

void shares_leave(struct core *core, uint32_t number) {
    if (core->shares && number >= 1 && number <= core->share_count) {
        __atomic_store_n(&core->shares[number - 1], UINT32_MAX, __ATOMIC_RELAXED);
    }
}

void shares_tell(struct core *core) {
    if (core->shares && core->share < core->share_count) {
        uint32_t count = core->draining ? UINT32_MAX : core->public.client_count;
        __atomic_store_n(&core->shares[core->share], count, __ATOMIC_RELAXED);
    }
}

uint32_t shares_least(const struct core *core) {
    uint32_t least = UINT32_MAX;
    for (uint32_t i = 0; i < core->share_count; i++) {
        uint32_t theirs = __atomic_load_n(&core->shares[i], __ATOMIC_RELAXED);
        least = theirs < least ? theirs : least;
    }
    return least;
}

bool shares_is_busier(const struct core *core) {
    uint64_t least = shares_least(core);
    return core->public.client_count > least + least / SHARE_SLACK;
}

void shares_free(struct core *core) {
    if (core->shares) {
        munmap(core->shares, core->share_count * sizeof(*core->shares));
        core->shares = NULL;
        core->share_count = 0;
    }
    if (core->shares_fd > 0) {
        close(core->shares_fd);
        core->shares_fd = 0;
    }
}
