// <tokenizer.json>\0<text>: a tokenizer that loads encodes any text and gives it back, and is written and
// loaded as the same.
#include "tests/fuzz/target.h"
#include "tokenizer/bpe.h"

#include <nlohmann/json.hpp>

#include <algorithm>

using namespace templar;
using namespace templar::fuzz;

namespace {

void check_text(const Tokenizer& tokenizer, std::string_view text, bool normalizes) {
    const std::string decoded = tokenizer.decode(tokenizer.encode(text));
    if (dynamic_cast<const ByteLevelBpe*>(&tokenizer) && !normalizes)
        require(decoded == text, "a text is decoded as it was");
}

void check_not_forged(const Tokenizer& tokenizer, std::string_view text) {
    for (const int32_t id : tokenizer.encode(text))
        require(id != tokenizer.end_token(), "no text forges the end token");
}

// Whether the file, which was accepted, asks for tokens to be looked for in a text; the end token may be one.
bool has_searched_tokens(const nlohmann::json& file) {
    const nlohmann::json added = file.value("added_tokens", nlohmann::json::array());
    return std::any_of(added.begin(), added.end(), [](const auto& token) { return !token["special"]; });
}

const ByteLevelBpe& trained() {
    static const ByteLevelBpe tokenizer = [] {
        std::string text;
        for (int i = 0; i < 300; ++i)
            text += fmt::format("the miner {} signs, it's {} of the \u00e9t\u00e9  window's\n\nrecord\t1234 ", i % 17,
                                i % 5);
        return train_bpe({text}, 300);
    }();
    return tokenizer;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view input = as_text({data, size});
    const size_t end = std::min(input.find('\0'), input.size());
    if (end == 0) {
        check_text(trained(), input.substr(std::min<size_t>(1, input.size())), false);
        check_not_forged(trained(), input.substr(std::min<size_t>(1, input.size())));
        return 0;
    }
    const auto read = accepted([&] { return tokenizer_from_json(input.substr(0, end), "tokenizer.json"); });
    if (!read) return 0;
    const Tokenizer* tokenizer = read->get();
    require(tokenizer->end_token() >= -1 && tokenizer->end_token() < tokenizer->vocab_size(),
            "the end token is a token");
    // Without a text of its own: the file's.
    const std::string_view text = input.substr(end < input.size() ? end + 1 : 0);
    const auto file = nlohmann::json::parse(input.substr(0, end));
    check_text(*tokenizer, text, file.contains("normalizer") && !file["normalizer"].is_null());
    const bool searches = has_searched_tokens(file);
    if (!searches) check_not_forged(*tokenizer, text);
    const auto json = accepted([&] { return tokenizer->to_json(); });
    if (!json) return 0;
    const auto again = tokenizer_from_json(*json, "again");
    require(again->to_json() == *json && again->encode(text) == tokenizer->encode(text),
            "a tokenizer written and loaded is the same");
    // A post_processor's end token is not written: other libraries would put it behind every text.
    if (!searches && !file.contains("post_processor") && dynamic_cast<const ByteLevelBpe*>(tokenizer))
        require(again->end_token() == tokenizer->end_token(), "and ends documents as before");
    return 0;
}
