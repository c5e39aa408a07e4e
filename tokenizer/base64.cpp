#include "tokenizer/base64.h"

#include "base/error.h"

#include <algorithm>

namespace templar {

namespace {

constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

std::string to_base64(ByteSpan bytes) {
    std::string text;
    text.reserve((bytes.size() + 2) / 3 * 4);
    for (; !bytes.empty(); bytes = bytes.subspan(std::min<size_t>(3, bytes.size()))) {
        const auto byte = [&](size_t i) { return i < bytes.size() ? uint32_t{bytes[i]} : 0; };
        const uint32_t bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (size_t i = 0; i < 4; ++i) text += i <= bytes.size() ? digits[bits >> (18 - 6 * i) & 63] : '=';
    }
    return text;
}

Bytes from_base64(std::string_view text, std::string_view what) {
    Bytes bytes;
    bytes.reserve(text.size() / 4 * 3);
    uint32_t bits = 0;
    const size_t count = text.substr(0, text.find('=')).size();
    for (size_t i = 0; i < count; ++i) {
        const size_t digit = digits.find(text[i]);
        if (digit == digits.npos) fail(ExitCode::input, "{}: byte {} is no digit of base64", what, i);
        bits = bits << 6 | static_cast<uint32_t>(digit);
        const size_t whole = (i + 1) % 4;  // digits since the last whole 3 bytes: after the second one each ends a byte
        if (whole != 1) bytes.push_back(static_cast<uint8_t>(bits >> (whole == 0 ? 0 : 8 - 2 * whole)));
    }
    if (to_base64(bytes) != text)
        fail(ExitCode::input, "{}: {} bytes that are not whole base64: truncated?", what, text.size());
    return bytes;
}

}  // namespace templar
