#include "base/error.h"
#include "base/file.h"
#include "base/strict_json.h"
#include "tokenizer/shards.h"

#include <algorithm>
#include <set>

namespace templar {

namespace {

constexpr std::string_view format_name = "templar.cpp token shards, version 1";
constexpr int64_t most_tokens = 0x7fffffff;  // the header's count is an int32
constexpr size_t most_shards = 1 << 20, most_name_bytes = 100;

// A file name that is safe beside the manifest on any system: no folders, nothing hidden.
bool is_plain_name(std::string_view name) {
    const auto plain = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
               c == '-' || c == '.';
    };
    return !name.empty() && name.size() <= most_name_bytes && name.front() != '.' &&
           std::all_of(name.begin(), name.end(), plain);
}

void describe(JsonFields& f, Manifest& manifest) {
    std::string format(format_name);
    f.text("format", format, 100);
    f.require("format", format == format_name, fmt::format("\"{}\"", format_name));
    f.digest("tokenizer", manifest.tokenizer);
    f.integer("vocab_size", manifest.vocab_size, 1, most_tokens);
    f.integer("end_token", manifest.end_token, -1, manifest.vocab_size - 1);
    std::set<std::string> names;
    f.objects("shards", manifest.shards, most_shards, [&](JsonFields& g, ShardInfo& shard) {
        g.text("file", shard.file, most_name_bytes);
        g.require("file", is_plain_name(shard.file), "a plain file name (letters, digits, - _ .)");
        g.require("file", names.insert(shard.file).second, "every file once");
        g.integer("tokens", shard.tokens, 1, most_tokens);
        g.digest("sha256", shard.hash);
        g.text("split", shard.split, 10);
        g.require("split", shard.split == "train" || shard.split == "heldout", "\"train\" or \"heldout\"");
    });
    f.require("shards", !manifest.shards.empty(), "at least one shard");
}

}  // namespace

std::string manifest_to_json(const Manifest& manifest) {
    Manifest copy = manifest;
    return write_json(
        "manifest", [&](JsonFields& f) { describe(f, copy); }, 2);
}

Manifest manifest_from_json(std::string_view json, std::string_view what) {
    Manifest manifest;
    read_json(json, what, [&](JsonFields& f) { describe(f, manifest); });
    return manifest;
}

void check_shards(const Manifest& manifest, const std::filesystem::path& folder) {
    for (const ShardInfo& shard : manifest.shards) {
        if (!is_plain_name(shard.file))
            fail(ExitCode::input, "the manifest's file name '{}' is not a plain one", shard.file);
        const std::filesystem::path path = folder / shard.file;
        const MappedFile file(path);
        const int64_t expected = shard_bytes(shard.tokens, manifest.vocab_size);
        if (static_cast<int64_t>(file.bytes().size()) != expected)
            fail(ExitCode::input, "{} has {} bytes, expected {} ({} tokens): fetch it again", path.string(),
                 file.bytes().size(), expected, shard.tokens);
        if (const Digest found = sha256(file.bytes()); found != shard.hash)
            fail(ExitCode::input, "{} has SHA-256 {}, expected {}: fetch it again", path.string(),
                 to_hex(found), to_hex(shard.hash));
    }
}

}  // namespace templar
