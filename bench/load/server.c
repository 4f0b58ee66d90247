/* server.c: the server's CPU time and memory, as /proc shows them. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "load.h"

struct usage server_usage(int pid) {
    struct usage usage = {0};
    char path[64], text[1024] = {0};
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *file = pid > 0 ? fopen(path, "r") : NULL;
    if (!file) {
        return usage;
    }
    const char *rest = fgets(text, sizeof(text), file) ? strrchr(text, ')') : NULL;
    double user, system;
    if (rest && sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lf %lf",
                       &user, &system) == 2) {
        double tick_ns = 1e9 / (double)sysconf(_SC_CLK_TCK);
        usage.user_ns = user * tick_ns;
        usage.system_ns = system * tick_ns;
    }
    fclose(file);
    return usage;
}

/* The number behind a word at the beginning of a line. */
static double number_in(const char *path, const char *word) {
    char line[256];
    double number = 0;
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof(line), file)) {
        if (strncmp(line, word, strlen(word)) == 0) {
            sscanf(line + strlen(word), "%lf", &number);
        }
    }
    if (file) {
        fclose(file);
    }
    return number;
}

double server_rss_kib(int pid) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    return pid > 0 ? number_in(path, "VmRSS:") : 0;
}

double system_slab_kib(void) {
    return number_in("/proc/meminfo", "Slab:");
}
