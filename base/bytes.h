// Byte strings: little-endian reading and writing, hexadecimal.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace templar {

using Bytes = std::vector<uint8_t>;
using ByteSpan = std::span<const uint8_t>;

inline ByteSpan as_bytes(std::string_view text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(ByteSpan bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Lower-case hexadecimal.
std::string to_hex(ByteSpan bytes);
// Exactly `size` bytes from 2·size hexadecimal digits; throws Error(input) naming `what`.
Bytes from_hex(std::string_view hex, size_t size, std::string_view what);

// Appends little-endian integers and raw bytes.
class ByteWriter {
  public:
    template <class Integer>
    void put(Integer value) {
        static_assert(std::is_integral_v<Integer>);
        using Unsigned = std::make_unsigned_t<Integer>;
        auto bits = static_cast<Unsigned>(value);
        for (size_t i = 0; i < sizeof(Integer); ++i) out_.push_back(static_cast<uint8_t>(bits >> (8 * i)));
    }
    void put_bytes(ByteSpan bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
    void put_zeros(size_t count) { out_.insert(out_.end(), count, 0); }
    size_t size() const { return out_.size(); }
    const Bytes& bytes() const { return out_; }
    Bytes take() { return std::move(out_); }

  private:
    Bytes out_;
};

// Reads what ByteWriter wrote. Every read is bounds-checked: past the end throws Error(input) naming `what`.
class ByteReader {
  public:
    ByteReader(ByteSpan bytes, std::string_view what) : bytes_(bytes), what_(what) {}

    template <class Integer>
    Integer get() {
        static_assert(std::is_integral_v<Integer>);
        ByteSpan raw = get_bytes(sizeof(Integer));
        std::make_unsigned_t<Integer> bits = 0;
        for (size_t i = 0; i < sizeof(Integer); ++i)
            bits |= static_cast<std::make_unsigned_t<Integer>>(
                static_cast<std::make_unsigned_t<Integer>>(raw[i]) << (8 * i));
        return static_cast<Integer>(bits);
    }
    ByteSpan get_bytes(size_t count);
    template <size_t N>
    std::array<uint8_t, N> get_array() {
        std::array<uint8_t, N> value;
        std::memcpy(value.data(), get_bytes(N).data(), N);
        return value;
    }
    size_t remaining() const { return bytes_.size() - position_; }

  private:
    ByteSpan bytes_;
    std::string_view what_;
    size_t position_ = 0;
};

}  // namespace templar
