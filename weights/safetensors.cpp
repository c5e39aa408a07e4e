#include "weights/safetensors.h"

#include "base/error.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>
#include <stdexcept>
#include <tuple>

namespace templar {

namespace {

using nlohmann::json;

// Room for hundreds of thousands of tensors, and a bound on what parsing a stranger's header may cost.
constexpr uint64_t max_header_bytes = 16 << 20;
constexpr size_t max_name_bytes = 512;
constexpr const char* metadata_key = "__metadata__";

uint64_t element_count(const NamedTensor& tensor) {
    uint64_t count = 1;
    for (int64_t dimension : tensor.shape) count *= static_cast<uint64_t>(dimension);
    return count;
}

}  // namespace

Bytes write_safetensors(const std::vector<NamedTensor>& tensors,
                        const std::map<std::string, std::string>& metadata) {
    nlohmann::ordered_json header = nlohmann::ordered_json::object();
    if (!metadata.empty()) header[metadata_key] = metadata;
    uint64_t offset = 0;
    for (const NamedTensor& tensor : tensors) {
        if (tensor.name.size() > max_name_bytes || tensor.name == metadata_key ||
            header.contains(tensor.name))
            throw std::invalid_argument("write_safetensors: the name " + tensor.name +
                                        " is too long or taken");
        if (element_count(tensor) != tensor.values.size())
            throw std::invalid_argument("write_safetensors: shape and values of " + tensor.name + " differ");
        const uint64_t end = offset + tensor.values.size_bytes();
        header[tensor.name] = {{"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
        offset = end;
    }
    std::string text;
    try {
        text = header.dump();
    } catch (const json::exception& error) {
        throw std::invalid_argument(std::string("write_safetensors: names and metadata must be UTF-8: ") +
                                    error.what());
    }
    text.resize((text.size() + 7) / 8 * 8, ' ');
    if (text.size() > max_header_bytes)
        throw std::invalid_argument("write_safetensors: more names and metadata than a reader accepts");

    ByteWriter length;
    length.put(uint64_t{text.size()});
    Bytes bytes = length.take();
    bytes.reserve(bytes.size() + text.size() + offset);
    bytes.insert(bytes.end(), text.begin(), text.end());
    for (const NamedTensor& tensor : tensors) {
        const auto* data = reinterpret_cast<const uint8_t*>(tensor.values.data());
        bytes.insert(bytes.end(), data, data + tensor.values.size_bytes());
    }
    return bytes;
}

namespace {

// Refuses names given twice, for JSON parsers disagree on which one counts, and names that would fill a log.
class CheckedKeys {
  public:
    explicit CheckedKeys(std::string_view what) : what_(what) {}
    bool operator()(int depth, json::parse_event_t event, json& value) {
        if (depth > max_depth) fail(ExitCode::input, "{}: header: nested deeper than {}", what_, max_depth);
        if (event == json::parse_event_t::object_start) open_.emplace_back();
        if (event == json::parse_event_t::object_end) open_.pop_back();
        if (event == json::parse_event_t::key) {
            const auto key = value.get<std::string>();
            if (key.size() > max_name_bytes)
                fail(ExitCode::input, "{}: header: a name has more than {} bytes", what_, max_name_bytes);
            if (!open_.back().insert(key).second)
                fail(ExitCode::input, "{}: header: the name {} is given twice", what_, key);
        }
        return true;
    }

  private:
    static constexpr int max_depth = 4;
    std::string_view what_;
    std::vector<std::set<std::string>> open_;  // keys of the objects that are not closed yet
};

json parse_header(std::string_view text, std::string_view what) {
    if (!text.starts_with('{')) fail(ExitCode::input, "{}: header: expected a JSON object", what);
    try {
        return json::parse(text, CheckedKeys(what));
    } catch (const json::exception& error) {
        fail(ExitCode::input, "{}: header: expected JSON: {}", what, error.what());
    }
}

std::map<std::string, std::string> parse_metadata(const json& value, std::string_view what) {
    if (!value.is_object()) fail(ExitCode::input, "{}: {}: expected an object", what, metadata_key);
    std::map<std::string, std::string> metadata;
    for (const auto& [key, text] : value.items()) {
        if (!text.is_string())
            fail(ExitCode::input, "{}: {}: {}: expected a string", what, metadata_key, key);
        metadata[key] = text.get<std::string>();
    }
    return metadata;
}

// A tensor as its header entry describes it, checked against the number of data bytes.
struct Entry {
    NamedTensor tensor;
    uint64_t begin = 0, end = 0;
};

Entry parse_entry(const std::string& name, const json& value, uint64_t data_bytes, std::string_view what) {
    auto check = [&](bool good, std::string_view field, std::string_view expected) {
        if (!good) fail(ExitCode::input, "{}: tensor {}: {}: expected {}", what, name, field, expected);
    };
    auto is_whole = [](const json& number) { return number.is_number_unsigned(); };
    check(value.is_object() && value.size() == 3 && value.contains("dtype") && value.contains("shape") &&
              value.contains("data_offsets"),
          "header", "exactly dtype, shape and data_offsets");

    const json& dtype = value.at("dtype");
    check(dtype.is_string(), "dtype", "a string");
    if (dtype != "F32")
        fail(ExitCode::input, "{}: tensor {}: dtype: expected F32, found {}", what, name,
             dtype.get<std::string>().substr(0, 16));

    Entry entry;
    entry.tensor.name = name;
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

    const json& offsets = value.at("data_offsets");
    check(offsets.is_array() && offsets.size() == 2 && std::all_of(offsets.begin(), offsets.end(), is_whole),
          "data_offsets", "two whole numbers");
    entry.begin = offsets[0].get<uint64_t>();
    entry.end = offsets[1].get<uint64_t>();
    if (entry.begin > entry.end || entry.end > data_bytes || entry.end - entry.begin != count * sizeof(float))
        fail(ExitCode::input, "{}: tensor {}: data_offsets: expected {} bytes within {}, found [{}, {}]",
             what, name, count * sizeof(float), data_bytes, entry.begin, entry.end);
    return entry;
}

}  // namespace

SafetensorsView read_safetensors(ByteSpan bytes, std::string_view what) {
    ByteReader reader(bytes, what);
    const auto header_bytes = reader.get<uint64_t>();
    const uint64_t limit = std::min<uint64_t>(max_header_bytes, reader.remaining());
    if (header_bytes > limit)
        fail(ExitCode::input, "{}: header length: expected at most {}, found {}", what, limit, header_bytes);
    const json header = parse_header(as_text(reader.get_bytes(header_bytes)), what);
    const ByteSpan data = reader.get_bytes(reader.remaining());
    if (reinterpret_cast<uintptr_t>(data.data()) % alignof(float) != 0)
        fail(ExitCode::input, "{}: header length: expected a multiple of 8, found {}", what, header_bytes);

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
        entry.tensor.values = {reinterpret_cast<const float*>(data.data() + entry.begin),
                               (entry.end - entry.begin) / sizeof(float)};
        view.tensors.push_back(std::move(entry.tensor));
    }
    if (expected != data.size())
        fail(ExitCode::input, "{}: expected {} bytes of tensors, found {}", what, expected, data.size());
    return view;
}

}  // namespace templar
