#include "kernels/arena.h"

#include "base/error.h"

#include <cstdlib>
#include <cstring>

namespace templar {

namespace {
constexpr int64_t alignment = 64;
int64_t round_up(int64_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }
}  // namespace

AlignedBuffer::AlignedBuffer(int64_t bytes) : size_(bytes) {
    const size_t padded = static_cast<size_t>(round_up(bytes > 0 ? bytes : 1));
    memory_.reset(static_cast<std::byte*>(std::aligned_alloc(alignment, padded)));
    if (!memory_)
        fail(ExitCode::storage, "not enough memory: {:.1f} MiB asked for; use a smaller batch or model",
             static_cast<double>(bytes) / (1 << 20));
    std::memset(memory_.get(), 0, padded);
}

void AlignedBuffer::Free::operator()(std::byte* memory) const { std::free(memory); }

Tensor Arena::f32(const std::string& name, std::initializer_list<int64_t> shape) { return take(name, DType::f32, shape); }
Tensor Arena::i32(const std::string& name, std::initializer_list<int64_t> shape) { return take(name, DType::i32, shape); }

Tensor Arena::take(const std::string& name, DType type, std::initializer_list<int64_t> shape) {
    std::byte* position = nullptr;
    int64_t bytes = 4;  // both element types
    for (int64_t extent : shape) bytes *= extent;
    bytes = round_up(bytes);
    if (committed_) {
        if (used_ + bytes > memory_.size())
            fail(ExitCode::internal, "arena: '{}' was not in the dry run (or is larger than there)", name);
        position = memory_.data() + used_;
    } else {
        entries_.push_back({name, bytes});
    }
    used_ += bytes;
    return type == DType::f32 ? Tensor(reinterpret_cast<float*>(position), shape)
                              : Tensor(reinterpret_cast<int32_t*>(position), shape);
}

void Arena::commit() {
    memory_ = AlignedBuffer(used_);
    used_ = 0;
    committed_ = true;
}

}  // namespace templar
