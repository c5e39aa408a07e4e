#include "kernels/arena.h"

#include "base/error.h"

namespace templar {

Tensor Arena::take(const std::string& name, DType type, std::initializer_list<int64_t> shape) {
    constexpr int64_t alignment = 256;
    std::byte* position = nullptr;
    int64_t bytes = bytes_of(type);
    for (int64_t extent : shape) bytes *= extent;
    bytes = (bytes + alignment - 1) / alignment * alignment;
    if (committed_) {
        if (used_ + bytes > memory_.bytes())
            fail(ExitCode::internal, "arena: '{}' was not in the dry run (or is larger than there)", name);
        position = static_cast<std::byte*>(memory_.data()) + used_;
    } else {
        entries_.push_back({name, bytes});
    }
    used_ += bytes;
    return Tensor(position, type, shape);
}

void Arena::commit(Device& device) {
    memory_ = DeviceMemory(device, used_);
    used_ = 0;
    committed_ = true;
}

}  // namespace templar
