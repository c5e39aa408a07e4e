// <tokenizer.json>\0<text>: a tokenizer that loads encodes any text and gives it back, and is written and
// loaded as the same.
#include "tests/fuzz/target.h"
#include "tokenizer/bpe.h"

using namespace templar;
using namespace templar::fuzz;

namespace {

void check_text(const Tokenizer& tokenizer, std::string_view text) {
    const std::vector<int32_t> ids = tokenizer.encode(text);
    if (dynamic_cast<const ByteLevelBpe*>(&tokenizer))
        require(tokenizer.decode(ids) == text, "a text is decoded as it was");
}

const ByteLevelBpe& trained() {
    static const ByteLevelBpe tokenizer = [] {
        std::string text;
        for (int i = 0; i < 300; ++i)
            text += fmt::format("the miner {} signs, it's {} of the \u00e9t\u00e9  window's\n\nrecord\t1234 ",
                                i % 17, i % 5);
        return train_bpe({text}, 300);
    }();
    return tokenizer;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view input = as_text({data, size});
    const size_t end = std::min(input.find('\0'), input.size());
    if (end == 0) {
        check_text(trained(), input.substr(std::min<size_t>(1, input.size())));
        return 0;
    }
    const auto read = accepted([&] { return tokenizer_from_json(input.substr(0, end), "tokenizer.json"); });
    if (!read) return 0;
    const Tokenizer* tokenizer = read->get();
    require(tokenizer->end_token() >= -1 && tokenizer->end_token() < tokenizer->vocab_size(),
            "the end token is a token");
    // Without a text of its own: the file's.
    const std::string_view text = input.substr(end < input.size() ? end + 1 : 0);
    check_text(*tokenizer, text);
    const auto json = accepted([&] { return tokenizer->to_json(); });
    if (!json) return 0;
    const auto again = tokenizer_from_json(*json, "again");
    require(again->to_json() == *json && again->encode(text) == tokenizer->encode(text),
            "a tokenizer written and loaded is the same");
    return 0;
}
