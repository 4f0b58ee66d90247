/* finding.c: see finding.h. */
#include "core/finding.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unwind.h>

#include "core/log.h"
#include "core/luajit.h"
#include "core/traces.h"

enum { MOST_TOLD = 8 /* calls, the innermost */, TEXT = 1024 };

void finding_note(struct finding *finding, struct core *core, int32_t which,
                  watchdog_describe *describe) {
    const struct sync *sync = &core->public;
    memset(finding, 0, sizeof(*finding));
    if (core->filling || which < 1 || (uint32_t)which > sync->event_count) {
        return;
    }
    const struct sync_event *event = &sync->events[which - 1];
    finding->type = event->type;
    if (event->type < SYNC_TIMER) {
        describe(core, event->id, &finding->client);
    }
}

/* The way down the stack, from the signal's handler. */
struct descent {
    struct finding *finding;
    bool has_passed; /* the frame that the kernel has put below the handler's */
};

/* How many frames the handler has is the compiler's affair; what the signal has
 * interrupted is the first frame that made no call.
 * The unwinder finds no way through compiled code, and may abort there. */
static _Unwind_Reason_Code note_call(struct _Unwind_Context *context, void *argument) {
    struct descent *descent = argument;
    struct finding *finding = descent->finding;
    int interrupted = 0;
    uintptr_t address = _Unwind_GetIPInfo(context, &interrupted);
    descent->has_passed |= interrupted != 0;
    finding->compiled = !luajit_is_native(address);
    if (finding->compiled) {
        const char *place = traces_place(address);
        snprintf(finding->trace, sizeof(finding->trace), "%s", place ? place : "");
    }
    if (finding->compiled || finding->call_count == FINDING_CALLS) {
        return _URC_END_OF_STACK;
    }
    if (descent->has_passed) {
        /* NOLINTNEXTLINE(performance-no-int-to-ptr): the unwinder gives a number */
        finding->calls[finding->call_count++] = (void *)address;
    }
    return _URC_NO_REASON;
}

void finding_trace(struct finding *finding) {
    finding->call_count = 0;
    _Unwind_Backtrace(note_call, &(struct descent){finding, false});
}

static const char *handler_of(uint32_t type) {
    static const char *const names[] = {
        [0] = "what ends a tick",
        [SYNC_CONNECT] = "onConnect",
        [SYNC_DATA] = "onData",
        [SYNC_BYTES] = "onBytes",
        [SYNC_REQUEST] = "the handler of a request",
        [SYNC_FILE] = "the handler of a request",
        [SYNC_DRAIN] = "onDrain",
        [SYNC_OVERFLOW] = "onDrain",
        [SYNC_CLOSE] = "onClose",
        [SYNC_TIMER] = "a timer",
        [SYNC_SIGNAL] = "a signal's handler",
        [SYNC_CONNECT_FAILED] = "a connection's answer",
        [SYNC_RESOLVED] = "a name look-up's answer",
        [SYNC_EXITED] = "the end of a worker",
        [SYNC_JOB] = "the end of a job",
        [SYNC_WATCH] = "a watched descriptor",
    };
    const char *name = type < sizeof(names) / sizeof(*names) ? names[type] : NULL;
    return name ? name : "a handler";
}

/* The base of a path. */
static const char *base_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Names of files may be any bytes, and the log is UTF-8. */
static void append(char text[TEXT], const char *more) {
    size_t length = strlen(text);
    for (; *more && length < TEXT - 1; more++) {
        text[length++] = *more >= 0x20 && *more < 0x7f ? *more : '?';
    }
    text[length] = 0;
}

static void append_call(char text[TEXT], void *address) {
    char call[160];
    Dl_info info;
    if (!dladdr(address, &info) || !info.dli_fname) {
        snprintf(call, sizeof(call), "%p", address);
    } else if (info.dli_sname) {
        snprintf(call, sizeof(call), "%s+0x%zx", info.dli_sname,
                 (size_t)((char *)address - (char *)info.dli_saddr));
    } else {
        snprintf(call, sizeof(call), "%s+0x%zx", base_of(info.dli_fname),
                 (size_t)((char *)address - (char *)info.dli_fbase));
    }
    if (text[0]) {
        append(text, " < ");
    }
    append(text, call);
}

static void describe_calls(const struct finding *finding, char text[TEXT]) {
    text[0] = 0;
    for (int i = 0; i < finding->call_count && i < MOST_TOLD; i++) {
        append_call(text, finding->calls[i]);
    }
    if (finding->compiled && finding->call_count < MOST_TOLD) {
        append(text, text[0] ? " < compiled code" : "compiled code");
    }
}

/* The first line of the stack, for the message. */
static void append_place(char text[TEXT], const char *stack) {
    if (stack[0]) {
        size_t length = strlen(text);
        snprintf(text + length, TEXT - length, ", at %.*s", (int)strcspn(stack, "\n"),
                 stack);
    }
}

/* The whole, if it has more than one. */
static const char *make_traceback(char text[2 * FINDING_STACK], const char *stack) {
    if (!strchr(stack, '\n')) {
        return NULL;
    }
    size_t length = (size_t)sprintf(text, "stack traceback:");
    while (*stack && length < FINDING_STACK) {
        int line = (int)strcspn(stack, "\n");
        length += (size_t)sprintf(text + length, "\n\t%.*s", line, stack);
        stack += line + (stack[line] == '\n');
    }
    return text;
}

void finding_name(const struct finding *finding, char *text, size_t size) {
    const char *class = finding->client.class;
    snprintf(text, size, "%s%s%s", handler_of(finding->type), class[0] ? " of " : "",
             class);
}

void finding_say(const struct finding *finding, bool json, double seconds) {
    const struct watched_client *client = &finding->client;
    char message[TEXT];
    char handler[128];
    char calls[TEXT];
    char name[24];
    char traceback[2 * FINDING_STACK];
    struct log_field fields[4];
    size_t count = 0;
    describe_calls(finding, calls);
    finding_name(finding, handler, sizeof(handler));
    snprintf(message, sizeof(message),
             "a handler is stuck, nobody is served: %s has not ended for %.1f s", handler,
             seconds);
    append_place(message, finding->stack[0] ? finding->stack : finding->trace);
    if (client->address[0]) {
        fields[count++] = (struct log_field){"address", client->address, false};
    }
    if (client->name > 0) {
        snprintf(name, sizeof(name), "%.0f", client->name);
        fields[count++] = (struct log_field){"client", name, true};
    }
    if (calls[0]) {
        fields[count++] = (struct log_field){"in", calls, false};
    }
    log_error(json, message, fields, count, make_traceback(traceback, finding->stack));
}
