/* next.c: mends a fault of LuaJIT. It stands in the place of a function of LuaJIT's.
 *
 * LuaJIT before April 2022, as Debian 12 has it, may exchange both results of a call by
 * an instruction of 32 bits (https://github.com/LuaJIT/LuaJIT/issues/829). In compiled
 * code of pairs() and next() a pointer loses its upper half so, and the process dies.
 * Which registers code uses is luck: few of many thousand traces are so.
 *
 *     call lj_vm_next
 *     xchg eax, edx      is skipped, after all 64 bits were exchanged
 *
 * The linker gives LuaJIT this for lj_vm_next (--wrap in the Makefile). LuaJIT's later
 * versions have another byte behind the call. */
#ifdef __x86_64__

/* The callee writes below the frame of who has called, so that the return address goes
 * out of its place; nothing that it calls uses r11. */
__asm__(".text\n"
        ".weak __real_lj_vm_next\n"
        ".hidden __wrap_lj_vm_next\n"
        ".globl __wrap_lj_vm_next\n"
        ".type __wrap_lj_vm_next, @function\n"
        "__wrap_lj_vm_next:\n"
        "    pop %r11\n"
        "    call __real_lj_vm_next\n"
        "    cmpb $0x92, (%r11)\n"
        "    je 1f\n"
        "    push %r11\n"
        "    ret\n"
        "1:  xchg %rax, %rdx\n"
        "    inc %r11\n"
        "    push %r11\n"
        "    ret\n"
        ".size __wrap_lj_vm_next, .-__wrap_lj_vm_next\n");

#else

typedef int nothing; /* a file of C has a declaration */

#endif
