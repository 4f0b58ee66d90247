/* traces.c: see traces.h. A signal may come at any time, so a piece is in the table when
 * all of it is. */
#include "core/traces.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "core/own.h"

static struct trace {
    uintptr_t begin;
    size_t size; /* 0: it is none */
    char place[TRACES_PLACE];
} traces[TRACES_MOST];
static uint32_t trace_count; /* behind the last that is one */

static struct trace *find_free(void) {
    for (uint32_t i = 0; i < TRACES_MOST; i++) {
        if (traces[i].size == 0) {
            return &traces[i];
        }
    }
    return NULL;
}

bool traces_note(uintptr_t begin, uintptr_t end, const char *source, int line) {
    if (own_has(source)) {
        return false;
    }
    struct trace *trace = trace_count < TRACES_MOST ? &traces[trace_count] : find_free();
    if (!trace) {
        return true;
    }
    source += *source == '@' || *source == '=';
    char number[16];
    int digits = snprintf(number, sizeof(number), ":%d", line);
    size_t most = sizeof(trace->place) - (size_t)digits - 1;
    size_t length = strlen(source);
    source += length > most ? length - most : 0;
    trace->begin = begin;
    snprintf(trace->place, sizeof(trace->place), "%s%s", source, number);
    atomic_signal_fence(memory_order_seq_cst);
    trace->size = end - begin;
    trace_count += trace == &traces[trace_count];
    return true;
}

void traces_forget(uintptr_t begin, uintptr_t end) {
    uint32_t last = 0;
    for (uint32_t i = 0; i < trace_count; i++) {
        if (traces[i].begin >= begin && traces[i].begin < end) {
            traces[i].size = 0;
        }
        last = traces[i].size ? i + 1 : last;
    }
    trace_count = last;
}

const char *traces_place(uintptr_t address) {
    for (uint32_t i = 0; i < trace_count; i++) {
        if (address - traces[i].begin < traces[i].size) {
            return traces[i].place;
        }
    }
    return NULL;
}
