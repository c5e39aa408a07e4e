// One block of memory for many tensors of one lifetime.
#pragma once

#include "kernels/tensor.h"

#include <memory>
#include <string>
#include <vector>

namespace templar {

// Zero-filled memory aligned to 64 bytes (a cache line, an AVX-512 register).
class AlignedBuffer {
  public:
    AlignedBuffer() = default;
    explicit AlignedBuffer(int64_t bytes);  // throws Error(storage) when the memory is not there
    std::byte* data() const { return memory_.get(); }
    int64_t size() const { return size_; }

  private:
    struct Free {
        void operator()(std::byte* memory) const;
    };
    std::unique_ptr<std::byte[], Free> memory_;
    int64_t size_ = 0;
};

// Hands out tensors from one block. It is used twice: a dry run (`measure`) records what is asked for and hands out
// views without memory; then `commit` allocates exactly that, and the same sequence of calls is made again.
class Arena {
  public:
    struct Entry {
        std::string name;
        int64_t bytes;
    };

    // The next tensor of the sequence. Before commit() its data pointer is null.
    Tensor f32(const std::string& name, std::initializer_list<int64_t> shape);
    Tensor i32(const std::string& name, std::initializer_list<int64_t> shape);
    // Allocates what was measured and rewinds. Throws Error(storage) naming the sizes when memory is short.
    void commit();
    // Bytes asked for so far (each tensor rounded up to 64).
    int64_t bytes() const { return used_; }
    const std::vector<Entry>& entries() const { return entries_; }

  private:
    Tensor take(const std::string& name, DType type, std::initializer_list<int64_t> shape);

    AlignedBuffer memory_;
    std::vector<Entry> entries_;
    int64_t used_ = 0;
    bool committed_ = false;
};

}  // namespace templar
