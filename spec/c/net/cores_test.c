/* What control groups let a process have of the cores. */
#include "net/cores.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

static char root[64];

static void put(const char *folder, const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof(path), "%s%s", root, folder);
    mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s%s/%s", root, folder, name);
    FILE *file = fopen(path, "we");
    CHECK(file != NULL);
    if (file) {
        fputs(text, file);
        fclose(file);
    }
}

static void take(const char *folder, const char *name) {
    char path[256];
    snprintf(path, sizeof(path), "%s%s/%s", root, folder, name);
    unlink(path);
    snprintf(path, sizeof(path), "%s%s", root, folder);
    rmdir(path);
}

static void make_root(void) {
    strcpy(root, "/tmp/cores-XXXXXX");
    CHECK(mkdtemp(root) != NULL);
}

TEST(cores_are_those_of_the_least_group_around) {
    make_root();
    put("/service", "cpu.max", "250000 100000\n");
    put("/service/own", "cpu.max", "max 100000\n");
    CHECK(cores_quota(root, "0::/service/own\n") == 2.5);
    put("/service/own", "cpu.max", "150000 100000\n");
    CHECK(cores_quota(root, "0::/service/own\n") == 1.5);
    CHECK(cores_quota(root, "0::/service\n") == 2.5);
    CHECK(cores_quota(root, "0::/\n") == HUGE_VAL);
    put("", "cpu.max", "50000 100000\n"); /* as a container sees its own */
    CHECK(cores_quota(root, "0::/\n") == 0.5);
    take("/service/own", "cpu.max");
    take("/service", "cpu.max");
    take("", "cpu.max");
}

TEST(cores_of_the_older_groups_count_too) {
    make_root();
    put("/cpu", "cpu.cfs_quota_us", "-1\n");
    put("/cpu/own", "cpu.cfs_quota_us", "300000\n");
    put("/cpu/own", "cpu.cfs_period_us", "100000\n");
    CHECK(cores_quota(root, "4:cpu,cpuacct:/own\n0::/\n") == 3);
    CHECK(cores_quota(root, "4:cpu,cpuacct:/\n") == HUGE_VAL);
    take("/cpu/own", "cpu.cfs_period_us");
    take("/cpu/own", "cpu.cfs_quota_us");
    take("/cpu", "cpu.cfs_quota_us");
    rmdir(root);
}

TEST(cores_without_groups_are_those_that_there_are) {
    CHECK(cores_quota("/nowhere", "") == HUGE_VAL);
    CHECK(cores_quota("/nowhere", "0::/a\n") == HUGE_VAL);
    CHECK(cores_usable() >= 1);
}
