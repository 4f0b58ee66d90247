/* traces.c: see traces.h. A signal may come at any time, so a trace is in the table when
 * all of it is. */
#include "core/traces.h"

#include <stdatomic.h>
#include <string.h>

static struct trace {
    uintptr_t begin;
    uint32_t size; /* 0: it is none */
    char place[TRACES_PLACE];
} traces[TRACES_MOST];
static uint32_t trace_count; /* the highest number, and one */

void traces_note(uint32_t number, uintptr_t begin, uint32_t size, const char *place) {
    if (number >= TRACES_MOST) {
        return;
    }
    struct trace *trace = &traces[number];
    size_t length = strlen(place);
    trace->size = 0;
    atomic_signal_fence(memory_order_seq_cst);
    trace->begin = begin;
    place += length < TRACES_PLACE ? 0 : length - (TRACES_PLACE - 1);
    memcpy(trace->place, place, strlen(place) + 1);
    atomic_signal_fence(memory_order_seq_cst);
    trace->size = size;
    trace_count = number < trace_count ? trace_count : number + 1;
}

void traces_forget(void) {
    for (uint32_t i = 0; i < trace_count; i++) {
        traces[i].size = 0;
    }
    trace_count = 0;
}

const char *traces_place(uintptr_t address) {
    for (uint32_t i = 0; i < trace_count; i++) {
        if (address - traces[i].begin < traces[i].size) {
            return traces[i].place;
        }
    }
    return NULL;
}
