/* replica_fuzz.c: what a home sends its replicas (src/state/copy.h).
 *
 * The input is messages, each behind its length, a byte for the low and one for the high
 * part. Each is applied; from what was taken, patches are written for all members, in the
 * binary form and as JSON. The seeds are what a home of this declaration has sent:
 *
 *     {phase = "string", far = sync.map({x = "float32", y = "float32", hp = "uint8",
 *         name = "string", hand = sync.private(sync.listOf "uint8")}, {sees =
 * sync.near(10)}), words = sync.map({n = "int32"}, {keys = "string"})}
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "state/state.h"

enum { MOST_MESSAGES = 64, MEMBERS = 4 };

static void declare(struct sync_state *state) {
    static const char text[] = {TYPE_STRING};
    static const char list[] = {TYPE_LIST, TYPE_UINT8};
    static const char number[] = {TYPE_FLOAT32};
    static const char small[] = {TYPE_UINT8};
    static const char whole[] = {TYPE_INT32};
    struct sync_table root = {.most = 1, .most_bytes = 1000};
    struct sync_table far = {.keys = KEYS_INTEGER,
                             .sees = SYNC_SEES_NEAR,
                             .near = 10,
                             .far = 11,
                             .most = 200,
                             .most_bytes = 1000};
    struct sync_table words = {.keys = KEYS_STRING, .most = 200, .most_bytes = 1000};
    int32_t failed = sync_state_table(state, "", 0, &root) |
                     sync_state_field(state, 0, "phase", 5, 0, 0, text, 1) |
                     sync_state_table(state, "far", 3, &far) |
                     sync_state_field(state, 1, "hp", 2, 0, 0, small, 1) |
                     sync_state_field(state, 1, "name", 4, 0, 0, text, 1) |
                     sync_state_field(state, 1, "x", 1, 0, 0, number, 1) |
                     sync_state_field(state, 1, "y", 1, 0, 0, number, 1) |
                     sync_state_field(state, 1, "hand", 4, 1, 0, list, 2) |
                     sync_state_table(state, "words", 5, &words) |
                     sync_state_field(state, 2, "n", 1, 0, 0, whole, 1);
    FUZZ_REQUIRE(failed >= 0);
    sync_state_replica(state);
}

/* What is said of each form and member is all that may be seen. */
static void write_all(struct sync_state *state) {
    size_t length;
    for (uint32_t i = 1; i <= MEMBERS; i++) {
        sync_state_write(state, i, 1, &length);
        if (i % 2 == 0) {
            sync_state_read(state, i, SYNC_FORM_JSON);
            sync_state_write(state, i, 1, &length);
        }
    }
    sync_state_end_patch(state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sync_state *state = sync_state_new(1);
    FUZZ_REQUIRE(state != NULL);
    declare(state);
    for (int i = 0; i < MOST_MESSAGES && size >= 2; i++) {
        size_t length = (size_t)data[0] | (size_t)data[1] << 8;
        data += 2;
        size -= 2;
        length = length < size ? length : size;
        char *bytes = malloc(length > 0 ? length : 1); /* a byte read behind is seen */
        FUZZ_REQUIRE(bytes != NULL);
        memcpy(bytes, data, length);
        if (sync_state_apply(state, bytes, length) == SYNC_APPLIED) {
            write_all(state);
        }
        free(bytes);
        data += length;
        size -= length;
    }
    sync_state_free(state);
    return 0;
}
