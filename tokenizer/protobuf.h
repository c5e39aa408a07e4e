// Protocol Buffers' wire format, as far as reading needs it: one message, field after field. Total: whatever the bytes,
// every step either moves forward inside them or throws Error(input); nothing is allocated.
#pragma once

#include "base/bytes.h"
#include "base/error.h"

#include <bit>

namespace templar {

class ProtobufReader {
  public:
    ProtobufReader(ByteSpan message, std::string_view what) : rest_(message), what_(what) {}

    // Goes to the next field; false at the end of the message. Fields that the caller does not ask for are passed over.
    bool next() {
        if (rest_.empty()) return false;
        const uint64_t tag = read_varint();
        field_ = tag >> 3;
        type_ = tag & 7;
        if (field_ == 0) fail(ExitCode::input, "{}: not a protobuf message (a field numbered 0)", what_);
        if (type_ == varint_type) {
            number_ = read_varint();
        } else if (type_ == bytes_type) {
            bytes_ = take(read_varint());
        } else if (type_ == fixed32_type || type_ == fixed64_type) {
            bytes_ = take(type_ == fixed32_type ? 4 : 8);
        } else {
            fail(ExitCode::input, "{}: field {} has wire type {}, expected 0, 1, 2 or 5", what_, field_, type_);
        }
        return true;
    }
    uint64_t field() const { return field_; }

    // The field's value. Throw Error(input) when it was written as another type.
    uint64_t number() const {
        require(varint_type, "a number");
        return number_;
    }
    bool boolean() const { return number() != 0; }
    float float32() const {
        require(fixed32_type, "a float");
        return std::bit_cast<float>(ByteReader(bytes_, what_).get<uint32_t>());
    }
    ByteSpan bytes() const {
        require(bytes_type, "a string or message");
        return bytes_;
    }
    std::string_view text() const { return as_text(bytes()); }

  private:
    static constexpr uint64_t varint_type = 0, fixed64_type = 1, bytes_type = 2, fixed32_type = 5;

    uint64_t read_varint() {
        uint64_t value = 0;
        for (int shift = 0; shift < 64; shift += 7) {
            const uint8_t byte = take(1)[0];
            value |= uint64_t{byte & 0x7fu} << shift;
            if (byte < 0x80) return value;
        }
        fail(ExitCode::input, "{}: a protobuf number of more than 10 bytes", what_);
    }
    ByteSpan take(uint64_t count) {
        if (count > rest_.size())
            fail(ExitCode::input, "{}: truncated or not a protobuf message: {} bytes expected where {} are left", what_,
                 count, rest_.size());
        const ByteSpan front = rest_.first(static_cast<size_t>(count));
        rest_ = rest_.subspan(front.size());
        return front;
    }
    void require(uint64_t type, std::string_view expected) const {
        if (type_ != type)
            fail(ExitCode::input, "{}: field {}: expected {}, found wire type {}", what_, field_, expected, type_);
    }

    ByteSpan rest_;
    std::string_view what_;
    uint64_t field_ = 0, type_ = 0, number_ = 0;
    ByteSpan bytes_;
};

}  // namespace templar
