// Views of memory: what every operation of ops.h takes. A view owns nothing.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>

namespace templar {

enum class DType : uint8_t { f32, i32 };

// Contiguous, row-major, up to four dimensions. A default-constructed view means "absent".
struct Tensor {
    void* data = nullptr;
    DType dtype = DType::f32;
    int rank = 0;
    std::array<int64_t, 4> shape{};

    Tensor() = default;
    Tensor(float* values, std::initializer_list<int64_t> extents) : Tensor(values, DType::f32, extents) {}
    Tensor(int32_t* values, std::initializer_list<int64_t> extents) : Tensor(values, DType::i32, extents) {}
    // Read-only inputs: operations state which arguments they write.
    Tensor(const float* values, std::initializer_list<int64_t> extents)
        : Tensor(const_cast<float*>(values), DType::f32, extents) {}
    Tensor(const int32_t* values, std::initializer_list<int64_t> extents)
        : Tensor(const_cast<int32_t*>(values), DType::i32, extents) {}

    explicit operator bool() const { return data != nullptr; }
    int64_t numel() const {
        int64_t n = rank > 0 ? 1 : 0;
        for (int i = 0; i < rank; ++i) n *= shape[i];
        return n;
    }
    int64_t last() const { return shape[rank - 1]; }             // extent of the last dimension
    int64_t rows() const { return last() ? numel() / last() : 0; }  // product of all others
    float* f32() const { return static_cast<float*>(data); }
    int32_t* i32() const { return static_cast<int32_t*>(data); }

  private:
    Tensor(void* values, DType type, std::initializer_list<int64_t> extents) : data(values), dtype(type) {
        for (int64_t extent : extents) shape[rank++] = extent;
    }
};

}  // namespace templar
