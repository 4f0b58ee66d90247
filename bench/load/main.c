/* main.c: the load client's command line. One thread, one epoll; every byte that comes
 * back is checked. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "load.h"

const char *program = "load";
int failure = 1;

struct plan plan = {.connections = 64,
                    .senders = 1,
                    .depth = 1,
                    .size = 64,
                    .framing = FRAMING_NULL,
                    .burst = 1,
                    .seconds = 5,
                    .warm_up = 1,
                    .rate = 10000,
                    .patience = 5};

static const struct mode *const modes[] = {
    &mode_echo, &mode_rate,  &mode_broadcast, &mode_room, &mode_socketio, &mode_storm,
    &mode_idle, &mode_calls, &mode_walk,      &mode_chat, &mode_game,     &mode_rpc,
    NULL};

static const char HELP[] =
    "usage: load [options] MODE TARGET...\n"
    "\n"
    "Puts a server under load, checks every byte that comes back, and measures.\n"
    "TARGET is HOST:PORT, [IPV6]:PORT or unix:PATH; a WebSocket's HOST:PORT/PATH too.\n"
    "Connections go to several in turn.\n"
    "\n";

static const char OPTIONS[] =
    "\n"
    "  -c N       connections (64)\n"
    "  -d N       depth: messages in flight (1)\n"
    "  -s N       bytes of a message (64)\n"
    "  -f NAME    framing: raw, null, line, length16, length32, length24le, ws-text,\n"
    "             ws-binary (null); also --framing NAME\n"
    "  -t N       seconds to measure (5)\n"
    "  -w N       seconds to warm up before, not counted (1)\n"
    "  -r N       rate (10000)\n"
    "  -S N       senders (1)\n"
    "  -b N       burst: messages of room that are due at once (1)\n"
    "  -T N       seconds after which a message that did not come is missing (5)\n"
    "  -p PID     the server's process: its CPU time and memory are reported\n"
    "  --same     each message is the same: a server that keeps texts makes no new one\n"
    "  --tls      TLS, of any certificate\n"
    "  --deflate  WebSockets ask for permessage-deflate, and send uncompressed\n"
    "  --json     one JSON object instead of text\n"
    "  --help     this text\n"
    "\n"
    "Exits with 1, and names what went wrong, when a byte is wrong or missing.\n";

static void help(void) {
    fputs(HELP, stdout);
    for (int i = 0; modes[i]; i++) {
        printf("  %-10s %s\n", modes[i]->name, modes[i]->help);
    }
    fputs(OPTIONS, stdout);
    exit(0);
}

static const struct option options[] = {{"framing", required_argument, NULL, 'f'},
                                        {"same", no_argument, NULL, 'R'},
                                        {"tls", no_argument, NULL, 'E'},
                                        {"deflate", no_argument, NULL, 'D'},
                                        {"json", no_argument, NULL, 'J'},
                                        {"help", no_argument, NULL, 'h'},
                                        {NULL, 0, NULL, 0}};

static double number(const char *text, char option, double least, double most) {
    char *end;
    double value = strtod(text, &end);
    if (*end || !(value >= least && value <= most)) {
        fail("-%c takes a number from %.0f to %.0f, not %s", option, least, most, text);
    }
    return value;
}

static int framing(const char *name) {
    for (int i = 0; i < FRAMING_COUNT; i++) {
        if (strcmp(wire_framings[i].name, name) == 0) {
            return i;
        }
    }
    fail("there is no framing %s; load --help names those that there are", name);
}

static const struct mode *find_mode(const char *name) {
    for (int i = 0; modes[i]; i++) {
        if (strcmp(modes[i]->name, name) == 0) {
            return modes[i];
        }
    }
    fail("there is no mode %s; load --help names those that there are", name);
}

static void parse(int argc, char **argv) {
    int option;
    while ((option = getopt_long(argc, argv, "c:d:s:f:t:w:r:S:b:T:p:h", options, NULL)) !=
           -1) {
        switch (option) {
        case 'c': plan.connections = (int)number(optarg, 'c', 1, 60000); break;
        case 'd': plan.depth = (int)number(optarg, 'd', 1, 10000); break;
        case 's': plan.size = (int)number(optarg, 's', 1, 1 << 24); break;
        case 'f': plan.framing = framing(optarg); break;
        case 't': plan.seconds = number(optarg, 't', 0.01, 3600); break;
        case 'w': plan.warm_up = number(optarg, 'w', 0, 3600); break;
        case 'r': plan.rate = number(optarg, 'r', 1, 1e8); break;
        case 'S': plan.senders = (int)number(optarg, 'S', 1, 1000); break;
        case 'b': plan.burst = (int)number(optarg, 'b', 1, 1000); break;
        case 'T': plan.patience = number(optarg, 'T', 0.01, 3600); break;
        case 'p': plan.pid = (int)number(optarg, 'p', 1, 1 << 22); break;
        case 'R': wire_repeat(); break;
        case 'E': plan.tls = true; break;
        case 'D': plan.deflate = true; break;
        case 'J': plan.json = true; break;
        case 'h': help(); break;
        default: fputs("load: see load --help\n", stderr); exit(2);
        }
    }
    if (argc - optind < 2) {
        fputs("load: a mode and a target are needed; see load --help\n", stderr);
        exit(2);
    }
    plan.mode = find_mode(argv[optind++]);
    if (plan.deflate && plan.framing != FRAMING_WS_TEXT &&
        plan.framing != FRAMING_WS_BINARY) {
        fail("--deflate needs the framing ws-text or ws-binary");
    }
    if (plan.senders > plan.connections) {
        fail("%d senders are more than %d connections", plan.senders, plan.connections);
    }
}

int main(int argc, char **argv) {
    struct result result = {0};
    parse(argc, argv);
    catch_interrupts();
    raise_file_limit();
    wire_init(plan.size, plan.framing);
    if (plan.mode->prepare) {
        plan.mode->prepare();
    }
    while (optind < argc) {
        target_add(argv[optind++]);
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    plan.mode->run(&result);
    if (!(result.messages > 0)) {
        fail("nothing was measured in %.2f s", result.seconds);
    }
    result.rss_kib = server_rss_kib(plan.pid);
    report(&result);
    return 0;
}
