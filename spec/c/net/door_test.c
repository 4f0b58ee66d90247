/* door_test.c: who is let in by the door, and what stands in its way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "client.h"
#include "test.h"

/* A folder that isn't there yet, within one of this test's. */
static const char *new_folder(char *base) {
    static char path[80];
    if (!mkdtemp(base)) {
        return NULL;
    }
    snprintf(path, sizeof(path), "%s/door", base);
    return path;
}

static const char *socket_in(const char *folder) {
    static char path[100];
    snprintf(path, sizeof(path), "%s/1.sock", folder);
    return path;
}

static unsigned mode_of(const char *path) {
    struct stat found = {0};
    return stat(path, &found) < 0 ? 0 : found.st_mode & 0777;
}

TEST(door_lets_its_owner_in_and_says_who_it_is) {
    char base[] = "/tmp/sync-door-XXXXXX";
    const char *folder = new_folder(base);
    REQUIRE(folder);
    const char *path = socket_in(folder);
    int32_t door = sync_door_open(folder, path);
    REQUIRE(door >= 0);
    CHECK_INT(mode_of(folder), 0700);
    CHECK_INT(mode_of(path), 0600);
    struct sync_visitor visitor;
    CHECK_INT(sync_door_accept(door, &visitor), UV_EAGAIN);
    int fd = client_connect_unix(path);
    REQUIRE(fd >= 0);
    int32_t inside = sync_door_accept(door, &visitor);
    CHECK(inside >= 0);
    CHECK_INT(visitor.user, geteuid());
    CHECK_INT(visitor.process, getpid());
    CHECK_INT(sync_door_owner(visitor.process), geteuid());
    sync_door_refuse(inside);
    close(fd);
    CHECK_INT(sync_door_open(folder, path), UV_EADDRINUSE);
    sync_door_close(door, path);
    CHECK_INT(mode_of(path), 0);
    rmdir(folder);
    rmdir(base);
}

TEST(door_is_in_no_folder_that_others_may_enter) {
    char base[] = "/tmp/sync-door-XXXXXX";
    const char *folder = new_folder(base);
    REQUIRE(folder);
    REQUIRE(mkdir(folder, 0700) == 0 && chmod(folder, 0750) == 0);
    const char *path = socket_in(folder);
    CHECK_INT(sync_door_open(folder, path), UV_EPERM);
    CHECK_INT(mode_of(path), 0);
    rmdir(folder);
    REQUIRE(symlink(base, folder) == 0); /* somebody else may have made it */
    CHECK_INT(sync_door_open(folder, path), UV_EPERM);
    unlink(folder);
    rmdir(base);
}

TEST(door_takes_the_place_of_one_whose_process_is_gone) {
    char base[] = "/tmp/sync-door-XXXXXX";
    const char *folder = new_folder(base);
    REQUIRE(folder);
    const char *path = socket_in(folder);
    int32_t dead = sync_door_open(folder, path);
    REQUIRE(dead >= 0);
    close(dead);
    int32_t door = sync_door_open(folder, path);
    CHECK(door >= 0);
    sync_door_close(door, path);
    rmdir(folder);
    rmdir(base);
}
