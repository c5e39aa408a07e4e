// Working memory of an operation: one block per thread, kept for the next call.
#pragma once

#include <cstdint>

namespace templar {

// At least `floats` floats aligned to 64 bytes, contents undefined, valid until this thread asks again; it may lend them to
// the other threads of its operation.
// Allocates only when a thread asks for more than ever before; ends the program when memory is short (it is
// asked for inside parallel regions, which no exception may leave).
float* thread_scratch(int64_t floats);

}  // namespace templar
