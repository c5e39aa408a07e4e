#include "weights/safetensors.h"

#include "base/error.h"
#include "base/strict_json.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <bit>
#include <optional>
#include <tuple>

namespace templar {

namespace {

using nlohmann::json;

// The format's types. Only the first three are ever used here: the others may stand in a file beside them.
struct StoredType {
    std::string_view name;
    uint64_t bytes;
};
constexpr StoredType stored_types[] = {{"F32", 4},     {"BF16", 2},    {"F16", 2}, {"F64", 8}, {"I64", 8},
                                       {"U64", 8},     {"I32", 4},     {"U32", 4}, {"I16", 2}, {"U16", 2},
                                       {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"I8", 1},  {"U8", 1},  {"BOOL", 1}};

std::optional<uint64_t> bytes_each(std::string_view dtype) {
    for (const StoredType& type : stored_types)
        if (type.name == dtype) return type.bytes;
    return std::nullopt;
}

Metadata parse_metadata(const json& value, std::string_view what) {
    if (!value.is_object()) fail(ExitCode::input, "{}: {}: expected an object", what, metadata_key);
    Metadata metadata;
    for (const auto& [key, text] : value.items()) {
        if (!text.is_string()) fail(ExitCode::input, "{}: {}: {}: expected a string", what, metadata_key, key);
        metadata[key] = text.get<std::string>();
    }
    return metadata;
}

// A tensor as its header entry describes it, checked against the number of data bytes.
struct Entry {
    StoredTensor tensor;
    uint64_t begin = 0, end = 0;
};

Entry parse_entry(const std::string& name, const json& value, uint64_t data_bytes, std::string_view what) {
    if (name.size() > max_name_bytes)
        fail(ExitCode::input, "{}: header: a name has more than {} bytes", what, max_name_bytes);
    auto check = [&](bool good, std::string_view field, std::string_view expected) {
        if (!good) fail(ExitCode::input, "{}: tensor {}: {}: expected {}", what, name, field, expected);
    };
    auto is_whole = [](const json& number) { return number.is_number_unsigned(); };
    check(value.is_object() && value.size() == 3 && value.contains("dtype") && value.contains("shape") &&
              value.contains("data_offsets"),
          "header", "exactly dtype, shape and data_offsets");

    const json& dtype = value.at("dtype");
    check(dtype.is_string(), "dtype", "a string");
    Entry entry;
    entry.tensor.name = name;
    entry.tensor.dtype = dtype.get<std::string>();
    const std::optional<uint64_t> each = bytes_each(entry.tensor.dtype);
    if (!each)
        fail(ExitCode::input, "{}: tensor {}: dtype: expected one that the format knows, found {}", what, name,
             entry.tensor.dtype.substr(0, 16));

    const json& offsets = value.at("data_offsets");
    check(offsets.is_array() && offsets.size() == 2 && std::all_of(offsets.begin(), offsets.end(), is_whole),
          "data_offsets", "two whole numbers");
    entry.begin = offsets[0].get<uint64_t>();
    entry.end = offsets[1].get<uint64_t>();
    if (entry.begin <= entry.end && entry.end > data_bytes)
        fail(ExitCode::input,
             "{}: tensor {} ends at byte {} of the data, but only {} are there: is the file truncated?", what, name,
             entry.end, data_bytes);

    const json& shape = value.at("shape");
    check(shape.is_array() && std::all_of(shape.begin(), shape.end(), is_whole), "shape", "whole numbers");
    uint64_t count = 1;
    for (const json& dimension : shape) {
        const auto size = dimension.get<uint64_t>();
        check(size <= data_bytes && (size == 0 || count <= data_bytes / size), "shape",
              "no more elements than the file has bytes");
        count *= size;
        entry.tensor.shape.push_back(static_cast<int64_t>(size));
    }
    if (entry.begin > entry.end || entry.end - entry.begin != count * *each)
        fail(ExitCode::input, "{}: tensor {}: data_offsets: expected {} bytes, found [{}, {}]", what, name,
             count * *each, entry.begin, entry.end);
    return entry;
}

float half_to_float(uint16_t bits) {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16, magnitude = bits & 0x7fffu;
    if (magnitude >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
    // Exact, for normal and subnormal numbers alike: the exponents' offsets differ by 127 - 15.
    const float value = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(value));
}

template <class Stored, class Convert>
void convert(ByteSpan bytes, std::span<float> out, Convert&& to_float) {
    for (size_t i = 0; i < out.size(); ++i) {
        Stored stored;  // memcpy: a file's tensors need not be aligned
        std::memcpy(&stored, bytes.data() + i * sizeof stored, sizeof stored);
        out[i] = to_float(stored);
    }
}

}  // namespace

SafetensorsView read_safetensors(ByteSpan bytes, std::string_view what, int64_t header_limit) {
    ByteReader reader(bytes, what);
    const auto header_bytes = reader.get<uint64_t>();
    const uint64_t limit = std::min<uint64_t>(static_cast<uint64_t>(header_limit), reader.remaining());
    if (header_bytes > limit)
        fail(ExitCode::input, "{}: header length: expected at most {}, found {}", what, limit, header_bytes);
    const std::string_view text = as_text(reader.get_bytes(header_bytes));
    if (!text.starts_with('{')) fail(ExitCode::input, "{}: header: expected a JSON object", what);
    const json header = parse_json(text, fmt::format("{}: header", what));
    const ByteSpan data = reader.get_bytes(reader.remaining());

    SafetensorsView view;
    std::vector<Entry> entries;
    for (const auto& [name, value] : header.items()) {
        if (name == metadata_key)
            view.metadata = parse_metadata(value, what);
        else
            entries.push_back(parse_entry(name, value, data.size(), what));
    }

    // In file order the tensors must cover the data without a gap: no byte hides, none is used twice.
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
        return std::tie(a.begin, a.end, a.tensor.name) < std::tie(b.begin, b.end, b.tensor.name);
    });
    uint64_t expected = 0;
    for (Entry& entry : entries) {
        if (entry.begin != expected)
            fail(ExitCode::input, "{}: tensor {}: data_offsets: expected to begin at {}, found {}", what,
                 entry.tensor.name, expected, entry.begin);
        expected = entry.end;
        entry.tensor.bytes = data.subspan(entry.begin, entry.end - entry.begin);
        view.tensors.push_back(std::move(entry.tensor));
    }
    if (expected != data.size())
        fail(ExitCode::input, "{}: expected {} bytes of tensors, found {}", what, expected, data.size());
    return view;
}

int64_t StoredTensor::count() const {
    int64_t count = 1;
    for (int64_t dimension : shape) count *= dimension;
    return count;
}

void read_values(const StoredTensor& tensor, std::span<float> out, std::string_view what) {
    if (tensor.count() != std::ssize(out))
        fail(ExitCode::input, "{}: tensor {}: expected {} values, found {}", what, tensor.name, out.size(),
             tensor.count());
    if (tensor.dtype == "F32") {
        if (!out.empty()) std::memcpy(out.data(), tensor.bytes.data(), out.size_bytes());
    } else if (tensor.dtype == "BF16") {
        convert<uint16_t>(tensor.bytes, out,
                          [](uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); });
    } else if (tensor.dtype == "F16") {
        convert<uint16_t>(tensor.bytes, out, half_to_float);
    } else {
        fail(ExitCode::input, "{}: tensor {}: dtype: expected F32, BF16 or F16, found {}", what, tensor.name,
             tensor.dtype);
    }
}

}  // namespace templar
