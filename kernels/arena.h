// One block of a device's memory for many tensors of one lifetime.
#pragma once

#include "kernels/device.h"

#include <string>
#include <vector>

namespace templar {

// Hands out tensors from one block. It is used twice: a dry run records what is asked for and hands out views without
// memory; then `commit` allocates exactly that, and the same sequence of calls is made again.
class Arena {
  public:
    struct Entry {
        std::string name;
        int64_t bytes;
    };

    // The next tensor of the sequence. Before commit() its data pointer is null.
    Tensor take(const std::string& name, DType type, std::initializer_list<int64_t> shape);
    // Allocates what was measured, zero-filled, and rewinds. Throws as Device::allocate.
    void commit(Device& device);
    // Bytes asked for so far (each tensor rounded up to 256).
    int64_t bytes() const { return used_; }
    const std::vector<Entry>& entries() const { return entries_; }

  private:
    DeviceMemory memory_;
    std::vector<Entry> entries_;
    int64_t used_ = 0;
    bool committed_ = false;
};

}  // namespace templar
