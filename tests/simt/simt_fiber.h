// Fibers: stacks that take turns on one OS thread.
#pragma once

#include <cstddef>

#if !(defined(__x86_64__) && defined(__LP64__) && defined(__ELF__)) || defined(SIMT_USE_UCONTEXT)
#define SIMT_UCONTEXT 1
#include <ucontext.h>
#endif

namespace simt {

// Kernels keep little on the stack; the address sanitizer puts wide margins around it.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr std::size_t stack_bytes = 256 * 1024;
#else
inline constexpr std::size_t stack_bytes = 64 * 1024;
#endif

class Fiber {
  public:
    // The stack that the caller is on.
    Fiber() = default;
    // A stack of its own, `entry` being called at the first switch to it; it never returns. Running over the end of the
    // stack ends the program (SIGSEGV on a guard page). Throws std::bad_alloc.
    explicit Fiber(void (*entry)());
    ~Fiber();  // of one that is not running; what its frames hold is not destroyed
    Fiber(const Fiber&) = delete;
    Fiber& operator=(const Fiber&) = delete;

    // Leaves this fiber, which is the running one, for `next`; returns when another fiber switches back.
    void switch_to(Fiber& next);
    // What `entry` calls first: tells the address sanitizer which stack it is on.
    static void arrived();

  private:
#if defined(SIMT_UCONTEXT)
    ucontext_t context_{};
#else
    void* stack_pointer_ = nullptr;  // the registers to return to lie there
#endif
    unsigned char* mapping_ = nullptr;  // guard page, then the stack
    const void* stack_ = nullptr;       // for the address sanitizer
    std::size_t stack_size_ = 0;
};

}  // namespace simt
