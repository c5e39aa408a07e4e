// sentencepiece's BPE as a tokenizer.json, in the form that Llama's has.
#include "base/error.h"
#include "tokenizer/base64.h"
#include "tokenizer/sentencepiece.h"
#include "tokenizer/symbol_split.h"

#include <fmt/format.h>

namespace templar {

namespace {

// The steps of the normalizer after the charsmap. Its Strip would take all white space away, sentencepiece takes
// spaces.
constexpr const char* collapse = R"({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})";
constexpr const char* trim = R"({"type": "Replace", "pattern": {"Regex": "\\A +|[ \u2581]+\\z"}, "content": ""})";
constexpr const char* prepend = R"({"type": "Prepend", "prepend": "\u2581"})";
constexpr const char* escape = R"({"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"})";
constexpr const char* unescape = R"({"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "})";
constexpr const char* strip = R"({"type": "Strip", "content": " ", "start": 1, "stop": 0})";

// Whether the value is that JSON.
bool is(const Field& field, const char* json) {
    return field.value() == nlohmann::json::parse(json);
}

SentencePieceRules read_normalizer(const Field& file) {
    const Field normalizer = file.member("normalizer");
    std::vector<Field> steps{normalizer};
    if (is_of_type(normalizer, "Sequence")) {
        const Field all = normalizer.member("normalizers");
        steps.clear();
        for (size_t i = 0; i < all.array_size(); ++i) steps.push_back(all.element(i));
    }
    auto step = steps.begin();
    const auto takes = [&](const char* json) {
        const bool is_next = step != steps.end() && is(*step, json);
        if (is_next) ++step;
        return is_next;
    };
    SentencePieceRules rules;
    if (step != steps.end() && is_of_type(*step, "Precompiled")) {
        if (step->object_size() != 2) step->refuse("type and precompiled_charsmap");
        const std::string what = fmt::format("{}: normalizer: precompiled_charsmap", file.what());
        rules.charsmap = Charsmap(from_base64(step->member("precompiled_charsmap").string(), what), what);
        ++step;
    }
    rules.remove_extra_whitespaces = takes(collapse);
    const bool trims = takes(trim);
    rules.add_dummy_prefix = takes(prepend);
    if (trims != rules.remove_extra_whitespaces || !takes(escape) || step != steps.end())
        normalizer.refuse(
            "Replace of ' ' by U+2581, before it perhaps, in this order: Precompiled, Replace of ' {2,}' by ' ' and of "
            "'\\A +|[ \u2581]+\\z' by '', Prepend of U+2581");
    return rules;
}

std::string write_normalizer(const SentencePieceRules& rules) {
    std::vector<std::string> steps;
    if (!rules.charsmap.empty())
        steps.push_back(fmt::format("{{\"type\": \"Precompiled\", \"precompiled_charsmap\": \"{}\"}}",
                                    to_base64(as_bytes(rules.charsmap.bytes()))));
    if (rules.remove_extra_whitespaces) steps.insert(steps.end(), {collapse, trim});
    if (rules.add_dummy_prefix) steps.emplace_back(prepend);
    steps.emplace_back(escape);
    if (steps.size() == 1) return steps[0];
    return fmt::format("{{\"type\": \"Sequence\", \"normalizers\": [\n    {}]}}", fmt::join(steps, ",\n    "));
}

// Whether the first piece of a text may begin with a space that the text has not.
bool has_extra_space(const SentencePieceRules& rules) {
    return rules.add_dummy_prefix || rules.remove_extra_whitespaces;
}

// The decoder undoes it.
void check_decoder(const Field& file, const SentencePieceRules& rules) {
    const Field steps = file.member("decoder").member("decoders");
    const std::string fallback = R"({"type": "ByteFallback"})", fuse = R"({"type": "Fuse"})";
    const bool strips = has_extra_space(rules);
    const size_t count = strips ? 4 : 3;
    const bool fits = steps.array_size() == count && is(steps.element(0), unescape) &&
                      is(steps.element(1), fallback.c_str()) && is(steps.element(2), fuse.c_str()) &&
                      (!strips || is(steps.element(3), strip));
    if (!fits) steps.refuse(strips ? "Replace, ByteFallback, Fuse, Strip" : "Replace, ByteFallback, Fuse");
}

// Whether the map has a rule for anything in the text.
bool rewrites(const Charsmap& map, std::string_view text) {
    for (; !text.empty(); text.remove_prefix(1))
        if (map.longest(text).length > 0) return true;
    return false;
}

bool is_byte_name(std::string_view token) {
    const auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); };
    return token.size() == 6 && token.starts_with("<0x") && is_digit(token[3]) && is_digit(token[4]) && token[5] == '>';
}

}  // namespace

SentencePieceBpe SentencePieceBpe::from_json(const Field& file, std::string_view what, const SpecialNames& names) {
    SentencePieceRules rules = read_normalizer(file);
    check_decoder(file, rules);
    std::set<std::string> symbols;
    if (file.has("pre_tokenizer")) {
        if (!has_extra_space(rules)) file.member("pre_tokenizer").refuse("null");
        const std::vector<std::string> read = read_symbol_split(file.member("pre_tokenizer"));
        symbols = {read.begin(), read.end()};
    }
    const Field model = file.member("model");
    check_plain_bpe(model);
    check_flag(model, "fuse_unk", true, false);
    check_flag(model, "ignore_merges", !symbols.empty(), false);
    const std::string unknown(model.member("unk_token").string());

    TokenizerJson json = read_tokenizer_json(file, what, names);
    rules.byte_fallback = model.has("byte_fallback") && model.member("byte_fallback").boolean();
    const auto name = [&](int32_t id) { return id < 0 ? std::string() : json.tokens[static_cast<size_t>(id)]; };
    rules.begin = name(json.begin_token);
    rules.end = name(json.end_token);
    std::vector<SentencePiece> pieces(json.tokens.size());
    for (size_t i = 0; i < pieces.size(); ++i) {
        const auto id = static_cast<int32_t>(i);
        pieces[i].text = json.tokens[i];
        if (pieces[i].text == unknown)
            pieces[i].type = Type::unknown;
        else if (json.searched.contains(id))
            pieces[i].type = Type::user_defined;
        else if (json.added.contains(id))
            pieces[i].type = Type::control;
        else if (symbols.erase(pieces[i].text) > 0)
            pieces[i].type = Type::user_defined;
        else if (rules.byte_fallback && is_byte_name(pieces[i].text))
            pieces[i].type = Type::byte;
    }
    if (!symbols.empty())
        file.member("pre_tokenizer").refuse(fmt::format("tokens that are not special, not '{}'", *symbols.begin()));
    if (has_extra_space(rules) && !json.searched.empty())
        file.member("added_tokens")
            .refuse("special tokens only: what lies between others would be trimmed, and get a space, each by itself");
    return SentencePieceBpe(std::move(pieces), std::move(rules), std::move(json.merges), what);
}

std::string SentencePieceBpe::to_json() const {
    const auto refuse = [](const char* why) {
        fail(ExitCode::input,
             "this sentencepiece model cannot be written as tokenizer.json, as Hugging Face's library could not do as "
             "it "
             "does: {}",
             why);
    };
    if (rules_.whitespace_as_suffix) refuse("treat_whitespace_as_suffix");
    if (!rules_.escape_whitespaces) refuse("no escape_whitespaces");
    if (has_unused_) refuse("unused pieces");
    if (!bare_characters_.empty()) refuse("pieces of characters that are none themselves");

    TokenizerJson json;
    const bool splits = has_extra_space(rules_) && !user_defined_.empty();
    std::vector<std::string> symbols;
    std::set<std::string_view> names;
    for (size_t i = 0; i < pieces_.size(); ++i) {
        const std::string& text = pieces_[i].text;
        if (!names.insert(text).second) refuse("two pieces of one name");
        if (pieces_[i].type == Type::user_defined && text_of_[i].find(' ') != std::string::npos)
            refuse("user-defined pieces with white space");
        const auto id = static_cast<int32_t>(i);
        const Type type = pieces_[i].type;
        json.tokens.push_back(pieces_[i].text);
        if (type == Type::user_defined && splits) {
            if (rewrites(rules_.charsmap, text)) refuse("user-defined pieces that the precompiled_charsmap rewrites");
            symbols.push_back(text);
            continue;
        }
        if (type == Type::unknown || type == Type::control || type == Type::user_defined) json.added.insert(id);
        if (type == Type::user_defined) json.searched.insert(id);
    }
    json.merges = merge_list_;
    json.begin_token = begin_token_;
    const std::string unknown = nlohmann::json(pieces_[static_cast<size_t>(unknown_)].text).dump();
    return write_tokenizer_json(
        json, {.normalizer = write_normalizer(rules_),
               .pre_tokenizer = splits ? write_symbol_split(std::move(symbols)) : "null",
               .decoder = fmt::format(
                   "{{\"type\": \"Sequence\", \"decoders\": [\n    {},\n    {{\"type\": \"ByteFallback\"}},\n    "
                   "{{\"type\": \"Fuse\"}}{}{}]}}",
                   unescape, has_extra_space(rules_) ? ",\n    " : "", has_extra_space(rules_) ? strip : ""),
               .model = fmt::format("\"unk_token\": {},\n    \"fuse_unk\": true,\n    \"byte_fallback\": {},\n    "
                                    "\"ignore_merges\": {}",
                                    unknown, rules_.byte_fallback, splits)});
}

}  // namespace templar
