/* mend.c: see mend.h.
 *
 *     call lj_vm_next         call mend_next
 *     xchg eax, edx     ──►   nop
 *
 * where mend_next calls the same, and exchanges all 64 bits. LuaJIT since has a byte more
 * there, which this doesn't take for the other.
 */
#include "core/mend.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/luajit.h"

#ifdef __x86_64__

enum { CALL = 0xe8, EXCHANGE = 0x92, NOTHING = 0x90, CALL_LENGTH = 5, LENGTH = 6 };

/* lj_vm_next begins with these: what the size of a table's array is. */
static const unsigned char NEXT[] = {0x8b, 0x4f, 0x30};

/* It stands in LuaJIT alone, whose name for it isn't for others. */
__attribute__((visibility("hidden"))) _Atomic(const char *) mend_target;
__attribute__((visibility("hidden"))) extern const char mend_next[];

/* The callee writes below the frame of who has called, so that the return address goes
 * out of its place; nothing that it calls uses r11. */
__asm__(".text\n"
        ".hidden mend_next\n"
        ".globl mend_next\n"
        ".type mend_next, @function\n"
        "mend_next:\n"
        "    pop %r11\n"
        "    call *mend_target(%rip)\n"
        "    xchg %rax, %rdx\n"
        "    push %r11\n"
        "    ret\n"
        ".size mend_next, .-mend_next\n");

static const char *target_of(const char *call) {
    int32_t distance;
    memcpy(&distance, call + 1, sizeof(distance));
    return call + CALL_LENGTH + distance;
}

static bool is_wrong(const char *place) {
    if ((unsigned char)place[0] != CALL ||
        (unsigned char)place[CALL_LENGTH] != EXCHANGE) {
        return false;
    }
    const char *target = target_of(place);
    return luajit_place_of((uintptr_t)target) == LUAJIT_ITSELF &&
           memcmp(target, NEXT, sizeof(NEXT)) == 0;
}

/* Code that was made can't be written. */
static int overwrite(char *place, const char *bytes) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    size_t before = (uintptr_t)place % page;
    char *begin = place - before;
    size_t length = before + LENGTH;
    if (mprotect(begin, length, PROT_READ | PROT_WRITE) < 0) {
        return -errno;
    }
    memcpy(place, bytes, LENGTH);
    return mprotect(begin, length, PROT_READ | PROT_EXEC) < 0 ? -errno : 0;
}

static int mend(char *place) {
    intptr_t distance = (intptr_t)mend_next - (intptr_t)(place + CALL_LENGTH);
    int32_t near = (int32_t)distance;
    char bytes[LENGTH] = {(char)CALL, 0, 0, 0, 0, (char)NOTHING};
    if (near != distance) {
        return -ERANGE;
    }
    atomic_store(&mend_target, target_of(place)); /* always the same */
    memcpy(bytes + 1, &near, sizeof(near));
    return overwrite(place, bytes);
}

int mend_code(char *code, size_t length) {
    int count = 0;
    for (size_t i = 0; i + LENGTH <= length; i++) {
        if (is_wrong(code + i)) {
            int error = mend(code + i);
            if (error < 0) {
                return error;
            }
            count++;
        }
    }
    return count;
}

#else

int mend_code(char *code, size_t length) {
    (void)code;
    (void)length;
    return 0;
}

#endif
