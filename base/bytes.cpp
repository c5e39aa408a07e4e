#include "base/bytes.h"

#include "base/error.h"

namespace templar {

std::string to_hex(ByteSpan bytes) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string hex;
    hex.reserve(bytes.size() * 2);
    for (uint8_t byte : bytes) {
        hex.push_back(digits[byte >> 4]);
        hex.push_back(digits[byte & 15]);
    }
    return hex;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

Bytes from_hex(std::string_view hex, size_t size, std::string_view what) {
    if (hex.size() != 2 * size)
        fail(ExitCode::input, "{}: expected {} hexadecimal digits, found {} characters", what, 2 * size,
             hex.size());
    Bytes bytes(size);
    for (size_t i = 0; i < size; ++i) {
        int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            fail(ExitCode::input, "{}: expected a hexadecimal digit at position {}", what,
                 2 * i + (high < 0 ? 0 : 1));
        bytes[i] = static_cast<uint8_t>(high << 4 | low);
    }
    return bytes;
}

ByteSpan ByteReader::get_bytes(size_t count) {
    if (count > remaining())
        fail(ExitCode::input, "{}: ends after {} bytes, expected at least {}", what_, bytes_.size(),
             position_ + count);
    ByteSpan result = bytes_.subspan(position_, count);
    position_ += count;
    return result;
}

}  // namespace templar
