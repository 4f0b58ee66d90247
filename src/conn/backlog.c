/* backlog.c: received bytes that wait. */
#include "conn/backlog.h"

#include <string.h>

enum { FIRST_SIZE = 256 };

void backlog_clear(struct core *core, struct backlog *backlog) {
    if (backlog->shown_tick == core->tick) {
        batch_spend(&core->batch, backlog->block);
    } else {
        batch_block_free(backlog->block);
    }
    *backlog = (struct backlog){0};
}

char *backlog_claim(struct core *core, struct backlog *backlog, size_t length) {
    size_t total = backlog->length + length;
    if (backlog->start + total > backlog->capacity) {
        size_t capacity = backlog->capacity ? backlog->capacity : FIRST_SIZE;
        while (capacity < total) {
            capacity *= 2;
        }
        char *block = batch_block_new(capacity);
        if (!block) {
            return NULL;
        }
        if (backlog->block) {
            memcpy(block, backlog->block + backlog->start, backlog->length);
        }
        uint32_t kept = backlog->length;
        backlog_clear(core, backlog);
        *backlog = (struct backlog){
            .block = block, .length = kept, .capacity = (uint32_t)capacity};
    }
    return backlog->block + backlog->start + backlog->length;
}

int backlog_append(struct core *core, struct backlog *backlog, const char *bytes,
                   size_t length) {
    if (length == 0) {
        return 0;
    }
    char *place = backlog_claim(core, backlog, length);
    if (!place) {
        return -1;
    }
    memcpy(place, bytes, length);
    backlog->length += (uint32_t)length;
    return 0;
}

void backlog_consume(struct core *core, struct backlog *backlog, size_t length) {
    if (length > 0) {
        backlog->shown_tick = core->tick;
        backlog->start += (uint32_t)length;
        backlog->length -= (uint32_t)length;
    }
    if (backlog->length == 0) {
        backlog_clear(core, backlog);
    }
}
