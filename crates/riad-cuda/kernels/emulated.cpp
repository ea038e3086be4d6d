// The kernels as C++ and what runs them, in one translation unit: the linker cannot drop the table of kernels, and
// threadIdx is one variable.
//
// A thread of a block is a fiber once it waits at a barrier. Until then threads run one after another in the same fiber,
// so that a kernel without barriers costs no switches.
#include "emulated.h"

#include "kernels.cu"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

// Names of its own, beside those of the kernels.
namespace riad_emulated {
namespace {

constexpr unsigned int MAX_THREADS = 256;
constexpr size_t STACK_BYTES = 64 * 1024;

struct Fiber {
    jmp_buf place;
    bool made;
    unsigned int thread;
    // The barrier at which it waits; no file where it does not.
    const char *file;
    int line;
};

RiadKernel *kernels;
Fiber fibers[MAX_THREADS];

// The launch that runs.
const RiadKernel *kernel;
const void *kernel_arguments;
jmp_buf scheduler;
Fiber *fiber;
// Threads of the block that have been started, and whether the last one comes first.
unsigned int started;
bool backwards;

// With little stack, since it is also called after a crash.
void fail(const char *what) {
    char text[512];
    snprintf(text, sizeof text, "riad-cuda: kernel %s, block (%u, %u, %u), thread %u: %s\n", kernel->name, blockIdx.x,
             blockIdx.y, blockIdx.z, threadIdx.x, what);
    if (write(STDERR_FILENO, text, strlen(text)) < 0) {
        abort();
    }
}

[[noreturn]] void fail_and_abort(const char *what) {
    fail(what);
    abort();
}

// Saves where it is called from in `from`, and goes on at `to`. swapcontext would also ask the system each time, which takes
// several times as long.
inline void go(jmp_buf &from, jmp_buf &to) {
    if (_setjmp(from) == 0) {
        _longjmp(to, 1);
    }
}

// What a fiber does: runs threads until all are started, then waits for the next block.
void work() {
    for (;;) {
        while (started < blockDim.x) {
            fiber->thread = backwards ? blockDim.x - 1 - started : started;
            started += 1;
            threadIdx.x = fiber->thread;
            kernel->run(kernel_arguments);
        }
        fiber->file = nullptr;
        go(fiber->place, scheduler);
    }
}

// Starts a fiber on a stack of its own.
void start(Fiber &made) {
    ucontext_t context;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *memory = mmap(nullptr, page + STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    // The lowest page is no memory: a thread with more local variables than fit crashes.
    if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE) != 0 || getcontext(&context) != 0) {
        fail_and_abort("no memory for its stack");
    }
    context.uc_stack.ss_sp = (char *)memory + page;
    context.uc_stack.ss_size = STACK_BYTES;
    context.uc_link = nullptr;
    makecontext(&context, work, 0);
    made.made = true;
    setcontext(&context);
}

void resume(Fiber &next) {
    fiber = &next;
    threadIdx.x = next.thread;
    next.file = nullptr;
    if (next.made) {
        go(scheduler, next.place);
    } else if (_setjmp(scheduler) == 0) {
        start(next);
    }
}

// Whether all threads of the block wait at one barrier; otherwise all must have come to their end.
bool all_wait(unsigned int used) {
    const Fiber *first = nullptr;
    unsigned int waiting = 0;
    for (unsigned int i = 0; i < used; i++) {
        const Fiber &other = fibers[i];
        if (other.file == nullptr) {
            continue;
        }
        if (first == nullptr) {
            first = &other;
        }
        waiting += 1;
        threadIdx.x = other.thread;
        if (other.line != first->line || strcmp(other.file, first->file) != 0) {
            fprintf(stderr, "%s:%d: thread %u waits here\n", first->file, first->line, first->thread);
            fprintf(stderr, "%s:%d: thread %u waits here\n", other.file, other.line, other.thread);
            fail_and_abort("threads of a block wait at different barriers");
        }
    }
    if (waiting != 0 && waiting != blockDim.x) {
        fprintf(stderr, "%s:%d: %u of %u threads wait here\n", first->file, first->line, waiting, blockDim.x);
        fail_and_abort("waits at a barrier that other threads of its block never reach");
    }
    return waiting != 0;
}

void run_block() {
    started = 0;
    unsigned int used = 0;
    while (started < blockDim.x) {
        resume(fibers[used]);
        used += 1;
    }
    while (all_wait(used)) {
        for (unsigned int i = 0; i < used; i++) {
            resume(fibers[i]);
        }
    }
}

// Says where a kernel has crashed, then lets it crash.
void crashed(int number) {
    fail(number == SIGILL ? "an index beyond an array, or an address that is not aligned"
                          : "a wrong address, or more than 64 KiB of local variables");
    signal(number, SIG_DFL);
}

} // namespace

// Runs a kernel on `grid` blocks of `block` threads, from 1 to 256; one launch at a time. 0: done, 1: there is no such kernel.
extern "C" int riad_emulated_launch(const char *name, uint32_t grid_x, uint32_t grid_y, uint32_t grid_z, uint32_t block,
                                    const void *arguments) {
    RiadKernel *found = kernels;
    while (found != nullptr && strcmp(found->name, name) != 0) {
        found = found->next;
    }
    if (found == nullptr) {
        return 1;
    }
    kernel = found;
    kernel_arguments = arguments;
    blockDim = {block, 1, 1};
    gridDim = {grid_x, grid_y, grid_z};
    threadIdx = {0, 0, 0};

    const int crashes[] = {SIGILL, SIGSEGV, SIGBUS};
    struct sigaction before[3], during = {};
    during.sa_handler = crashed;
    during.sa_flags = SA_ONSTACK;
    for (int i = 0; i < 3; i++) {
        sigaction(crashes[i], &during, &before[i]);
    }
    // A barrier that is missing shows in one order of the threads or the other: they alternate from block to block and
    // from launch to launch.
    backwards = found->launches % 2 != 0;
    found->launches += 1;
    for (uint32_t z = 0; z < grid_z; z++) {
        for (uint32_t y = 0; y < grid_y; y++) {
            for (uint32_t x = 0; x < grid_x; x++) {
                blockIdx = {x, y, z};
                run_block();
                backwards = !backwards;
            }
        }
    }
    for (int i = 0; i < 3; i++) {
        sigaction(crashes[i], &before[i], nullptr);
    }
    return 0;
}

} // namespace riad_emulated

RiadKernel::RiadKernel(const char *name, void (*run)(const void *))
    : name(name), run(run), launches(0), next(riad_emulated::kernels) {
    riad_emulated::kernels = this;
}

void riad_barrier(const char *file, int line) {
    riad_emulated::Fiber *fiber = riad_emulated::fiber;
    fiber->file = file;
    fiber->line = line;
    riad_emulated::go(fiber->place, riad_emulated::scheduler);
}

// For the tests of the emulation: turns each block's part of an array around. Threads beyond the length leave before the
// barrier, which is wrong.
struct EmulatedReverse {
    const uint32_t *from;
    uint32_t *to;
    uint32_t length;
};
static_assert(sizeof(EmulatedReverse) == 24, "the tests have another struct");

static void emulated_reverse(EmulatedReverse a) {
    __shared__ uint32_t part[256];
    uint32_t block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    uint32_t at = block * blockDim.x + threadIdx.x;
    if (at >= a.length) {
        return;
    }
    part[threadIdx.x] = a.from[at];
    __syncthreads();
    a.to[at] = part[blockDim.x - 1 - threadIdx.x];
}

EXPORT(emulated_reverse, emulated_reverse, EmulatedReverse)

// Rounds to bf16, for the same tests.
struct EmulatedRound {
    const float *from;
    bf16 *to;
    uint32_t length;
};
static_assert(sizeof(EmulatedRound) == sizeof(EmulatedReverse), "the tests have one struct for both");

static void emulated_round(EmulatedRound a) {
    uint32_t at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at < a.length) {
        from_float(a.from[at], a.to[at]);
    }
}

EXPORT(emulated_round, emulated_round, EmulatedRound)
