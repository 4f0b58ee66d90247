/* cores.c: how much of the machine this process may use. */
#include "net/cores.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

enum { PATH = 1024, TEXT = 4096 };

/* The beginning of a file, or an empty text. */
static void read_text(const char *path, char *text, size_t size) {
    FILE *file = fopen(path, "re");
    size_t length = file ? fread(text, 1, size - 1, file) : 0;
    text[length] = '\0';
    if (file) {
        fclose(file);
    }
}

/* What stands in the file of a group: "200000 100000", or "max 100000". */
static double quota_of(const char *folder) {
    char path[PATH];
    char text[64];
    double quota;
    double period;
    snprintf(path, sizeof(path), "%s/cpu.max", folder);
    read_text(path, text, sizeof(text));
    return sscanf(text, "%lf %lf", &quota, &period) == 2 && quota > 0 && period > 0
               ? quota / period
               : HUGE_VAL;
}

/* The older groups have a file for each of both. */
static double old_quota_of(const char *folder) {
    char path[PATH];
    char text[64];
    double quota = 0;
    double period = 0;
    snprintf(path, sizeof(path), "%s/cpu.cfs_quota_us", folder);
    read_text(path, text, sizeof(text));
    sscanf(text, "%lf", &quota);
    snprintf(path, sizeof(path), "%s/cpu.cfs_period_us", folder);
    read_text(path, text, sizeof(text));
    sscanf(text, "%lf", &period);
    return quota > 0 && period > 0 ? quota / period : HUGE_VAL;
}

/* Of a group and of those around it: "/a/b", "/a", "". */
static double least(const char *root, const char *group, double (*quota)(const char *)) {
    char folder[PATH / 2];
    int length = snprintf(folder, sizeof(folder), "%s%.*s", root,
                          (int)strcspn(group, "\n"), group);
    double found = HUGE_VAL;
    if (length < 0 || (size_t)length >= sizeof(folder)) {
        return found;
    }
    for (char *end = folder + length; end && end >= folder + strlen(root);
         end = strrchr(folder, '/')) {
        *end = '\0';
        found = fmin(found, quota(folder));
    }
    return found;
}

double cores_quota(const char *root, const char *groups) {
    char old_root[PATH / 4];
    const char *group = strstr(groups, "0::/");
    const char *old = strstr(groups, "cpu,cpuacct:/");
    snprintf(old_root, sizeof(old_root), "%s/cpu", root);
    double found = HUGE_VAL;
    if (group && (group == groups || group[-1] == '\n')) {
        found = least(root, group + strlen("0::"), quota_of);
    }
    if (old) {
        found = fmin(found, least(old_root, old + strlen("cpu,cpuacct:"), old_quota_of));
    }
    return found;
}

uint32_t cores_usable(void) {
    char groups[TEXT];
    read_text("/proc/self/cgroup", groups, sizeof(groups));
    double quota = cores_quota("/sys/fs/cgroup", groups);
    uint32_t cores = uv_available_parallelism();
    if (quota < cores) {
        cores = (uint32_t)quota;
    }
    return cores > 0 ? cores : 1;
}
