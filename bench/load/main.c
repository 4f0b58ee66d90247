/* load.c: the load generator's command line and report. One thread, one epoll; every byte
 * that comes back is checked. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "load.h"

struct plan plan = {.connections = 64,
                    .senders = 1,
                    .depth = 1,
                    .size = 64,
                    .framing = 1,
                    .seconds = 5,
                    .warm_up = 1,
                    .rate = 10000,
                    .patience = 5};
volatile bool interrupted;

static const char HELP[] =
    "usage: load [options] MODE TARGET\n"
    "\n"
    "Puts a server under load, checks every byte that comes back, and measures.\n"
    "TARGET is HOST:PORT, [IPV6]:PORT or unix:PATH; a WebSocket's HOST:PORT/PATH too.\n"
    "\n"
    "  echo       closed loop: DEPTH messages in flight on each connection\n"
    "  rate       open loop: RATE messages a second in all; latency counts from when\n"
    "             a message was due\n"
    "  broadcast  SENDERS send, all connections get; latency to the last receiver\n"
    "  storm      connections a second: connect, one round trip (of a WebSocket the\n"
    "             handshake), leave\n"
    "  idle       memory of a server for each connection that it holds, after the\n"
    "             first 100 (needs -p)\n"
    "\n"
    "  -c N       connections (64)\n"
    "  -d N       depth: messages in flight (1)\n"
    "  -s N       bytes of a message (64)\n"
    "  -f NAME    framing: raw, null, line, length16, length32, ws-text, ws-binary\n"
    "             (null); also --framing NAME\n"
    "  -t N       seconds to measure (5)\n"
    "  -w N       seconds to warm up before, not counted (1)\n"
    "  -r N       rate (10000)\n"
    "  -S N       senders (1)\n"
    "  -T N       seconds after which a message that did not come is missing (5)\n"
    "  -p PID     the server's process: its CPU time and memory are reported\n"
    "  --json     one JSON object instead of text\n"
    "  --help     this text\n"
    "\n"
    "Exits with 1, and names what went wrong, when a byte is wrong or missing.\n";

static const struct option options[] = {{"framing", required_argument, NULL, 'f'},
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
    for (int i = 0; wire_framings[i]; i++) {
        if (strcmp(wire_framings[i], name) == 0) {
            return i;
        }
    }
    fail(
        "there is no framing %s; there are raw, null, line, length16, length32, ws-text, "
        "ws-binary",
        name);
}

static void parse(int argc, char **argv) {
    int option;
    while ((option = getopt_long(argc, argv, "c:d:s:f:t:w:r:S:T:p:h", options, NULL)) !=
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
        case 'T': plan.patience = number(optarg, 'T', 0.01, 3600); break;
        case 'p': plan.pid = (int)number(optarg, 'p', 1, 1 << 22); break;
        case 'J': plan.json = true; break;
        case 'h': fputs(HELP, stdout); exit(0);
        default: fputs("load: see load --help\n", stderr); exit(2);
        }
    }
    if (argc - optind != 2) {
        fputs("load: a mode and a target are needed; see load --help\n", stderr);
        exit(2);
    }
    plan.mode = argv[optind];
    plan.target = argv[optind + 1];
    if (plan.senders > plan.connections) {
        fail("%d senders are more than %d connections", plan.senders, plan.connections);
    }
}

static void on_interrupt(int signal_number) {
    (void)signal_number;
    interrupted = true;
}

static double micros(double percent) {
    return histogram_percentile(percent) / 1000;
}

static void report_json(const struct result *r) {
    printf("{\"mode\":\"%s\",\"connections\":%d,\"depth\":%d,\"size\":%d,"
           "\"framing\":\"%s\",\"seconds\":%.3f,\"messages\":%.0f,\"per_second\":%.1f,"
           "\"latency_us\":{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p999\":%.1f,"
           "\"max\":%.1f},\"server\":{\"user_ns\":%.1f,\"system_ns\":%.1f,"
           "\"rss_kib\":%.0f},\"memory\":{\"bytes_per_connection\":%.1f,"
           "\"slab_bytes_per_connection\":%.1f}}\n",
           plan.mode, plan.connections, plan.depth, plan.size,
           wire_framings[plan.framing], r->seconds, r->messages, r->messages / r->seconds,
           micros(50), micros(90), micros(99), micros(99.9), micros(100), r->user_ns,
           r->system_ns, r->rss_kib, r->bytes_per_connection,
           r->slab_bytes_per_connection);
}

static void report_text(const struct result *r) {
    if (strcmp(plan.mode, "idle") == 0) {
        printf("%d connections: %.0f bytes each in the server, %.0f in the kernel "
               "(both ends)\n",
               plan.connections, r->bytes_per_connection, r->slab_bytes_per_connection);
        return;
    }
    const char *what = strcmp(plan.mode, "broadcast") == 0 ? "deliveries"
                       : strcmp(plan.mode, "storm") == 0   ? "connections"
                                                           : "messages";
    printf("%.0f %s/s (%.0f in %.2f s)\n", r->messages / r->seconds, what, r->messages,
           r->seconds);
    if (histogram_count() > 0) {
        printf("latency, us: p50 %.0f  p90 %.0f  p99 %.0f  p99.9 %.0f  max %.0f\n",
               micros(50), micros(90), micros(99), micros(99.9), micros(100));
    }
    if (plan.pid) {
        printf("server: %.0f ns user and %.0f ns system CPU for each, %.1f MiB\n",
               r->user_ns, r->system_ns, r->rss_kib / 1024);
    }
}

static const struct {
    const char *name;
    void (*run)(struct result *);
} modes[] = {{"echo", run_echo},
             {"rate", run_rate},
             {"broadcast", run_broadcast},
             {"storm", run_storm},
             {"idle", run_idle}};

int main(int argc, char **argv) {
    parse(argc, argv);
    struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &action, NULL);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    wire_init(plan.size, plan.framing);
    target_parse(plan.target);
    epoll_fd = epoll_create1(0);
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(modes[i].name, plan.mode) == 0) {
            struct result result = {0};
            modes[i].run(&result);
            if (!(result.messages > 0)) {
                fail("nothing was measured in %.2f s", result.seconds);
            }
            result.rss_kib = server_rss_kib(plan.pid);
            plan.json ? report_json(&result) : report_text(&result);
            return 0;
        }
    }
    fail("there is no mode %s; there are echo, rate, broadcast, storm, idle", plan.mode);
}
