#include "kernels/cpu/scratch.h"

#include <cstdlib>
#include <memory>
#include <new>

namespace templar {

float* thread_scratch(int64_t floats) {
    struct Free {
        void operator()(float* memory) const { std::free(memory); }
    };
    thread_local std::unique_ptr<float, Free> memory;
    thread_local int64_t size = 0;
    if (size < floats) {
        memory.reset();  // the old block is freed before the larger one is asked for
        const size_t bytes = (static_cast<size_t>(floats) * sizeof(float) + 63) / 64 * 64;
        memory.reset(static_cast<float*>(std::aligned_alloc(64, bytes)));
        if (!memory) throw std::bad_alloc();
        size = floats;
    }
    return memory.get();
}

}  // namespace templar
