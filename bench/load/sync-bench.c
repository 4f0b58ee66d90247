/* sync-bench.c: how many users a server holds: the command line and report of the mode
 * ramp. Users get this program, so it has options of its own. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "modes/ramp.h"

const char *program = "sync-bench";
int failure = 2; /* it was called wrongly, or can't begin */

struct plan plan = {.mode = &mode_ramp,
                    .connections = 10000,
                    .seconds = 3,
                    .rate = 1,
                    .patience = 5,
                    .size = 64,
                    .framing = -1};

static const char HELP[] =
    "usage: sync-bench [options] URL\n"
    "\n"
    "Finds out how many users a server holds. Connects them step by step; each sends a\n"
    "message at its rate, and the time to the answer is measured. Stops when the 99th\n"
    "percentile of a step is above the limit, when something fails, or at --max.\n"
    "URL is tcp://HOST:PORT or ws://HOST:PORT/PATH; HOST a name, an IPv4 address or\n"
    "an IPv6 address in brackets.\n"
    "\n"
    "  --start N       users of the first step (100)\n"
    "  --step N        users that each further step adds (100)\n"
    "  --every S       seconds that a step is measured, its users connected (3)\n"
    "  --max N         users at most (10000)\n"
    "  --rate N        messages a second of each user (1)\n"
    "  --limit MS      99th percentile at most, in milliseconds (100)\n"
    "  --timeout S     what takes longer is an error: a connection, an answer (5)\n"
    "  --message TEXT  what a user sends; each {id} in it becomes a number of 15 digits\n"
    "  --size N        or so many letters (64)\n"
    "  --framing NAME  tcp: null, line, raw, length16, length32, length24le (null)\n"
    "                  ws: text, binary (text)\n"
    "  --json          one JSON object on the standard output, progress on the other\n"
    "  --help          this text\n"
    "\n"
    "A message that comes back is the answer to the user's oldest that waits. When the\n"
    "text has {id}, a message is the answer if it contains that number within its first\n"
    "64 KiB; others are let pass. Use that for a server that sends to all.\n"
    "\n"
    "Exits with 0 when --max was reached within the limit, with 1 when it was not, with "
    "2\n"
    "when it was called wrongly or the server can't be reached.\n";

static double number(const char *name, double least, double most) {
    char *end;
    double value = strtod(optarg, &end);
    if (end == optarg || *end || !(value >= least && value <= most)) {
        fail("--%s takes a number from %g to %.0f, not %s", name, least, most, optarg);
    }
    return value;
}

/* Without the ws- of WebSocket's, which the URL says. */
static const char *framing_name(int framing) {
    return wire_framings[framing].name + (framing >= FRAMING_WS_TEXT ? 3 : 0);
}

static int framing(const char *name) {
    for (int i = 0; i < FRAMING_COUNT; i++) {
        if (strcmp(framing_name(i), name) == 0) {
            return i;
        }
    }
    fail("there is no framing %s; sync-bench --help names those that there are", name);
}

static const struct option options[] = {{"start", required_argument, NULL, 'a'},
                                        {"step", required_argument, NULL, 's'},
                                        {"every", required_argument, NULL, 'e'},
                                        {"max", required_argument, NULL, 'm'},
                                        {"rate", required_argument, NULL, 'r'},
                                        {"limit", required_argument, NULL, 'l'},
                                        {"timeout", required_argument, NULL, 't'},
                                        {"message", required_argument, NULL, 'M'},
                                        {"size", required_argument, NULL, 'S'},
                                        {"framing", required_argument, NULL, 'f'},
                                        {"json", no_argument, NULL, 'J'},
                                        {"help", no_argument, NULL, 'h'},
                                        {NULL, 0, NULL, 0}};

/* Returns the URL. */
static const char *parse(int argc, char **argv) {
    int option;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (option) {
        case 'a': asked.start = (int)number("start", 1, 1000000); break;
        case 's': asked.step = (int)number("step", 1, 1000000); break;
        case 'e': plan.seconds = number("every", 0.1, 3600); break;
        case 'm': plan.connections = (int)number("max", 1, 1000000); break;
        case 'r': plan.rate = number("rate", 0.01, 1000); break;
        case 'l': asked.limit_ms = number("limit", 0.01, 3600000); break;
        case 't': plan.patience = number("timeout", 0.1, 3600); break;
        case 'M': asked.message = optarg; break;
        case 'S': plan.size = (int)number("size", 0, 1 << 20); break;
        case 'f': plan.framing = framing(optarg); break;
        case 'J': plan.json = true; break;
        case 'h': fputs(HELP, stdout); exit(0);
        default: fail("see sync-bench --help");
        }
    }
    if (argc - optind != 1) {
        fail("one URL is needed; see sync-bench --help");
    }
    if (asked.start > plan.connections) {
        asked.start = plan.connections;
    }
    return argv[optind];
}

static void choose_framing(bool websocket) {
    if (plan.framing < 0) {
        plan.framing = websocket ? FRAMING_WS_TEXT : FRAMING_NULL;
    }
    if (websocket != (plan.framing >= FRAMING_WS_TEXT)) {
        fail("%s does not go with the framing %s", websocket ? "ws://" : "tcp://",
             framing_name(plan.framing));
    }
}

static void progress(const struct step *step) {
    FILE *to = plan.json ? stderr : stdout;
    if (step->per_second > 0) {
        fprintf(to, "%8d  %10.0f  %8.2f  %8.2f  %6llu\n", step->users, step->per_second,
                step->p50_ms, step->p99_ms, (unsigned long long)step->errors);
    } else {
        fprintf(to, "%8d  %10s  %8s  %8s  %6llu\n", step->users, "no answers", "-", "-",
                (unsigned long long)step->errors);
    }
    fflush(to);
}

static void print_text(const char *text) {
    putchar('"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            printf("\\%c", c);
        } else if (c < ' ' || c > '~') {
            printf("\\u%04x", c); /* what a server says need not be UTF-8 */
        } else {
            putchar(c);
        }
    }
    putchar('"');
}

static void report_json(const char *url, const struct found *found) {
    static const char *const stops[] = {"max",     "latency", "errors",
                                        "machine", "behind",  "interrupted"};
    printf("{\"url\":");
    print_text(url);
    printf(",\"held\":%d,\"limit_ms\":%g,\"rate\":%g,\"stop\":\"%s\",\"why\":",
           found->held, asked.limit_ms, plan.rate, stops[found->stop]);
    print_text(found->why);
    printf(",\"steps\":[");
    for (size_t i = 0; i < found->count; i++) {
        const struct step *step = &found->steps[i];
        printf("%s{\"users\":%d,\"messages_per_second\":%.1f,", i ? "," : "", step->users,
               step->per_second);
        if (step->per_second > 0) {
            printf("\"p50_ms\":%.3f,\"p99_ms\":%.3f,", step->p50_ms, step->p99_ms);
        } else {
            printf("\"p50_ms\":null,\"p99_ms\":null,");
        }
        printf("\"errors\":%llu,\"held\":%s}", (unsigned long long)step->errors,
               step->held ? "true" : "false");
    }
    printf("]}\n");
}

static void report_text(const char *url, const struct found *found) {
    const struct step *last = NULL;
    for (size_t i = 0; i < found->count; i++) {
        last = found->steps[i].held ? &found->steps[i] : last;
    }
    if (last) {
        printf("\n%s held %d users within %g ms: %.0f messages/s, p99 %.2f ms.\n", url,
               last->users, asked.limit_ms, last->per_second, last->p99_ms);
    } else {
        printf("\n%s did not hold %d users within %g ms.\n", url, asked.start,
               asked.limit_ms);
    }
    printf("Stopped: %s.\n", found->why);
}

int main(int argc, char **argv) {
    struct url parsed;
    struct found found = {0};
    const char *url = parse(argc, argv);
    catch_interrupts();
    choose_framing(url_parse(url, &parsed));
    user_prepare();
    url_find(url, &parsed);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    fprintf(plan.json ? stderr : stdout, "%8s  %10s  %8s  %8s  %6s\n", "users",
            "messages/s", "p50 ms", "p99 ms", "errors");
    ramp_run(&found, progress);
    plan.json ? report_json(url, &found) : report_text(url, &found);
    free(found.steps);
    return found.stop == STOP_MAX ? 0 : 1;
}
