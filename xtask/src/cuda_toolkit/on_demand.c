/*
 * A library's functions, each of which loads the library when it is first called. A program that links these instead of
 * the library starts on machines without it, and hears of its absence as the error code that the library itself gives
 * when it cannot be initialised.
 *
 * For x86-64 Linux. Compiled once per library, with
 *   LIBRARY    the name that the loader finds it by
 *   ABSENT     the status its functions return while it is absent
 *   FUNCTIONS  a file with a line FUNCTION(name, number, kind) for each function; kind says what it returns: status, text
 *              or nothing (zero, for those that return a size)
 */
#include <dlfcn.h>
#include <stddef.h>

static int absent_status(void) { return ABSENT; }
static const char *absent_text(void) { return LIBRARY " is not there"; }
static size_t absent_nothing(void) { return 0; }

static const struct {
    const char *name;
    void *absent;
} functions[] = {
#define FUNCTION(name, number, kind) {#name, (void *)absent_##kind},
#include FUNCTIONS
#undef FUNCTION
};

/* Where each function goes; null until it is first called. */
static void *targets[sizeof functions / sizeof *functions] __attribute__((used));

/* Threads may come here at once: they find the same, and a pointer is written whole. */
static void *find(size_t number) __attribute__((used));
static void *find(size_t number) {
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    void *function = library ? dlsym(library, functions[number].name) : NULL;
    if (!function) {
        function = functions[number].absent;
    }
    __atomic_store_n(&targets[number], function, __ATOMIC_RELEASE);
    return function;
}

/*
 * Comes with the function's number in r11, which calls may overwrite; keeps every register that arguments travel in, and
 * goes on to the function as if it had been called itself.
 */
__asm__(
    ".text\n"
    "find_and_go_on:\n"
    "  push %rdi\n  push %rsi\n  push %rdx\n  push %rcx\n  push %r8\n  push %r9\n  push %rax\n"
    "  sub $128, %rsp\n" /* with the return address, a multiple of 16 */
    "  movaps %xmm0, 0(%rsp)\n  movaps %xmm1, 16(%rsp)\n  movaps %xmm2, 32(%rsp)\n  movaps %xmm3, 48(%rsp)\n"
    "  movaps %xmm4, 64(%rsp)\n  movaps %xmm5, 80(%rsp)\n  movaps %xmm6, 96(%rsp)\n  movaps %xmm7, 112(%rsp)\n"
    "  mov %r11, %rdi\n"
    "  call find\n"
    "  mov %rax, %r11\n"
    "  movaps 0(%rsp), %xmm0\n  movaps 16(%rsp), %xmm1\n  movaps 32(%rsp), %xmm2\n  movaps 48(%rsp), %xmm3\n"
    "  movaps 64(%rsp), %xmm4\n  movaps 80(%rsp), %xmm5\n  movaps 96(%rsp), %xmm6\n  movaps 112(%rsp), %xmm7\n"
    "  add $128, %rsp\n"
    "  pop %rax\n  pop %r9\n  pop %r8\n  pop %rcx\n  pop %rdx\n  pop %rsi\n  pop %rdi\n"
    "  jmp *%r11\n");

#define FUNCTION(name, number, kind)                                                                                   \
    __asm__(".globl " #name "\n.type " #name ", @function\n" #name ":\n"                                             \
            "  mov targets+8*" #number "(%rip), %r11\n"                                                              \
            "  test %r11, %r11\n"                                                                                      \
            "  je 1f\n"                                                                                                \
            "  jmp *%r11\n"                                                                                            \
            "1: mov $" #number ", %r11d\n"                                                                           \
            "  jmp find_and_go_on\n");
#include FUNCTIONS
