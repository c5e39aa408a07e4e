// Tokenizers as files: Hugging Face's tokenizer.json and GPT-2's vocab.json with merges.txt.
#include "base/error.h"
#include "base/file.h"
#include "base/strict_json.h"
#include "tokenizer/bpe.h"
#include "tokenizer/byte_level.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>
#include <unordered_map>

namespace templar {

namespace {

using nlohmann::json;

constexpr std::string_view end_of_text = "<|endoftext|>";

std::string json_string(const std::string& text) {
    return json(text).dump();
}

// A value and its place in a file, for error messages.
class Field {
  public:
    Field(const json& value, std::string_view what, std::string path = "")
        : value_(&value), what_(what), path_(std::move(path)) {}

    const json& value() const { return *value_; }
    // Whether this object has the member and it is not null.
    bool has(const std::string& name) const { return value_->contains(name) && !(*value_)[name].is_null(); }
    // The member or element; throws Error(input) when this is not an object or array that has it.
    Field member(const std::string& name) const;
    Field element(size_t index) const;

    // Throw Error(input) when the value is of another kind or out of range.
    size_t object_size() const;
    size_t array_size() const;
    std::string_view string() const;
    bool boolean() const;
    int64_t integer(int64_t least, int64_t most) const;

    // Throws Error(input): "<what>: <path>: expected <expected>, found <the value, shortened>".
    [[noreturn]] void refuse(std::string_view expected) const;

  private:
    const json* value_;
    std::string_view what_;
    std::string path_;
};

std::string shortened(const json& value) {
    if (value.is_object()) return fmt::format("an object of {} members", value.size());
    if (value.is_array()) return fmt::format("an array of {} elements", value.size());
    std::string text = value.dump(-1, ' ', true);
    return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

Field Field::member(const std::string& name) const {
    if (!value_->is_object()) refuse("an object");
    const std::string path = path_.empty() ? name : path_ + "." + name;
    const auto found = value_->find(name);
    if (found == value_->end()) fail(ExitCode::input, "{}: {} is missing", what_, path);
    return {*found, what_, path};
}

Field Field::element(size_t index) const {
    const std::string path = fmt::format("{}[{}]", path_, index);
    if (index >= array_size()) fail(ExitCode::input, "{}: {} is missing", what_, path);
    return {(*value_)[index], what_, path};
}

size_t Field::object_size() const {
    if (!value_->is_object()) refuse("an object");
    return value_->size();
}

size_t Field::array_size() const {
    if (!value_->is_array()) refuse("an array");
    return value_->size();
}

std::string_view Field::string() const {
    if (!value_->is_string()) refuse("a string");
    return value_->get_ref<const std::string&>();
}

bool Field::boolean() const {
    if (!value_->is_boolean()) refuse("true or false");
    return value_->get<bool>();
}

int64_t Field::integer(int64_t least, int64_t most) const {
    const bool in_range =
        value_->is_number_integer() &&
        (!value_->is_number_unsigned() || value_->get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX)) &&
        value_->get<int64_t>() >= least && value_->get<int64_t>() <= most;
    if (!in_range) refuse(fmt::format("a whole number from {} to {}", least, most));
    return value_->get<int64_t>();
}

void Field::refuse(std::string_view expected) const {
    fail(ExitCode::input, "{}: {}: expected {}, found {}", what_, path_.empty() ? "the file" : path_,
         expected, shortened(*value_));
}

using TokenIds = std::unordered_map<std::string, int32_t>;  // by spelling in the file

// {"token": id, …}; the ids must lie in 0 … limit − 1.
TokenIds read_vocab(const Field& vocab, size_t limit) {
    TokenIds ids;
    vocab.object_size();
    for (const auto& [token, id] : vocab.value().items())
        ids.emplace(token,
                    static_cast<int32_t>(vocab.member(token).integer(0, static_cast<int64_t>(limit) - 1)));
    return ids;
}

// Token bytes in id order. `special` tokens are spelled as they are, the others byte-level.
std::vector<std::string> tokens_in_order(const TokenIds& ids, const std::set<int32_t>& special,
                                         std::string_view what) {
    std::vector<std::string> tokens(ids.size());
    for (const auto& [spelled, id] : ids) {
        if (id >= static_cast<int32_t>(ids.size()))
            fail(ExitCode::input,
                 "{}: token '{}' has id {}, but there are only {} tokens: ids must run from 0 without holes",
                 what, spelled, id, ids.size());
        if (spelled.empty()) fail(ExitCode::input, "{}: the token with id {} is empty", what, id);
        std::string& token = tokens[static_cast<size_t>(id)];
        if (!token.empty())
            fail(ExitCode::input, "{}: tokens '{}' and another one both have id {}", what, spelled, id);
        if (special.contains(id)) {
            token = spelled;
        } else if (auto bytes = from_byte_level(spelled)) {
            token = std::move(*bytes);
        } else {
            fail(ExitCode::input,
                 "{}: token '{}' (id {}) has a character that byte-level BPE does not use: not a byte-level "
                 "BPE",
                 what, spelled, id);
        }
    }
    return tokens;
}

int32_t merge_part(const TokenIds& ids, const std::string& part, size_t rank, std::string_view what) {
    const auto found = ids.find(part);
    if (found == ids.end())
        fail(ExitCode::input, "{}: merges[{}]: '{}' is not in the vocabulary", what, rank, part);
    return found->second;
}

// "left right": byte-level spelling has no space, so there is exactly one.
std::pair<std::string, std::string> split_merge(std::string_view line, size_t rank, std::string_view what) {
    const size_t space = line.find(' ');
    if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos ||
        space == 0 || space + 1 == line.size())
        fail(ExitCode::input, "{}: merges[{}]: expected two tokens with one space between, found '{}'", what,
             rank, line);
    return {std::string(line.substr(0, space)), std::string(line.substr(space + 1))};
}

void check_kind(const Field& part, const std::string& name, std::string_view type) {
    if (part.member(name).member("type").string() != type)
        part.member(name).member("type").refuse(fmt::format("\"{}\" (a byte-level BPE as GPT-2's)", type));
}

void check_flag(const Field& part, const std::string& name, bool expected, bool when_absent) {
    if (!part.has(name) && when_absent == expected) return;
    if (part.member(name).boolean() != expected) part.member(name).refuse(expected ? "true" : "false");
}

// Everything in the file that would make Hugging Face's library split or merge text in another way than this
// class.
void check_pipeline(const Field& file) {
    if (file.has("normalizer")) file.member("normalizer").refuse("null: text is encoded as it is");
    check_kind(file, "pre_tokenizer", "ByteLevel");
    check_flag(file.member("pre_tokenizer"), "add_prefix_space", false, true);
    check_flag(file.member("pre_tokenizer"), "use_regex", true, true);
    check_kind(file, "decoder", "ByteLevel");
    if (file.has("post_processor")) check_kind(file, "post_processor", "ByteLevel");
    const Field model = file.member("model");
    if (model.has("type")) check_kind(file, "model", "BPE");
    if (model.has("dropout")) model.member("dropout").refuse("null");
    for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"})
        if (model.has(name) && !model.member(name).string().empty()) model.member(name).refuse("null");
    for (const char* name : {"byte_fallback", "ignore_merges"}) check_flag(model, name, false, false);
}

// Adds the file's special tokens to `ids` where they are not in model.vocab; returns their ids.
std::set<int32_t> read_special(const Field& file, TokenIds& ids, size_t limit) {
    std::set<int32_t> special;
    if (!file.has("added_tokens")) return special;
    const Field added = file.member("added_tokens");
    for (size_t i = 0; i < added.array_size(); ++i) {
        const Field token = added.element(i);
        const std::string content(token.member("content").string());
        const auto id = static_cast<int32_t>(token.member("id").integer(0, static_cast<int64_t>(limit) - 1));
        if (!token.member("special").boolean())
            token.member("special").refuse("true: tokens that are searched in the text are not supported");
        const auto known = ids.emplace(content, id).first;
        if (known->second != id)
            token.member("id").refuse(
                fmt::format("{}, the id of '{}' in model.vocab", known->second, content));
        if (!special.insert(id).second) token.member("id").refuse("an id that no other added token has");
    }
    return special;
}

}  // namespace

ByteLevelBpe ByteLevelBpe::from_json(std::string_view json, std::string_view what) {
    const nlohmann::json document = parse_json(json, what);
    const Field file(document, what);
    check_pipeline(file);
    const Field vocab = file.member("model").member("vocab");
    const size_t limit =
        vocab.object_size() + (file.has("added_tokens") ? file.member("added_tokens").array_size() : 0);
    TokenIds ids = read_vocab(vocab, limit);
    Parts parts;
    const std::set<int32_t> special = read_special(file, ids, limit);
    parts.tokens = tokens_in_order(ids, special, what);
    parts.special.assign(special.begin(), special.end());
    for (const int32_t id : parts.special)
        if (parts.special.size() == 1 || parts.tokens[static_cast<size_t>(id)] == end_of_text)
            parts.end_token = id;

    const Field merges = file.member("model").member("merges");
    parts.merges.reserve(merges.array_size());
    for (size_t rank = 0; rank < merges.array_size(); ++rank) {
        const Field merge = merges.element(rank);
        std::pair<std::string, std::string> pair;
        if (merge.value().is_string()) {
            pair = split_merge(merge.string(), rank, what);
        } else {
            if (merge.array_size() != 2) merge.refuse("two tokens");
            pair = {std::string(merge.element(0).string()), std::string(merge.element(1).string())};
        }
        parts.merges.emplace_back(merge_part(ids, pair.first, rank, what),
                                  merge_part(ids, pair.second, rank, what));
    }
    return ByteLevelBpe(std::move(parts), what);
}

ByteLevelBpe ByteLevelBpe::from_gpt2(std::string_view vocab_json, std::string_view merges_txt) {
    const nlohmann::json document = parse_json(vocab_json, "vocab.json");
    const Field vocab(document, "vocab.json");
    const TokenIds ids = read_vocab(vocab, vocab.object_size());
    Parts parts;
    if (const auto end = ids.find(std::string(end_of_text)); end != ids.end()) {
        parts.end_token = end->second;
        parts.special = {end->second};
    }
    parts.tokens = tokens_in_order(ids, {parts.special.begin(), parts.special.end()}, "vocab.json");
    for (size_t begin = 0, end; begin < merges_txt.size(); begin = end + 1) {
        end = std::min(merges_txt.find('\n', begin), merges_txt.size());
        std::string_view line = merges_txt.substr(begin, end - begin);
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (line.empty() || (begin == 0 && line.starts_with("#version"))) continue;
        const size_t rank = parts.merges.size();
        const auto [left, right] = split_merge(line, rank, "merges.txt");
        parts.merges.emplace_back(merge_part(ids, left, rank, "merges.txt"),
                                  merge_part(ids, right, rank, "merges.txt"));
    }
    return ByteLevelBpe(std::move(parts), "vocab.json and merges.txt");
}

// Written line by line, not through a JSON library: the order of the vocabulary is the order of ids.
std::string ByteLevelBpe::to_json() const {
    std::vector<std::string> spelled(tokens_.size());
    for (size_t id = 0; id < tokens_.size(); ++id) spelled[id] = to_byte_level(tokens_[id]);
    for (const int32_t id : special_) spelled[static_cast<size_t>(id)] = tokens_[static_cast<size_t>(id)];

    std::string json =
        "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": [";
    for (size_t i = 0; i < special_.size(); ++i)
        json += fmt::format(
            "{}\n    {{\"id\": {}, \"content\": {}, \"single_word\": false, \"lstrip\": false, "
            "\"rstrip\": false, \"normalized\": false, \"special\": true}}",
            i ? "," : "", special_[i], json_string(spelled[static_cast<size_t>(special_[i])]));
    json +=
        "\n  ],\n  \"normalizer\": null,\n"
        "  \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, "
        "\"use_regex\": true},\n"
        "  \"post_processor\": null,\n"
        "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, "
        "\"use_regex\": true},\n"
        "  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": null,\n"
        "    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n    \"fuse_unk\": "
        "false,\n"
        "    \"byte_fallback\": false,\n    \"ignore_merges\": false,\n    \"vocab\": {";
    for (size_t id = 0; id < spelled.size(); ++id)
        json += fmt::format("{}\n      {}: {}", id ? "," : "", json_string(spelled[id]), id);
    json += "\n    },\n    \"merges\": [";
    for (size_t rank = 0; rank < merges_.size(); ++rank) {
        const auto [left, right] = merges_[rank];
        json += fmt::format(
            "{}\n      {}", rank ? "," : "",
            json_string(spelled[static_cast<size_t>(left)] + " " + spelled[static_cast<size_t>(right)]));
    }
    json += "\n    ]\n  }\n}\n";
    return json;
}

}  // namespace templar
