#include "base/error.h"
#include "base/file.h"
#include "tokenizer/json_fields.h"
#include "tokenizer/shards.h"

#include <algorithm>
#include <set>

namespace templar {

namespace {

constexpr std::string_view format_name = "templar.cpp token shards, version 1";
constexpr int64_t most_tokens = 0x7fffffff;  // the header's count is an int32

// A file name that is safe beside the manifest on any system: no folders, nothing hidden.
bool is_plain_name(std::string_view name) {
    const auto plain = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
               c == '-' || c == '.';
    };
    return !name.empty() && name.size() <= 100 && name.front() != '.' &&
           std::all_of(name.begin(), name.end(), plain);
}

void expect_only(const JsonField& object, std::initializer_list<std::string_view> names) {
    object.object_size();
    for (const auto& [name, value] : object.value().items())
        if (std::find(names.begin(), names.end(), name) == names.end())
            object.member(name).refuse("no field of this name");
}

Digest read_digest(const JsonField& field, const std::string& what) {
    return digest_from_hex(field.string(), what);
}

ShardInfo read_shard_info(const JsonField& shard, const std::string& what) {
    expect_only(shard, {"file", "tokens", "sha256", "split"});
    ShardInfo info;
    info.file = shard.member("file").string();
    if (!is_plain_name(info.file)) shard.member("file").refuse("a plain file name (letters, digits, - _ .)");
    info.tokens = shard.member("tokens").integer(1, most_tokens);
    info.hash = read_digest(shard.member("sha256"), fmt::format("{}: sha256 of {}", what, info.file));
    info.split = shard.member("split").string();
    if (info.split != "train" && info.split != "heldout")
        shard.member("split").refuse("\"train\" or \"heldout\"");
    return info;
}

}  // namespace

std::string manifest_to_json(const Manifest& manifest) {
    std::string json = fmt::format(
        "{{\n  \"format\": \"{}\",\n  \"tokenizer\": \"{}\",\n  \"vocab_size\": {},\n  \"end_token\": {},\n"
        "  \"shards\": [",
        format_name, to_hex(manifest.tokenizer), manifest.vocab_size, manifest.end_token);
    for (size_t i = 0; i < manifest.shards.size(); ++i) {
        const ShardInfo& shard = manifest.shards[i];
        json += fmt::format("{}\n    {{\"file\": {}, \"tokens\": {}, \"sha256\": \"{}\", \"split\": {}}}",
                            i ? "," : "", json_string(shard.file), shard.tokens, to_hex(shard.hash),
                            json_string(shard.split));
    }
    return json + "\n  ]\n}\n";
}

Manifest manifest_from_json(std::string_view json, std::string_view what) {
    const nlohmann::json document = parse_json_file(json, what);
    const JsonField file(document, what);
    const std::string name(what);
    expect_only(file, {"format", "tokenizer", "vocab_size", "end_token", "shards"});
    if (file.member("format").string() != format_name)
        file.member("format").refuse(fmt::format("\"{}\"", format_name));
    Manifest manifest;
    manifest.tokenizer = read_digest(file.member("tokenizer"), name + ": tokenizer");
    manifest.vocab_size = file.member("vocab_size").integer(1, most_tokens);
    manifest.end_token = static_cast<int32_t>(file.member("end_token").integer(-1, manifest.vocab_size - 1));
    const JsonField shards = file.member("shards");
    std::set<std::string> names;
    for (size_t i = 0; i < shards.array_size(); ++i) {
        manifest.shards.push_back(read_shard_info(shards.element(i), name));
        if (!names.insert(manifest.shards.back().file).second)
            shards.element(i).member("file").refuse("every file once");
    }
    if (manifest.shards.empty()) shards.refuse("at least one shard");
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
