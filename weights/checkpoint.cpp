#include "weights/checkpoint.h"

#include "base/error.h"
#include "base/file.h"
#include "engine/model/config.h"
#include "weights/safetensors.h"

#include <charconv>
#include <cstring>
#include <stdexcept>

namespace templar {

namespace {

constexpr const char* format_name = "templar.cpp/checkpoint/1";
constexpr int64_t header_limit = 16 << 20;  // the metadata holds `extra`

ByteSpan bytes_of(const std::vector<float>& values) {
    return {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)};
}

// The hash stands before the data in the file; it is taken from where they lie, so that they are not copied for it.
Digest content_hash(const Checkpoint& checkpoint, ByteSpan theta, ByteSpan momentum) {
    Sha256 hash;
    hash.update(format_name).update_le(checkpoint.window).update_le(checkpoint.step).update(checkpoint.root);
    for (ByteSpan values : {theta, momentum}) hash.update_le(uint64_t{values.size() / sizeof(float)}).update(values);
    return hash.update(checkpoint.extra).finish();
}

// What a save that was killed left behind. Each is as large as a checkpoint: a few would fill the disk.
void remove_leftovers(const std::filesystem::path& folder) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        const std::string name = entry.path().filename().string();
        if (name.starts_with(std::string(".") + checkpoint_file) && name.ends_with(".tmp"))
            std::filesystem::remove(entry.path());
    }
}

template <class Integer>
Integer parse_integer(const std::string& text, std::string_view what, std::string_view key) {
    Integer value = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc() || stop != end)
        fail(ExitCode::input, "{}: {}: expected a whole number, found \"{}\"", what, key, text);
    return value;
}

// A 1-D fp32 tensor's bytes; none when the file has no such tensor.
ByteSpan find_bytes(const SafetensorsView& view, std::string_view name, std::string_view what) {
    for (const StoredTensor& tensor : view.tensors)
        if (tensor.name == name) {
            if (tensor.dtype != "F32")
                fail(ExitCode::input, "{}: {}: expected dtype F32, found {}", what, name, tensor.dtype);
            return tensor.bytes;
        }
    return {};
}

std::vector<float> as_floats(ByteSpan bytes) {
    std::vector<float> values = arena_of_floats(static_cast<int64_t>(bytes.size() / sizeof(float)));
    if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
}

std::optional<Checkpoint> load(const std::filesystem::path& folder, int64_t parameters, bool with_momentum) {
    const std::filesystem::path path = folder / checkpoint_file;
    // A link that leads nowhere is not "no checkpoint": starting anew would be the worst answer to it.
    if (std::filesystem::symlink_status(path).type() == std::filesystem::file_type::not_found) return std::nullopt;
    const std::string what = path.string();
    const MappedFile file(path);
    const SafetensorsView view = read_safetensors(file.bytes(), what, header_limit);

    auto metadata = [&](const char* key) -> const std::string& {
        const auto entry = view.metadata.find(key);
        if (entry == view.metadata.end()) fail(ExitCode::input, "{}: metadata: {} is missing", what, key);
        return entry->second;
    };
    if (metadata("format") != format_name)
        fail(ExitCode::input, "{}: format: expected {}, found {}", what, format_name, metadata("format"));

    Checkpoint checkpoint;
    checkpoint.window = parse_integer<uint64_t>(metadata("window"), what, "window");
    checkpoint.step = parse_integer<int64_t>(metadata("step"), what, "step");
    checkpoint.root = digest_from_hex(metadata("root"), what + ": root");
    checkpoint.extra = metadata("extra");
    const ByteSpan theta = find_bytes(view, "theta", what), momentum = find_bytes(view, "momentum", what);
    if (content_hash(checkpoint, theta, momentum) != digest_from_hex(metadata("sha256"), what + ": sha256"))
        fail(ExitCode::input,
             "{} is damaged (its SHA-256 differs): remove it to start from the run's newest checkpoint", what);

    const auto expected = static_cast<size_t>(parameters), found = theta.size() / sizeof(float);
    if (found != expected)
        fail(ExitCode::input, "{}: theta: expected {} values, found {}: it is of another model", what, expected, found);
    checkpoint.theta = as_floats(theta);
    if (with_momentum) checkpoint.momentum = as_floats(momentum);
    return checkpoint;
}

}  // namespace

void save_checkpoint(const std::filesystem::path& folder, const Checkpoint& checkpoint) {
    if (!checkpoint.momentum.empty() &&
        (checkpoint.theta.empty() || checkpoint.momentum.size() % checkpoint.theta.size() != 0))
        throw std::invalid_argument("save_checkpoint: expected a multiple of theta's values in momentum, or none");
    std::vector<NamedTensor> tensors;
    tensors.push_back({"theta", {static_cast<int64_t>(checkpoint.theta.size())}, checkpoint.theta});
    if (!checkpoint.momentum.empty())
        tensors.push_back({"momentum", {static_cast<int64_t>(checkpoint.momentum.size())}, checkpoint.momentum});
    try {
        std::filesystem::create_directories(folder);
        remove_leftovers(folder);
    } catch (const std::filesystem::filesystem_error& error) {
        fail(ExitCode::storage, "cannot save a checkpoint: {}", error.what());
    }
    const Digest hash = content_hash(checkpoint, bytes_of(checkpoint.theta), bytes_of(checkpoint.momentum));
    const Metadata metadata = {{"format", format_name},
                               {"window", std::to_string(checkpoint.window)},
                               {"step", std::to_string(checkpoint.step)},
                               {"root", to_hex(checkpoint.root)},
                               {"extra", checkpoint.extra},
                               {"sha256", to_hex(hash)}};
    write_safetensors(folder / checkpoint_file, tensors, metadata, {.header_limit = header_limit});
}

std::optional<Checkpoint> load_checkpoint(const std::filesystem::path& folder, int64_t parameters) {
    return load(folder, parameters, true);
}

std::optional<Checkpoint> load_checkpoint_model(const std::filesystem::path& folder, int64_t parameters) {
    return load(folder, parameters, false);
}

}  // namespace templar
