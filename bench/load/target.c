/* target.c: the server's URL and addresses, and how many users this machine can be. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ramp.h"

enum { PORTS_OF_ONE = 20000 /* users from one loopback address */, FILES_KEPT = 16 };

struct target target;
static char name[256], port[8];

static const char SHAPE[] = "a URL is tcp://HOST:PORT or ws://HOST:PORT/PATH";

static const char *scheme_off(const char *url) {
    if (strncmp(url, "ws://", 5) == 0) {
        target.websocket = true;
        return url + 5;
    }
    if (strncmp(url, "tcp://", 6) == 0) {
        return url + 6;
    }
    if (strncmp(url, "wss://", 6) == 0 || strncmp(url, "tls://", 6) == 0) {
        refuse("%s: TLS is not spoken; measure the server's port without it", url);
    }
    refuse("%s: %s", url, SHAPE);
}

void target_parse(const char *url) {
    const char *from = scheme_off(url);
    const char *end = from + strcspn(from, "/?#");
    const char *close = *from == '[' ? memchr(from, ']', (size_t)(end - from)) : NULL;
    const char *colon = close ? close + 1 : memchr(from, ':', (size_t)(end - from));
    if (*from == '[' && !close) {
        refuse("%s: the ] behind the address is missing", url);
    }
    if (colon == end || (colon && *colon != ':')) {
        colon = NULL;
    }
    if (!colon && !target.websocket) {
        refuse("%s: the port is missing; %s", url, SHAPE);
    }
    const char *host_end = colon ? colon : end;
    int length = (int)(host_end - from) - (close ? 2 : 0);
    int port_length = colon ? (int)(end - colon) - 1 : 0;
    if (length < 1 || length >= (int)sizeof(name) || port_length >= (int)sizeof(port) ||
        end - from >= (long)sizeof(target.host) ||
        strspn(colon ? colon + 1 : "", "0123456789") != (size_t)port_length ||
        (colon && port_length == 0)) {
        refuse("%s: %s", url, SHAPE);
    }
    if (*end && !target.websocket && strcmp(end, "/") != 0) {
        refuse("%s: only ws:// has a path", url);
    }
    snprintf(name, sizeof(name), "%.*s", length, from + (close ? 1 : 0));
    snprintf(port, sizeof(port), "%.*s", colon ? port_length : 2,
             colon ? colon + 1 : "80");
    snprintf(target.host, sizeof(target.host), "%.*s", (int)(end - from), from);
    target.path = *end == '/' ? end : "/";
    if (*end == '?' || strpbrk(target.path, "# \t\r\n")) {
        refuse("%s: a path begins with / and has no blanks and no #", url);
    }
}

/* 0, or why that address takes no client. */
static int try_address(const struct addrinfo *info) {
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return errno;
    }
    int error = connect(fd, info->ai_addr, info->ai_addrlen) < 0 ? errno : 0;
    struct pollfd wait = {fd, POLLOUT, 0};
    if (error == EINPROGRESS) {
        socklen_t size = sizeof(error);
        error = ETIMEDOUT;
        if (poll(&wait, 1, (int)(asked.timeout * 1000)) == 1) {
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
        }
    }
    struct linger reset = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fd);
    return error;
}

void target_find(void) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *all;
    int error = getaddrinfo(name, port, &hints, &all);
    if (error) {
        refuse("%s: %s", asked.url, gai_strerror(error));
    }
    int why = 0;
    for (struct addrinfo *info = all; info; info = info->ai_next) {
        if ((why = try_address(info)) == 0) {
            memcpy(&target.address, info->ai_addr, info->ai_addrlen);
            target.address_size = info->ai_addrlen;
            freeaddrinfo(all);
            return;
        }
    }
    refuse("%s: %s; is the server running?", asked.url, strerror(why));
}

static bool is_loopback4(void) {
    const struct sockaddr_in *ipv4 = (const struct sockaddr_in *)&target.address;
    return ipv4->sin_family == AF_INET && ntohl(ipv4->sin_addr.s_addr) >> 24 == 127;
}

static int local_ports(void) {
    int low = 32768;
    int high = 60999;
    FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "r");
    if (file) {
        if (fscanf(file, "%d %d", &low, &high) != 2) {
            low = 32768;
            high = 60999;
        }
        fclose(file);
    }
    return high - low + 1;
}

int target_most(const char **why) {
    static char text[200];
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    getrlimit(RLIMIT_NOFILE, &files);
    int most = files.rlim_cur > 10000000 ? 10000000 : (int)files.rlim_cur - FILES_KEPT;
    snprintf(text, sizeof(text),
             "this machine's file limit is %llu (ulimit -n), which is %d users",
             (unsigned long long)files.rlim_cur, most);
    int ports = local_ports();
    if (!is_loopback4() && ports < most) {
        most = ports;
        snprintf(text, sizeof(text),
                 "this machine has %d local ports towards one server "
                 "(net.ipv4.ip_local_port_range)",
                 ports);
    }
    *why = text;
    return most;
}

int target_bind(int fd, int index) {
    if (!is_loopback4() || asked.most <= PORTS_OF_ONE) {
        return 0;
    }
    int on = 1;
    struct sockaddr_in from = {.sin_family = AF_INET};
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(index / PORTS_OF_ONE));
    return bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0 ? errno : 0;
}
