#include "simt_fiber.h"

#include <new>

#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// ---- The switch -----------------------------------------------------------------------------------------------------
// A function call may change any register but six: whoever calls simt_switch_stack has saved all others. So the six and
// the stack pointer are all there is to exchange. (ucontext does the same with a system call for the signal mask: 15
// times slower.)
#if !defined(SIMT_UCONTEXT)
// Pushes the six, stores the stack pointer in *from, takes over the stack pointer `to`, pops the six that lie there,
// and returns to where that side called (or, the first time, into its entry function).
extern "C" void simt_switch_stack(void** from, void* to);
asm(R"(
    .pushsection .text
    .globl simt_switch_stack
    .type simt_switch_stack, @function
simt_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size simt_switch_stack, . - simt_switch_stack
    .popsection
)");
#endif

namespace simt {

namespace {

std::size_t page_bytes() {
    static const std::size_t bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    return bytes;
}

// Stacks lie a whole number of pages apart. If all began at the same place of a page, they would all want the same few
// lines of the first-level cache, so each begins a little deeper than the one before.
std::size_t next_stagger() {
    static thread_local unsigned made = 0;
    return made++ % 16 * 192;
}

#if defined(__SANITIZE_ADDRESS__)
// The sanitizer tells the bounds of a stack to whoever comes from it; of an OS thread's nobody else knows them.
thread_local Fiber* left_last = nullptr;
#endif

}  // namespace

Fiber::Fiber(void (*entry)()) : stack_size_(stack_bytes) {
    void* memory =
        mmap(nullptr, page_bytes() + stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    mapping_ = static_cast<unsigned char*>(memory);
    mprotect(mapping_, page_bytes(), PROT_NONE);
    stack_ = mapping_ + page_bytes();
    unsigned char* const top = mapping_ + page_bytes() + stack_bytes - next_stagger();
#if defined(SIMT_UCONTEXT)
    getcontext(&context_);
    context_.uc_stack.ss_sp = mapping_ + page_bytes();
    context_.uc_stack.ss_size = static_cast<std::size_t>(top - (mapping_ + page_bytes()));
    makecontext(&context_, entry, 0);
#else
    void** slot = reinterpret_cast<void**>(top);
    *--slot = nullptr;                          // where entry would return to: nowhere
    *--slot = reinterpret_cast<void*>(entry);   // where simt_switch_stack returns to
    for (int i = 0; i < 6; ++i) *--slot = nullptr;  // the six registers
    stack_pointer_ = slot;
#endif
}

Fiber::~Fiber() {
    if (!mapping_) return;
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(mapping_ + page_bytes(), stack_bytes);  // of frames that were left for good
#endif
    munmap(mapping_, page_bytes() + stack_bytes);
}

void Fiber::switch_to(Fiber& next) {
#if defined(__SANITIZE_ADDRESS__)
    left_last = this;
    void* fake_stack = nullptr;
    __sanitizer_start_switch_fiber(&fake_stack, next.stack_, next.stack_size_);
#endif
#if defined(SIMT_UCONTEXT)
    swapcontext(&context_, &next.context_);
#else
    simt_switch_stack(&stack_pointer_, next.stack_pointer_);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_stack, &left_last->stack_, &left_last->stack_size_);
#endif
}

void Fiber::arrived() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &left_last->stack_, &left_last->stack_size_);
#endif
}

}  // namespace simt
