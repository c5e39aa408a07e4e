// Views of memory: what every operation of ops.h takes. A view owns nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace templar {

// bf16: the upper half of an fp32 number (kernels/bf16.h).
enum class DType : uint8_t { f32, bf16, i32, u8 };

constexpr int64_t bytes_of(DType type) {
    switch (type) {
        case DType::f32:
        case DType::i32: return 4;
        case DType::bf16: return 2;
        case DType::u8: return 1;
    }
    return 0;
}
constexpr const char* name_of(DType type) {
    switch (type) {
        case DType::f32: return "f32";
        case DType::bf16: return "bf16";
        case DType::i32: return "i32";
        case DType::u8: return "u8";
    }
    return "?";
}

// Contiguous, row-major, up to four dimensions. A default-constructed view means "absent".
struct Tensor {
    void* data = nullptr;  // on the device whose operations take it
    DType dtype = DType::f32;
    int rank = 0;
    std::array<int64_t, 4> shape{};

    Tensor() = default;
    Tensor(void* values, DType type, std::initializer_list<int64_t> extents) : data(values), dtype(type) {
        for (int64_t extent : extents) shape[rank++] = extent;
    }
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
    int64_t bytes() const { return numel() * bytes_of(dtype); }
    int64_t last() const { return shape[rank - 1]; }             // extent of the last dimension
    int64_t rows() const { return last() ? numel() / last() : 0; }  // product of all others
    float* f32() const { return static_cast<float*>(data); }
    int32_t* i32() const { return static_cast<int32_t*>(data); }
    uint8_t* u8() const { return static_cast<uint8_t*>(data); }

    // `extents` elements from element `first` on, in the same memory.
    [[gnu::always_inline]] Tensor view(int64_t first, std::initializer_list<int64_t> extents) const {
        return Tensor(static_cast<std::byte*>(data) + first * bytes_of(dtype), dtype, extents);
    }
};

}  // namespace templar
