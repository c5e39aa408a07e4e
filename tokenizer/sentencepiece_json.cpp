// sentencepiece's BPE as a tokenizer.json, in the form that Llama's has.
#include "base/error.h"
#include "tokenizer/sentencepiece.h"
#include "tokenizer/utf8.h"

namespace templar {

namespace {

constexpr const char* prepend = R"({"type": "Prepend", "prepend": "\u2581"})";
constexpr const char* escape = R"({"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"})";
constexpr const char* unescape = R"({"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "})";
constexpr const char* strip = R"({"type": "Strip", "content": " ", "start": 1, "stop": 0})";

// Whether the value is that JSON.
bool is(const Field& field, const char* json) {
    return field.value() == nlohmann::json::parse(json);
}

// Whether the normalizer puts a space before the text; throws Error(input) when it does anything else but escape
// spaces.
bool read_normalizer(const Field& file) {
    const Field normalizer = file.member("normalizer");
    if (is(normalizer, escape)) return false;
    const bool is_sequence = is_of_type(normalizer, "Sequence");
    const bool is_llama = is_sequence && normalizer.member("normalizers").array_size() == 2 &&
                          is(normalizer.member("normalizers").element(0), prepend) &&
                          is(normalizer.member("normalizers").element(1), escape);
    if (!is_llama) normalizer.refuse("Replace of ' ' by U+2581, with or without Prepend of U+2581 before it");
    return true;
}

// The decoder undoes it.
void check_decoder(const Field& file, bool has_prefix) {
    const Field steps = file.member("decoder").member("decoders");
    const std::string fallback = R"({"type": "ByteFallback"})", fuse = R"({"type": "Fuse"})";
    const size_t count = has_prefix ? 4 : 3;
    const bool is_llama = steps.array_size() == count && is(steps.element(0), unescape) &&
                          is(steps.element(1), fallback.c_str()) && is(steps.element(2), fuse.c_str()) &&
                          (!has_prefix || is(steps.element(3), strip));
    if (!is_llama) steps.refuse(has_prefix ? "Replace, ByteFallback, Fuse, Strip" : "Replace, ByteFallback, Fuse");
}

bool is_byte_name(std::string_view token) {
    const auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); };
    return token.size() == 6 && token.starts_with("<0x") && is_digit(token[3]) && is_digit(token[4]) && token[5] == '>';
}

}  // namespace

SentencePieceBpe SentencePieceBpe::from_json(const Field& file, std::string_view what, const SpecialNames& names) {
    const bool has_prefix = read_normalizer(file);
    check_decoder(file, has_prefix);
    if (file.has("pre_tokenizer")) file.member("pre_tokenizer").refuse("null");
    const Field model = file.member("model");
    check_plain_bpe(model);
    check_flag(model, "fuse_unk", true, false);
    check_flag(model, "ignore_merges", false, false);
    const std::string unknown(model.member("unk_token").string());

    TokenizerJson json = read_tokenizer_json(file, what, names);
    SentencePieceRules rules{.add_dummy_prefix = has_prefix, .remove_extra_whitespaces = false};
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
        else if (rules.byte_fallback && is_byte_name(pieces[i].text))
            pieces[i].type = Type::byte;
    }
    if (has_prefix && !json.searched.empty())
        file.member("added_tokens")
            .refuse("special tokens only: with Prepend there would be a space after each of the others");
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
    if (!rules_.charsmap.empty()) refuse("a precompiled_charsmap");
    if (rules_.remove_extra_whitespaces) refuse("remove_extra_whitespaces");
    if (rules_.whitespace_as_suffix) refuse("treat_whitespace_as_suffix");
    if (!rules_.escape_whitespaces) refuse("no escape_whitespaces");
    if (has_unused_) refuse("unused pieces");
    if (!bare_characters_.empty()) refuse("pieces of characters that are none themselves");
    if (rules_.add_dummy_prefix && !user_defined_.empty()) refuse("user-defined pieces with add_dummy_prefix");

    TokenizerJson json;
    std::set<std::string_view> names;
    for (size_t i = 0; i < pieces_.size(); ++i) {
        const std::string& text = pieces_[i].text;
        if (!names.insert(text).second) refuse("two pieces of one name");
        if (pieces_[i].type == Type::user_defined && text_of_[i].find(' ') != std::string::npos)
            refuse("user-defined pieces with white space");
        const auto id = static_cast<int32_t>(i);
        const Type type = pieces_[i].type;
        json.tokens.push_back(pieces_[i].text);
        if (type == Type::unknown || type == Type::control || type == Type::user_defined) json.added.insert(id);
        if (type == Type::user_defined) json.searched.insert(id);
    }
    json.merges = merge_list_;
    json.begin_token = begin_token_;
    const std::string unknown = nlohmann::json(pieces_[static_cast<size_t>(unknown_)].text).dump();
    const bool has_prefix = rules_.add_dummy_prefix;
    return write_tokenizer_json(
        json,
        {.normalizer = has_prefix ? fmt::format("{{\"type\": \"Sequence\", \"normalizers\": [\n    {},\n    {}]}}",
                                                prepend, escape)
                                  : escape,
         .pre_tokenizer = "null",
         .decoder =
             fmt::format("{{\"type\": \"Sequence\", \"decoders\": [\n    {},\n    {{\"type\": \"ByteFallback\"}},\n    "
                         "{{\"type\": \"Fuse\"}}{}{}]}}",
                         unescape, has_prefix ? ",\n    " : "", has_prefix ? strip : ""),
         .model = fmt::format("\"unk_token\": {},\n    \"fuse_unk\": true,\n    \"byte_fallback\": {},\n    "
                              "\"ignore_merges\": false",
                              unknown, rules_.byte_fallback)});
}

}  // namespace templar
