/* own.c: see own.h. */
#include "core/own.h"

#include <stdio.h>
#include <string.h>

static char own[256];

void own_set(const char *prefix) {
    snprintf(own, sizeof(own), "%s", prefix);
}

bool own_has(const char *source) {
    return own[0] && strncmp(source, own, strlen(own)) == 0;
}
