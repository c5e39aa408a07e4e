#include "weights/safetensors.h"

#include "base/error.h"
#include "base/random.h"

#include <doctest/doctest.h>

#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <stdexcept>

using namespace templar;

namespace {

// A file from its parts, the header as it stands.
Bytes file(const std::string& header, size_t data_bytes) {
    ByteWriter writer;
    writer.put(uint64_t{header.size()});
    writer.put_bytes(as_bytes(header));
    writer.put_zeros(data_bytes);
    return writer.take();
}

std::string padded(std::string header) {
    header.resize((header.size() + 7) / 8 * 8, ' ');
    return header;
}

std::vector<float> values_of(const StoredTensor& tensor) {
    std::vector<float> values(static_cast<size_t>(tensor.count()));
    read_values(tensor, values, "a file");
    return values;
}

std::string refusal(ByteSpan bytes) {
    try {
        read_safetensors(bytes, "a file");
    } catch (const Error& error) {
        CHECK(error.code() == ExitCode::input);
        CHECK(std::string(error.what()).starts_with("a file"));
        return error.what();
    }
    return "accepted";
}

// Reads a copy in a block of exactly its size, and every value: a sanitizer sees each step outside.
bool readable(ByteSpan bytes) {
    const std::unique_ptr<uint8_t[]> copy(new uint8_t[bytes.size()]);
    if (!bytes.empty()) std::memcpy(copy.get(), bytes.data(), bytes.size());
    try {
        const SafetensorsView view = read_safetensors({copy.get(), bytes.size()}, "a file");
        size_t used = 0;
        double sum = 0;
        for (const StoredTensor& tensor : view.tensors) {
            used += tensor.bytes.size();
            sum = std::accumulate(tensor.bytes.begin(), tensor.bytes.end(), sum);
            const int64_t count =
                std::accumulate(tensor.shape.begin(), tensor.shape.end(), int64_t{1}, std::multiplies{});
            CHECK(count == tensor.count());
            CHECK((tensor.dtype != "F32" || 4 * count == std::ssize(tensor.bytes)));
        }
        CHECK(used < bytes.size());
        return true;
    } catch (const Error& error) {
        CHECK(error.code() == ExitCode::input);
        return false;
    }
}

// Written by Hugging Face's safetensors 0.8: a vector, an empty tensor, a scalar, a matrix.
const std::string golden_header =
    R"({"__metadata__":{"format":"pt","note":"é\""},"bias":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
    R"("none":{"dtype":"F32","shape":[0,3],"data_offsets":[4,4]},"scalar":{"dtype":"F32","shape":[],"data_offsets":[4,8]},)"
    R"("w":{"dtype":"F32","shape":[2,3],"data_offsets":[8,32]}}       )";
const char* golden_data = "0000003f0000e0400000803f000020c0000040400000000077cc2b3200e07f47";

Bytes golden_file() {
    Bytes bytes = file(golden_header, 0);
    const Bytes data = from_hex(golden_data, 32, "golden data");
    bytes.insert(bytes.end(), data.begin(), data.end());
    return bytes;
}

const std::vector<float> bias{0.5f}, scalar{7}, matrix{1, -2.5f, 3, 0, 1e-8f, 65504};

}  // namespace

TEST_CASE("safetensors: a file of Hugging Face's is read") {
    const Bytes bytes = golden_file();
    REQUIRE(bytes[0] == 24);  // 280 = 0x118
    const SafetensorsView view = read_safetensors(bytes, "golden");
    CHECK(view.metadata == std::map<std::string, std::string>{{"format", "pt"}, {"note", "é\""}});
    REQUIRE(view.tensors.size() == 4);
    const char* names[] = {"bias", "none", "scalar", "w"};
    const std::vector<int64_t> shapes[] = {{1}, {0, 3}, {}, {2, 3}};
    const std::vector<float> values[] = {bias, {}, scalar, matrix};
    for (size_t i = 0; i < 4; ++i) {
        CHECK(view.tensors[i].name == names[i]);
        CHECK(view.tensors[i].shape == shapes[i]);
        CHECK(values_of(view.tensors[i]) == values[i]);
    }
}

TEST_CASE("safetensors: and written, byte for byte") {
    CHECK(write_safetensors(
              {{"bias", {1}, bias}, {"none", {0, 3}, {}}, {"scalar", {}, scalar}, {"w", {2, 3}, matrix}},
              {{"format", "pt"}, {"note", "é\""}}) == golden_file());
}

TEST_CASE("safetensors: tensors keep the writer's order, not that of their names") {
    const std::vector<float> values(12, 1.5f);
    const std::span<const float> all(values);
    const Bytes bytes = write_safetensors(
        {{"z", {2, 3}, all.first(6)}, {"a", {5}, all.first(5)}, {"m", {1}, all.first(1)}}, {});
    uint64_t header_bytes;
    std::memcpy(&header_bytes, bytes.data(), sizeof header_bytes);
    CHECK(header_bytes % 8 == 0);
    CHECK(bytes.size() == 8 + header_bytes + 48);
    const SafetensorsView view = read_safetensors(bytes, "a file");
    REQUIRE(view.tensors.size() == 3);
    CHECK(view.tensors[0].name == "z");
    CHECK(view.tensors[1].name == "a");
    CHECK(view.tensors[2].name == "m");
    CHECK(view.metadata.empty());
    CHECK(read_safetensors(write_safetensors({}, {}), "empty").tensors.empty());
}

TEST_CASE("safetensors: what no reader would accept is not written") {
    const std::vector<float> values(4);
    CHECK_THROWS_AS(write_safetensors({{"a", {5}, values}}, {}), std::invalid_argument);
    CHECK_THROWS_AS(write_safetensors({{"a", {4}, values}, {"a", {4}, values}}, {}), std::invalid_argument);
    CHECK_THROWS_AS(write_safetensors({{"__metadata__", {4}, values}}, {}), std::invalid_argument);
    CHECK_THROWS_AS(write_safetensors({{"\xff", {4}, values}}, {}), std::invalid_argument);
    CHECK_THROWS_AS(write_safetensors({{std::string(513, 'a'), {4}, values}}, {}), std::invalid_argument);
    CHECK_THROWS_AS(write_safetensors({{"a", {4}, values}}, {{"big", std::string(1 << 20, 'x')}}),
                    std::invalid_argument);
}

TEST_CASE("safetensors: bad headers are refused by field") {
    auto tensor = [](const std::string& text, size_t data_bytes) {
        return refusal(file(padded(text), data_bytes));
    };
    auto has = [](const std::string& message, const char* part) {
        CAPTURE(message);
        CHECK(message.find(part) != std::string::npos);
    };
    has(refusal({}), "ends after 0 bytes");
    Bytes huge = file("{}", 0);
    huge[7] = 0x80;
    has(refusal(huge), "header length: expected at most 2, found 9223372036854775810");
    has(refusal(file(std::string((1 << 20) + 8, ' '), 0)), "header length: expected at most 1048576");
    has(tensor("", 0), "expected a JSON object");
    has(tensor("[]", 0), "expected a JSON object");
    has(tensor("  {}", 0), "expected a JSON object");  // as the format asks
    has(tensor("{", 0), "not JSON");
    has(tensor("{} {}", 0), "not JSON");
    has(tensor("{\"\xff\":1}", 0), "not JSON");
    has(tensor("{\"a\":" + std::string(1 << 19, '['), 0), "nested deeper");
    has(tensor("{\"a\":" + std::string(1 << 19, '{'), 0), "not JSON");
    has(tensor("{\"" + std::string(513, 'a') + "\":1}", 0), "more than 512 bytes");
    has(tensor("{\"a\":1}", 0), "exactly dtype, shape and data_offsets");
    has(tensor(R"({"a":{"dtype":"F32","shape":[1]}})", 4), "exactly dtype, shape and data_offsets");
    has(tensor(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1}})", 4), "exactly dtype");
    for (const char* dtype : {"F4", "f32", "", "F320"})
        has(tensor(fmt::format(R"({{"a":{{"dtype":"{}","shape":[1],"data_offsets":[0,4]}}}})", dtype), 4),
            "dtype: expected one that the format knows, found");
    for (const char* dtype : {"BF16", "F64", "U8"})
        has(tensor(fmt::format(R"({{"a":{{"dtype":"{}","shape":[1],"data_offsets":[0,4]}}}})", dtype), 4),
            "data_offsets: expected");
    has(tensor(R"({"a":{"dtype":1,"shape":[1],"data_offsets":[0,4]}})", 4), "dtype: expected a string");
    for (const char* shape : {"1", "[-1]", "[1.0]", "[\"1\"]", "[[1]]", "[99999999999999999999]"})
        has(tensor(fmt::format(R"({{"a":{{"dtype":"F32","shape":{},"data_offsets":[0,4]}}}})", shape), 4),
            "shape");
    for (const char* shape : {"[9223372036854775807]", "[4294967296,4294967296]", "[18446744073709551615,2]",
                              "[2,2,2,2,2,2]", "[0,9223372036854775808]"})
        has(tensor(fmt::format(R"({{"a":{{"dtype":"F32","shape":{},"data_offsets":[0,4]}}}})", shape), 4),
            "shape: expected no more elements");
    for (const char* offsets : {"[0]", "[0,4,8]", "[0,-4]", "[0,4.0]", "null", "4"})
        has(tensor(fmt::format(R"({{"a":{{"dtype":"F32","shape":[1],"data_offsets":{}}}}})", offsets), 4),
            "two whole numbers");
    for (const char* offsets : {"[4,0]", "[0,3]", "[18446744073709551615,0]"})
        has(tensor(fmt::format(R"({{"a":{{"dtype":"F32","shape":[1],"data_offsets":{}}}}})", offsets), 4),
            "data_offsets: expected 4 bytes, found");
    for (const char* offsets : {"[0,8]", "[8,12]", "[18446744073709551612,18446744073709551615]"})
        has(tensor(fmt::format(R"({{"a":{{"dtype":"F32","shape":[1],"data_offsets":{}}}}})", offsets), 4),
            "but only 4 are there: is the file truncated?");
    has(tensor(R"({"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}})", 8), "is the file truncated?");
    has(tensor(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8),
        "expected to begin at 0, found 4");
    has(tensor(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 8),
        "expected 4 bytes of tensors, found 8");
    has(tensor(
            R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
            12),
        "tensor b: data_offsets: expected to begin at 8, found 4");
    has(tensor(
            R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
            4),
        "stands twice");
    has(tensor(R"({"__metadata__":[]})", 0), "__metadata__: expected an object");
    has(tensor(R"({"__metadata__":{"a":1}})", 0), "__metadata__: a: expected a string");
}

TEST_CASE("safetensors: truncated and altered files are refused or read within their bounds") {
    const Bytes good = golden_file();
    CHECK(readable(good));
    for (size_t length = 0; length < good.size(); ++length) CHECK(!readable(ByteSpan(good).first(length)));
    Bytes longer = good;
    longer.push_back(0);
    CHECK(!readable(longer));

    size_t accepted = 0;
    for (size_t i = 0; i < good.size(); ++i)
        for (int bit = 0; bit < 8; ++bit) {
            Bytes bad = good;
            bad[i] ^= static_cast<uint8_t>(1 << bit);
            accepted += readable(bad);
        }
    CHECK(accepted >= 32 * 8);     // data is not ours to judge, nor are names …
    CHECK(accepted < 2 * 32 * 8);  // … but nearly everything else is

    CounterRng rng(sha256(as_bytes("safetensors fuzz")));
    const std::string alphabet = R"({}[]",:0123456789-.eF\ )";
    for (int trial = 0; trial < 20'000; ++trial) {
        Bytes bad = good;
        for (uint64_t edits = 1 + rng.below(4); edits > 0; --edits) {
            const size_t at = rng.below(bad.size());
            switch (rng.below(4)) {
                case 0:
                    bad[at] = static_cast<uint8_t>(rng.below(256));
                    break;
                case 1:
                    bad[at] = static_cast<uint8_t>(alphabet[rng.below(alphabet.size())]);
                    break;
                case 2:
                    bad.erase(bad.begin() + static_cast<std::ptrdiff_t>(at));
                    break;
                default:
                    bad.insert(bad.begin() + static_cast<std::ptrdiff_t>(at), bad[rng.below(bad.size())]);
            }
        }
        readable(bad);
    }
}
