/* url.c: the server of sync-bench, by its URL. */
#include <stdio.h>
#include <string.h>

#include "modes/ramp.h"

static const char SHAPE[] = "a URL is tcp://HOST:PORT or ws://HOST:PORT/PATH";

static const char *scheme_off(const char *url, bool *websocket) {
    *websocket = strncmp(url, "ws://", 5) == 0;
    if (*websocket) {
        return url + 5;
    }
    if (strncmp(url, "tcp://", 6) == 0) {
        return url + 6;
    }
    if (strncmp(url, "wss://", 6) == 0 || strncmp(url, "tls://", 6) == 0) {
        fail("%s: TLS is not spoken; measure the server's port without it", url);
    }
    fail("%s: %s", url, SHAPE);
}

/* The colon in front of the port, or NULL. The host ends at `*host_end`. */
static const char *find_colon(const char *url, const char *from, const char *end,
                              const char **host_end) {
    const char *close = *from == '[' ? memchr(from, ']', (size_t)(end - from)) : NULL;
    if (*from == '[' && !close) {
        fail("%s: the ] behind the address is missing", url);
    }
    const char *colon = close ? close + 1 : memchr(from, ':', (size_t)(end - from));
    if (colon == end || (colon && *colon != ':')) {
        colon = NULL;
    }
    *host_end = colon ? colon : end;
    return colon;
}

static void check_path(const char *url, const char *end, bool websocket) {
    if (*end && !websocket && strcmp(end, "/") != 0) {
        fail("%s: only ws:// has a path", url);
    }
    if (*end == '?' || strpbrk(end, "# \t\r\n")) {
        fail("%s: a path begins with / and has no blanks and no #", url);
    }
}

bool url_parse(const char *url, struct url *parsed) {
    bool websocket;
    const char *from = scheme_off(url, &websocket);
    const char *end = from + strcspn(from, "/?#"), *host_end;
    const char *colon = find_colon(url, from, end, &host_end);
    if (!colon && !websocket) {
        fail("%s: the port is missing; %s", url, SHAPE);
    }
    int brackets = *from == '[';
    int length = (int)(host_end - from) - 2 * brackets;
    int port_length = colon ? (int)(end - colon) - 1 : 2;
    const char *port = colon ? colon + 1 : "80";
    if (length < 1 || length >= (int)sizeof(parsed->name) || port_length < 1 ||
        port_length >= (int)sizeof(parsed->port) ||
        strspn(port, "0123456789") < (size_t)port_length) {
        fail("%s: %s", url, SHAPE);
    }
    check_path(url, end, websocket);
    snprintf(parsed->name, sizeof(parsed->name), "%.*s", length, from + brackets);
    snprintf(parsed->port, sizeof(parsed->port), "%.*s", port_length, port);
    snprintf(parsed->host, sizeof(parsed->host), "%.*s", (int)(end - from), from);
    parsed->path = *end == '/' ? end : "/";
    return websocket;
}

void url_find(const char *url, const struct url *parsed) {
    struct target *target = target_new();
    snprintf(target->text, sizeof(target->text), "%s", url);
    snprintf(target->host, sizeof(target->host), "%s", parsed->host);
    target->path = parsed->path;
    const char *why = target_resolve(target, parsed->name, parsed->port, true);
    if (why) {
        fail("%s: %s; is the server running?", url, why);
    }
}
