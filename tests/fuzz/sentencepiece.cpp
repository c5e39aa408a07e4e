// <length of the model, u16><tokenizer.model or tokenizer.bin><text>: a model that loads encodes any text, in parts
// too, and what it writes as tokenizer.json loads as the same.
#include "tests/fuzz/target.h"
#include "tokenizer/sentencepiece.h"
#include "tokenizer/utf8.h"

using namespace templar;
using namespace templar::fuzz;

namespace {

void check_parts(const SentencePieceBpe& tokenizer, std::string_view text, const std::vector<int32_t>& ids) {
    if (text.empty()) return;
    const size_t end = tokenizer.cut(text, std::max<size_t>(1, text.size() / 3));
    std::vector<int32_t> in_parts;
    tokenizer.encode(text.substr(0, end), in_parts);
    if (end < text.size()) tokenizer.encode_rest(text.substr(end), in_parts);
    require(in_parts == ids, "a text in parts has the ids of the whole");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input input(data, size);
    const ByteSpan model = input.bytes(input.number<uint16_t>());
    const std::string_view text = input.rest_text();
    const auto read = [&] {
        const bool is_llama2c = model.size() >= 4 && model[2] == 0 && model[3] == 0;
        return is_llama2c ? SentencePieceBpe::from_llama2c(model, "tokenizer.bin")
                          : SentencePieceBpe::from_model(model, "tokenizer.model");
    };
    const auto tokenizer = accepted(read);
    if (!tokenizer) return 0;
    const std::vector<int32_t> ids = tokenizer->encode(text);
    for (const int32_t id : ids) require(id >= 0 && id < tokenizer->vocab_size(), "ids are of the vocabulary");
    check_parts(*tokenizer, text, ids);
    tokenizer->decode(ids);
    const auto json = accepted([&] { return tokenizer->to_json(); });
    if (!json) return 0;
    const auto again = tokenizer_from_json(*json, "again");
    require(again->vocab_size() == tokenizer->vocab_size(), "a tokenizer written and loaded has the same tokens");
    for (const int32_t id : again->encode(text)) require(id >= 0 && id < again->vocab_size(), "its ids are of the vocabulary");
    return 0;
}
