/* wire.c: messages as they go over the wire.
 *
 * A message of 12 bytes or more says whose and which it is in hexadecimal digits. The
 * rest is a window into one table of pseudo-random bytes; where it begins follows from
 * whose and which, so that bytes that are wrong, lost, repeated, exchanged or another
 * message's show. Making one and checking one costs 12 digits and a copy or a comparison.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "load.h"
#include "ws.h"

enum { WINDOWS = 4096, WINDOW_BITS = 12 };

const struct wire_framing wire_framings[FRAMING_COUNT] = {
    [FRAMING_RAW] = {"raw", 0, false},
    [FRAMING_NULL] = {"null", 0, false},
    [FRAMING_LINE] = {"line", 0, false},
    [FRAMING_LENGTH16] = {"length16", 2, false},
    [FRAMING_LENGTH32] = {"length32", 4, false},
    [FRAMING_LENGTH24LE] = {"length24le", 3, true},
    [FRAMING_WS_TEXT] = {"ws-text", 0, false},
    [FRAMING_WS_BINARY] = {"ws-binary", 0, false},
};

static int framing;
static size_t body, id_length;
static char head[WS_HEAD_MOST];
static size_t head_length, tail_length;
static char tail;
static size_t answer_head, answer_total; /* a WebSocket's answers are counted unframed */
static char *table;
static char digit_pairs[256][2];
static uint64_t random_state;
static unsigned differs = ~0U; /* 0: whose and which a message is makes no difference */

static bool is_text(void) {
    return framing == FRAMING_NULL || framing == FRAMING_LINE ||
           framing == FRAMING_WS_TEXT;
}

/* xorshift64*: the same bytes on every run and machine. */
static uint64_t scramble(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545F4914F6CDD1DULL;
}

static void fill_table(void) {
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint64_t state = 0x53594E43;
    free(table);
    table = need(malloc(body + WINDOWS));
    for (size_t i = 0; i < body + WINDOWS; i++) {
        uint64_t bits = scramble(&state) >> 56;
        table[i] = is_text() ? letters[bits & 63] : (char)bits;
    }
}

unsigned wire_shift(int of, unsigned i) {
    const struct wire_framing *form = &wire_framings[of];
    return 8 * (form->little ? i : form->prefix - 1 - i);
}

void wire_check_length(int of, size_t length) {
    const struct wire_framing *form = &wire_framings[of];
    size_t most = form->prefix ? ((size_t)1 << 8 * form->prefix) - 1 : length;
    if (length > most) {
        fail("the framing %s takes messages of at most %zu bytes", form->name, most);
    }
}

/* What stands in front of a message of that length. Returns how long it is. */
static size_t write_head(char *to, size_t length, uint32_t mask) {
    if (wire_is_websocket()) {
        return ws_head(to, framing == FRAMING_WS_TEXT ? WS_TEXT : WS_BINARY, length,
                       mask);
    }
    unsigned wide = wire_framings[framing].prefix;
    for (unsigned i = 0; i < wide; i++) {
        to[i] = (char)(length >> wire_shift(framing, i));
    }
    return wide;
}

void wire_init_framing(int wanted) {
    framing = wanted;
    tail_length = framing == FRAMING_NULL || framing == FRAMING_LINE;
    tail = framing == FRAMING_LINE ? '\n' : '\0';
    if (getrandom(&random_state, sizeof(random_state), 0) != sizeof(random_state)) {
        fail("no random bytes for the masks");
    }
    random_state |= 1;
}

void wire_init(int size, int wanted) {
    wire_init_framing(wanted);
    body = (size_t)size;
    wire_check_length(framing, body);
    id_length = body >= WIRE_ID ? WIRE_ID : 0;
    for (int i = 0; i < 256; i++) {
        digit_pairs[i][0] = "0123456789abcdef"[i >> 4];
        digit_pairs[i][1] = "0123456789abcdef"[i & 15];
    }
    fill_table();
    head_length = write_head(head, body, 0);
    answer_head = wire_is_websocket() ? 0 : head_length;
    answer_total = answer_head + body + tail_length;
}

void wire_repeat(void) {
    differs = 0;
}

bool wire_is_websocket(void) {
    return framing == FRAMING_WS_TEXT || framing == FRAMING_WS_BINARY;
}

size_t wire_length(void) {
    return head_length + body + tail_length;
}

size_t wire_answer_length(void) {
    return answer_total;
}

uint32_t wire_mask(void) {
    return (uint32_t)(scramble(&random_state) >> 32);
}

static inline void put_id(char *to, unsigned sender, unsigned number) {
    sender &= differs;
    number &= differs;
    memcpy(to, digit_pairs[sender >> 8 & 255], 2);
    memcpy(to + 2, digit_pairs[sender & 255], 2);
    memcpy(to + 4, digit_pairs[number >> 24], 2);
    memcpy(to + 6, digit_pairs[number >> 16 & 255], 2);
    memcpy(to + 8, digit_pairs[number >> 8 & 255], 2);
    memcpy(to + 10, digit_pairs[number & 255], 2);
}

/* Neighbours in number and in sender have windows far from each other. */
static inline const char *window(unsigned sender, unsigned number) {
    uint32_t mixed = (number * 0x9E3779B1U + sender * 0x85EBCA77U) & differs;
    return table + (mixed >> (32 - WINDOW_BITS));
}

static void write_masked(char *to, unsigned sender, unsigned number) {
    char id[WIRE_ID]; /* its length is a multiple of 4: the mask goes on as it was */
    uint32_t mask = wire_mask();
    memcpy(to, head, head_length - 4);
    memcpy(to + head_length - 4, &mask, 4);
    put_id(id, sender, number);
    ws_mask(to + head_length, id, id_length, mask);
    ws_mask(to + head_length + id_length, window(sender, number), body - id_length, mask);
}

void wire_answer(char *to, unsigned sender, unsigned number) {
    if (answer_head > 0) {
        memcpy(to, head, answer_head);
        to += answer_head;
    }
    if (id_length > 0) {
        put_id(to, sender, number);
    }
    memcpy(to + id_length, window(sender, number), body - id_length);
    if (tail_length > 0) {
        to[body] = tail;
    }
}

void wire_write(char *to, unsigned sender, unsigned number) {
    if (wire_is_websocket()) {
        write_masked(to, sender, number);
    } else {
        wire_answer(to, sender, number);
    }
}

size_t wire_frame(char *to, const char *bytes, size_t length) {
    uint32_t mask = wire_is_websocket() ? wire_mask() : 0;
    char *at = to + write_head(to, length, mask);
    if (wire_is_websocket()) {
        ws_mask(at, bytes, length, mask);
    } else {
        memcpy(at, bytes, length);
    }
    at += length;
    if (tail_length > 0) {
        *at++ = tail;
    }
    return (size_t)(at - to);
}

/* Whether bytes from `from` to `end` of a message agree with a part of it, as far as both
 * have the same places. */
static bool agrees(const char *bytes, size_t from, size_t end, const char *part,
                   size_t at, size_t length) {
    size_t low = from > at ? from : at;
    size_t high = end < at + length ? end : at + length;
    return low >= high ||
           memcmp(bytes + (low - from), part + (low - at), high - low) == 0;
}

/* The usual case: a whole message. */
static inline bool same_whole(const char *bytes, unsigned sender, unsigned number) {
    char id[WIRE_ID];
    if (answer_head > 0 && memcmp(bytes, head, answer_head) != 0) {
        return false;
    }
    bytes += answer_head;
    if (id_length > 0) {
        put_id(id, sender, number);
        if (memcmp(bytes, id, WIRE_ID) != 0) {
            return false;
        }
    }
    return memcmp(bytes + id_length, window(sender, number), body - id_length) == 0 &&
           (tail_length == 0 || bytes[body] == tail);
}

bool wire_same(const char *bytes, size_t from, size_t length, unsigned sender,
               unsigned number) {
    if (from == 0 && length == answer_total) {
        return same_whole(bytes, sender, number);
    }
    char front[sizeof(head) + WIRE_ID];
    size_t end = from + length;
    size_t front_length = answer_head + id_length;
    if (from < front_length) {
        memcpy(front, head, sizeof(head));
        put_id(front + answer_head, sender, number);
        if (!agrees(bytes, from, end, front, 0, front_length)) {
            return false;
        }
    }
    return agrees(bytes, from, end, window(sender, number), front_length,
                  body - id_length) &&
           agrees(bytes, from, end, &tail, answer_head + body, tail_length);
}

static bool hex(const char *text, int digits, unsigned *value) {
    *value = 0;
    for (int i = 0; i < digits; i++) {
        char c = text[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
        *value = *value << 4 | (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return true;
}

bool wire_id(const char *message, unsigned *sender, unsigned *number) {
    return id_length > 0 && hex(message + answer_head, 4, sender) &&
           hex(message + answer_head + 4, 8, number);
}

size_t wire_cut(const char *bytes, size_t length) {
    const char *end = tail_length ? memchr(bytes, tail, length) : NULL;
    return end ? (size_t)(end - bytes) + 1 : 0;
}

size_t wire_prefix(const char *bytes) {
    size_t value = 0;
    for (unsigned i = 0; i < answer_head; i++) {
        value |= (size_t)(unsigned char)bytes[i] << wire_shift(framing, i);
    }
    return value;
}

size_t wire_prefix_length(void) {
    return answer_head;
}
