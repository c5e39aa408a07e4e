// Byte-level BPE as files: Hugging Face's tokenizer.json and GPT-2's vocab.json with merges.txt.
#include "base/error.h"
#include "base/strict_json.h"
#include "tokenizer/bpe.h"
#include "tokenizer/byte_level.h"

#include <algorithm>

namespace templar {

namespace {

// The patterns as tokenizer.json files have them.
constexpr std::string_view llama3_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view qwen2_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

void check_byte_level(const Field& part, bool use_regex) {
    if (!is_of_type(part, "ByteLevel")) part.member("type").refuse("\"ByteLevel\" (a byte-level BPE)");
    check_flag(part, "add_prefix_space", false, true);
    check_flag(part, "use_regex", use_regex, true);
}

Split read_split(const Field& pre_tokenizer) {
    if (!is_of_type(pre_tokenizer, "Sequence")) {
        check_byte_level(pre_tokenizer, true);
        return Split::gpt2;
    }
    const Field steps = pre_tokenizer.member("pretokenizers");
    if (steps.array_size() != 2) steps.refuse("two: Split or Digits, and ByteLevel");
    const Field first = steps.element(0);
    const bool digits = is_of_type(first, "Digits");
    check_byte_level(steps.element(1), digits);
    if (digits) {
        check_flag(first, "individual_digits", true, false);
        return Split::single_digits;
    }
    if (!is_of_type(first, "Split")) first.member("type").refuse("\"Split\" or \"Digits\"");
    if (first.member("behavior").string() != "Isolated") first.member("behavior").refuse("\"Isolated\"");
    check_flag(first, "invert", false, false);
    const Field pattern = first.member("pattern").member("Regex");
    if (pattern.string() == llama3_pattern) return Split::llama3;
    if (pattern.string() == qwen2_pattern) return Split::qwen2;
    pattern.refuse("the pattern of Llama-3 or of Qwen2");
}

std::string split_json(Split split) {
    const auto byte_level = [](bool use_regex) {
        return fmt::format(
            "{{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": {}}}",
            use_regex);
    };
    if (split == Split::gpt2) return byte_level(true);
    if (split == Split::single_digits)
        return fmt::format(
            "{{\"type\": \"Sequence\", \"pretokenizers\": [\n    {{\"type\": \"Digits\", "
            "\"individual_digits\": true}},\n    {}]}}",
            byte_level(true));
    return fmt::format(
        "{{\"type\": \"Sequence\", \"pretokenizers\": [\n    {{\"type\": \"Split\", \"pattern\": {{\"Regex\": {}}}, "
        "\"behavior\": \"Isolated\", \"invert\": false}},\n    {}]}}",
        nlohmann::json(split == Split::llama3 ? llama3_pattern : qwen2_pattern).dump(), byte_level(false));
}

}  // namespace

// Added tokens are spelled as they are, the others byte-level.
ByteLevelBpe::Parts ByteLevelBpe::parts_of(TokenizerJson json, std::string_view what) {
    Parts parts;
    parts.tokens = std::move(json.tokens);
    for (size_t id = 0; id < parts.tokens.size(); ++id) {
        if (json.added.contains(static_cast<int32_t>(id))) continue;
        auto bytes = from_byte_level(parts.tokens[id]);
        if (!bytes)
            fail(ExitCode::input,
                 "{}: token '{}' (id {}) has a character that byte-level BPE does not use: not a byte-level BPE", what,
                 parts.tokens[id], id);
        parts.tokens[id] = std::move(*bytes);
    }
    parts.merges = std::move(json.merges);
    parts.added.assign(json.added.begin(), json.added.end());
    parts.searched.assign(json.searched.begin(), json.searched.end());
    parts.begin_token = json.begin_token;
    parts.end_token = json.end_token;
    return parts;
}

ByteLevelBpe ByteLevelBpe::from_json(std::string_view json, std::string_view what) {
    const nlohmann::json document = parse_json(json, what);
    return from_json(Field(document, what), what, {});
}

ByteLevelBpe ByteLevelBpe::from_json(const Field& file, std::string_view what, const SpecialNames& names) {
    const bool nfc = file.has("normalizer");
    if (nfc && !is_of_type(file.member("normalizer"), "NFC")) file.member("normalizer").refuse("null or NFC");
    const Split split = read_split(file.member("pre_tokenizer"));
    if (!is_of_type(file.member("decoder"), "ByteLevel")) file.member("decoder").member("type").refuse("\"ByteLevel\"");
    const Field model = file.member("model");
    check_plain_bpe(model);
    check_flag(model, "byte_fallback", false, false);
    Parts parts = parts_of(read_tokenizer_json(file, what, names), what);
    parts.split = split;
    parts.nfc = nfc;
    parts.ignore_merges = model.has("ignore_merges") && model.member("ignore_merges").boolean();
    return ByteLevelBpe(std::move(parts), what);
}

ByteLevelBpe ByteLevelBpe::from_gpt2(std::string_view vocab_json, std::string_view merges_txt) {
    return ByteLevelBpe(parts_of(read_vocab_and_merges(vocab_json, merges_txt), "vocab.json"),
                        "vocab.json and merges.txt");
}

std::string ByteLevelBpe::to_json() const {
    TokenizerJson json;
    json.tokens = tokens_;
    json.added = {added_.begin(), added_.end()};
    json.searched = {searched_ids_.begin(), searched_ids_.end()};
    for (size_t id = 0; id < tokens_.size(); ++id)
        if (!json.added.contains(static_cast<int32_t>(id))) json.tokens[id] = to_byte_level(tokens_[id]);
    json.merges = merges_;
    json.begin_token = begin_token_;
    json.end_token = end_token_;
    return write_tokenizer_json(
        json, {.normalizer = nfc_ ? "{\"type\": \"NFC\"}" : "null",
               .pre_tokenizer = split_json(split_),
               .decoder = "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, "
                          "\"use_regex\": true}",
               .model = fmt::format("\"unk_token\": null,\n    \"fuse_unk\": false,\n    \"byte_fallback\": false,\n"
                                    "    \"ignore_merges\": {}",
                                    ignore_merges_)});
}

}  // namespace templar
