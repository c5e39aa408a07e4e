#include "kernels/cpu/scratch.h"

#include "kernels/arena.h"

namespace templar {

float* thread_scratch(int64_t floats) {
    thread_local AlignedBuffer buffer;
    const int64_t bytes = floats * static_cast<int64_t>(sizeof(float));
    if (buffer.size() < bytes) {
        buffer = AlignedBuffer();  // the old block is freed before the larger one is asked for
        buffer = AlignedBuffer(bytes);
    }
    return reinterpret_cast<float*>(buffer.data());
}

}  // namespace templar
