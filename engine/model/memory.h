// Whether a plan fits into this machine, asked before it is allocated.
#pragma once

#include <cstdint>
#include <functional>

namespace templar {

// Bytes the system could hand out now without swapping (Linux: MemAvailable); INT64_MAX where it does not
// say.
int64_t available_memory();

// Throws Error(storage) naming the largest batch that fits when `bytes` are more than available_memory().
// `bytes_for(batch)` grows with the batch.
void require_memory(int64_t bytes, int64_t batch, const std::function<int64_t(int64_t)>& bytes_for);

}  // namespace templar
