#include "tokenizer/tokenizer_json.h"

#include "base/error.h"
#include "base/strict_json.h"

#include <algorithm>
#include <array>
#include <unordered_map>

namespace templar {

namespace {

using TokenIds = std::unordered_map<std::string, int32_t>;  // by spelling in the file

std::string json_string(const std::string& text) {
    return nlohmann::json(text).dump();
}

// {"token": id, …}; the ids must lie in 0 … limit − 1.
TokenIds read_vocab(const Field& vocab, size_t limit) {
    TokenIds ids;
    vocab.object_size();
    for (const auto& [token, id] : vocab.value().items())
        ids.emplace(token, static_cast<int32_t>(vocab.member(token).integer(0, static_cast<int64_t>(limit) - 1)));
    return ids;
}

std::vector<std::string> tokens_in_order(const TokenIds& ids, std::string_view what) {
    std::vector<std::string> tokens(ids.size());
    for (const auto& [spelled, id] : ids) {
        if (id >= static_cast<int32_t>(ids.size()))
            fail(ExitCode::input,
                 "{}: token '{}' has id {}, but there are only {} tokens: ids must run from 0 without holes", what,
                 spelled, id, ids.size());
        if (spelled.empty()) fail(ExitCode::input, "{}: the token with id {} is empty", what, id);
        std::string& token = tokens[static_cast<size_t>(id)];
        if (!token.empty()) fail(ExitCode::input, "{}: tokens '{}' and another one both have id {}", what, spelled, id);
        token = spelled;
    }
    return tokens;
}

int32_t merge_part(const TokenIds& ids, const std::string& part, size_t rank, std::string_view what) {
    const auto found = ids.find(part);
    if (found == ids.end()) fail(ExitCode::input, "{}: merges[{}]: '{}' is not in the vocabulary", what, rank, part);
    return found->second;
}

// "left right": tokens are spelled without a space, so there is exactly one.
std::pair<std::string, std::string> split_merge(std::string_view line, size_t rank, std::string_view what) {
    const size_t space = line.find(' ');
    if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos || space == 0 ||
        space + 1 == line.size())
        fail(ExitCode::input, "{}: merges[{}]: expected two tokens with one space between, found '{}'", what, rank,
             line);
    return {std::string(line.substr(0, space)), std::string(line.substr(space + 1))};
}

std::vector<std::pair<int32_t, int32_t>> read_merges(const Field& merges, const TokenIds& ids, std::string_view what) {
    std::vector<std::pair<int32_t, int32_t>> pairs;
    pairs.reserve(merges.array_size());
    for (size_t rank = 0; rank < merges.array_size(); ++rank) {
        const Field merge = merges.element(rank);
        std::pair<std::string, std::string> pair;
        if (merge.value().is_string()) {
            pair = split_merge(merge.string(), rank, what);
        } else {
            if (merge.array_size() != 2) merge.refuse("two tokens");
            pair = {std::string(merge.element(0).string()), std::string(merge.element(1).string())};
        }
        pairs.emplace_back(merge_part(ids, pair.first, rank, what), merge_part(ids, pair.second, rank, what));
    }
    return pairs;
}

// Adds the file's added tokens to `ids` where they are not in model.vocab.
void read_added(const Field& file, TokenIds& ids, size_t limit, TokenizerJson& result) {
    if (!file.has("added_tokens")) return;
    const Field added = file.member("added_tokens");
    for (size_t i = 0; i < added.array_size(); ++i) {
        const Field token = added.element(i);
        const std::string content(token.member("content").string());
        const auto id = static_cast<int32_t>(token.member("id").integer(0, static_cast<int64_t>(limit) - 1));
        const auto known = ids.emplace(content, id).first;
        if (known->second != id)
            token.member("id").refuse(fmt::format("{}, the id of '{}' in model.vocab", known->second, content));
        if (!result.added.insert(id).second) token.member("id").refuse("an id that no other added token has");
        if (token.member("special").boolean()) continue;
        for (const char* flag : {"single_word", "lstrip", "rstrip"}) check_flag(token, flag, false, false);
        if (file.has("normalizer")) check_flag(token, "normalized", false, false);
        result.searched.insert(id);
    }
}

// The special tokens that a post_processor puts before and after a text; "" where it puts none.
std::pair<std::string, std::string> read_template(const Field& post) {
    if (is_of_type(post, "ByteLevel")) return {};
    if (is_of_type(post, "Sequence")) {
        const Field processors = post.member("processors");
        std::pair<std::string, std::string> found;
        for (size_t i = 0; i < processors.array_size(); ++i)
            if (auto [begin, end] = read_template(processors.element(i)); !begin.empty() || !end.empty())
                found = {std::move(begin), std::move(end)};
        return found;
    }
    if (!is_of_type(post, "TemplateProcessing")) post.member("type").refuse("\"ByteLevel\" or \"TemplateProcessing\"");
    std::pair<std::string, std::string> found;
    const Field single = post.member("single");
    bool before = true;
    for (size_t i = 0; i < single.array_size(); ++i) {
        const Field part = single.element(i);
        if (!part.has("SpecialToken")) {
            part.member("Sequence");
            before = false;
        } else {
            std::string& name = before ? found.first : found.second;
            if (!name.empty()) part.refuse("one token before the text and one after it, at most");
            name = part.member("SpecialToken").member("id").string();
        }
    }
    return found;
}

// The special token of that name, or else of the first of the usual names that there is.
int32_t special_token(const TokenizerJson& json, const std::optional<std::string>& name,
                      std::initializer_list<std::string_view> usual, std::string_view what) {
    const auto id_of = [&](std::string_view wanted) -> int32_t {
        for (const int32_t id : json.added)
            if (json.tokens[static_cast<size_t>(id)] == wanted) return id;
        return -1;
    };
    if (name && name->empty()) return -1;
    if (name) {
        const int32_t id = id_of(*name);
        if (id < 0) fail(ExitCode::input, "{}: '{}' begins or ends a text, but is no added token", what, *name);
        return id;
    }
    for (const std::string_view other : usual)
        if (const int32_t id = id_of(other); id >= 0) return id;
    return -1;
}

void find_begin_and_end(const Field& file, SpecialNames names, std::string_view what, TokenizerJson& result) {
    if (file.has("post_processor")) {
        const auto [begin, end] = read_template(file.member("post_processor"));
        if (!names.begin && !begin.empty()) names.begin = begin;
        if (!names.end && !end.empty()) names.end = end;
    }
    result.begin_token = special_token(result, names.begin, {"<s>", "<|begin_of_text|>", "<bos>"}, what);
    result.end_token =
        special_token(result, names.end, {"<|endoftext|>", "</s>", "<|end_of_text|>", "<|im_end|>", "<eos>"}, what);
    const bool only_one = result.added.size() == 1 && result.searched.empty();
    if (result.end_token < 0 && !names.end && only_one && result.begin_token < 0)
        result.end_token = *result.added.begin();
}

std::string post_processor(const TokenizerJson& tokenizer) {
    if (tokenizer.begin_token < 0) return "null";
    const std::string name = json_string(tokenizer.tokens[static_cast<size_t>(tokenizer.begin_token)]);
    const auto part = [&](const char* sequence, int type) {
        return fmt::format(
            "{{\"SpecialToken\": {{\"id\": {}, \"type_id\": {}}}}}, {{\"Sequence\": {{\"id\": \"{}\", \"type_id\": "
            "{}}}}}",
            name, type, sequence, type);
    };
    return fmt::format(
        "{{\"type\": \"TemplateProcessing\", \"single\": [{}],\n    \"pair\": [{}, {}],\n    \"special_tokens\": {{{}: "
        "{{\"id\": {}, \"ids\": [{}], \"tokens\": [{}]}}}}}}",
        part("A", 0), part("A", 0), part("B", 1), name, name, tokenizer.begin_token, name);
}

}  // namespace

bool is_of_type(const Field& part, std::string_view type) {
    return part.member("type").string() == type;
}

void check_flag(const Field& part, const std::string& name, bool expected, bool when_absent) {
    if (!part.has(name) && when_absent == expected) return;
    if (part.member(name).boolean() != expected) part.member(name).refuse(expected ? "true" : "false");
}

void check_plain_bpe(const Field& model) {
    if (model.has("type") && !is_of_type(model, "BPE")) model.member("type").refuse("\"BPE\"");
    if (model.has("dropout")) model.member("dropout").refuse("null");
    for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"})
        if (model.has(name) && !model.member(name).string().empty()) model.member(name).refuse("null");
}

TokenizerJson read_tokenizer_json(const Field& file, std::string_view what, const SpecialNames& names) {
    const Field vocab = file.member("model").member("vocab");
    const size_t limit =
        vocab.object_size() + (file.has("added_tokens") ? file.member("added_tokens").array_size() : 0);
    TokenIds ids = read_vocab(vocab, limit);
    TokenizerJson result;
    read_added(file, ids, limit, result);
    result.tokens = tokens_in_order(ids, what);
    result.merges = read_merges(file.member("model").member("merges"), ids, what);
    find_begin_and_end(file, names, what, result);
    return result;
}

TokenizerJson read_vocab_and_merges(std::string_view vocab_json, std::string_view merges_txt) {
    constexpr std::string_view end_of_text = "<|endoftext|>", what = "merges.txt";
    const nlohmann::json document = parse_json(vocab_json, "vocab.json");
    const Field vocab(document, "vocab.json");
    const TokenIds ids = read_vocab(vocab, vocab.object_size());
    TokenizerJson result;
    if (const auto end = ids.find(std::string(end_of_text)); end != ids.end()) {
        result.end_token = end->second;
        result.added = {end->second};
    }
    result.tokens = tokens_in_order(ids, "vocab.json");
    for (size_t begin = 0, end; begin < merges_txt.size(); begin = end + 1) {
        end = std::min(merges_txt.find('\n', begin), merges_txt.size());
        std::string_view line = merges_txt.substr(begin, end - begin);
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (line.empty() || (begin == 0 && line.starts_with("#version"))) continue;
        const size_t rank = result.merges.size();
        const auto [left, right] = split_merge(line, rank, what);
        result.merges.emplace_back(merge_part(ids, left, rank, what), merge_part(ids, right, rank, what));
    }
    return result;
}

// Written line by line, not through a JSON library: the order of the vocabulary is the order of ids.
std::string write_tokenizer_json(const TokenizerJson& tokenizer, const TokenizerJsonKind& kind) {
    std::string json =
        "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": [";
    const char* comma = "";
    for (const int32_t id : tokenizer.added) {
        json += fmt::format(
            "{}\n    {{\"id\": {}, \"content\": {}, \"single_word\": false, \"lstrip\": false, "
            "\"rstrip\": false, \"normalized\": false, \"special\": {}}}",
            comma, id, json_string(tokenizer.tokens[static_cast<size_t>(id)]), !tokenizer.searched.contains(id));
        comma = ",";
    }
    json += fmt::format(
        "\n  ],\n  \"normalizer\": {},\n  \"pre_tokenizer\": {},\n  \"post_processor\": {},\n  \"decoder\": {},\n"
        "  \"model\": {{\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"continuing_subword_prefix\": null,\n"
        "    \"end_of_word_suffix\": null,\n    {},\n    \"vocab\": {{",
        kind.normalizer, kind.pre_tokenizer, post_processor(tokenizer), kind.decoder, kind.model);
    for (size_t id = 0; id < tokenizer.tokens.size(); ++id)
        json += fmt::format("{}\n      {}: {}", id ? "," : "", json_string(tokenizer.tokens[id]), id);
    json += "\n    },\n    \"merges\": [";
    for (size_t rank = 0; rank < tokenizer.merges.size(); ++rank) {
        const auto [left, right] = tokenizer.merges[rank];
        json += fmt::format("{}\n      {}", rank ? "," : "",
                            json_string(tokenizer.tokens[static_cast<size_t>(left)] + " " +
                                        tokenizer.tokens[static_cast<size_t>(right)]));
    }
    json += "\n    ]\n  }\n}\n";
    return json;
}

}  // namespace templar
