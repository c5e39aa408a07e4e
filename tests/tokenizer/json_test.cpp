#include "base/error.h"
#include "base/file.h"
#include "base/temporary_folder.h"
#include "tests/tokenizer/text.h"
#include "tokenizer/bpe.h"
#include "tokenizer/byte_level.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

using namespace templar;
using nlohmann::json;
using templar::testing::Draw;
using templar::testing::sample_text;

namespace {

const ByteLevelBpe& trained() {
    static const ByteLevelBpe tokenizer = [] {
        const std::string text = sample_text(20000);
        return train_bpe({text}, 300);
    }();
    return tokenizer;
}

std::string error_of(const std::string& text) {
    try {
        ByteLevelBpe::from_json(text, "t.json");
    } catch (const Error& error) {
        CHECK(error.code() == ExitCode::input);
        return error.what();
    }
    return "no error";
}

// The error after `change` is made to a good tokenizer.json.
template <class Change>
std::string error_after(const Change& change) {
    json file = json::parse(trained().to_json());
    change(file);
    return error_of(file.dump());
}

#define CHECK_MESSAGE_HAS(message, part) CHECK_MESSAGE((message).find(part) != std::string::npos, message)

}  // namespace

TEST_CASE("byte-level spelling is GPT-2's") {
    CHECK(to_byte_level("a b\n") == "aĠbĊ");
    CHECK(to_byte_level("é") == "Ã©");
    CHECK(to_byte_level(std::string("\0\x7f\xad\xff", 4)) == "ĀġŃÿ");
    std::string all;
    for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(static_cast<uint8_t>(byte));
    CHECK(from_byte_level(to_byte_level(all)) == all);
    CHECK(!from_byte_level("a b"));
    CHECK(!from_byte_level("\u0144"));
    CHECK(!from_byte_level("中"));
    CHECK(!from_byte_level("\xff"));
}

TEST_CASE("tokenizer.json: written, read, the same") {
    const std::string text = trained().to_json();
    const ByteLevelBpe again = ByteLevelBpe::from_json(text, "t.json");
    CHECK(again.to_json() == text);
    CHECK(again.end_token() == trained().end_token());
    CHECK(again.encode(sample_text(3000, 9)) == trained().encode(sample_text(3000, 9)));

    const TemporaryFolder folder;
    const auto path = folder.path() / "tokenizer.json";
    trained().save(path);
    CHECK(load_tokenizer(path)->to_json() == text);
    std::filesystem::remove(path);
    CHECK_THROWS_AS(load_tokenizer(path), Error);
}

TEST_CASE("tokenizer.json: the other spellings of Hugging Face's library") {
    json file = json::parse(trained().to_json());
    for (json& merge : file["model"]["merges"]) {
        const auto pair = merge.get<std::string>();
        const size_t space = pair.find(' ');
        merge = json::array({pair.substr(0, space), pair.substr(space + 1)});
    }
    file["model"].erase("type");
    file["model"].erase("ignore_merges");
    file["model"]["continuing_subword_prefix"] = "";
    file["pre_tokenizer"].erase("use_regex");
    file["post_processor"] = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", false}};
    file["model"]["vocab"].erase("<|endoftext|>");  // stands in added_tokens alone
    CHECK(ByteLevelBpe::from_json(file.dump(), "t.json").to_json() == trained().to_json());
}

TEST_CASE("tokenizer.json: special tokens") {
    json file = json::parse(trained().to_json());
    json pad = file["added_tokens"][0];
    pad["id"] = 300;
    pad["content"] = "<pad me>";  // spelled as it is, not byte-level
    file["added_tokens"].push_back(pad);
    const ByteLevelBpe two = ByteLevelBpe::from_json(file.dump(), "t.json");
    CHECK(two.vocab_size() == 301);
    CHECK(two.end_token() == 299);
    CHECK(two.decode({300}) == "<pad me>");
    CHECK(two.encode("<pad me>") == trained().encode("<pad me>"));
    CHECK(ByteLevelBpe::from_json(two.to_json(), "t.json").to_json() == two.to_json());

    file["added_tokens"] = json::array();
    file["model"]["vocab"].erase("<|endoftext|>");
    CHECK(ByteLevelBpe::from_json(file.dump(), "t.json").end_token() == -1);

    // Another name for the only special token.
    std::vector<std::string> tokens;
    for (int32_t id = 0; id < 256; ++id) tokens.push_back(trained().decode({id}));
    tokens.push_back("</s>");
    const ByteLevelBpe named(tokens, {}, "</s>");
    CHECK(ByteLevelBpe::from_json(named.to_json(), "t.json").end_token() == 256);
}

TEST_CASE("tokenizer.json: what does not fit is refused, and named") {
    const auto expect = [](const auto& change, const std::string& part) {
        const std::string message = error_after(change);
        CHECK_MESSAGE_HAS(message, "t.json: ");
        CHECK_MESSAGE_HAS(message, part);
    };
    expect([](json& f) { f.erase("model"); }, "model is missing");
    expect([](json& f) { f["model"].erase("vocab"); }, "model.vocab is missing");
    expect([](json& f) { f["model"].erase("merges"); }, "model.merges is missing");
    expect([](json& f) { f["model"] = 3; }, "model: expected an object, found 3");
    expect([](json& f) { f["model"]["type"] = "WordPiece"; }, "model.type: expected \"BPE\"");
    expect([](json& f) { f["model"]["dropout"] = 0.1; }, "model.dropout");
    expect([](json& f) { f["model"]["continuing_subword_prefix"] = "##"; },
           "model.continuing_subword_prefix");
    expect([](json& f) { f["model"]["end_of_word_suffix"] = "</w>"; }, "model.end_of_word_suffix");
    expect([](json& f) { f["model"]["ignore_merges"] = 1; }, "model.ignore_merges: expected true or false, found 1");
    expect([](json& f) { f["model"]["byte_fallback"] = true; }, "model.byte_fallback");
    expect([](json& f) { f["normalizer"] = {{"type", "NFKC"}}; }, "normalizer: expected null or NFC");
    expect([](json& f) { f["pre_tokenizer"] = nullptr; }, "pre_tokenizer: expected an object, found null");
    expect([](json& f) { f["pre_tokenizer"]["type"] = "Metaspace"; },
           "pre_tokenizer.type: expected \"ByteLevel\"");
    expect([](json& f) { f["pre_tokenizer"]["add_prefix_space"] = true; },
           "pre_tokenizer.add_prefix_space: expected false");
    expect([](json& f) { f["pre_tokenizer"].erase("add_prefix_space"); },
           "pre_tokenizer.add_prefix_space is missing");
    expect([](json& f) { f["pre_tokenizer"]["use_regex"] = false; },
           "pre_tokenizer.use_regex: expected true");
    expect([](json& f) { f["decoder"]["type"] = "WordPiece"; }, "decoder.type");
    expect([](json& f) { f["post_processor"] = {{"type", "TemplateProcessing"}}; }, "post_processor.single is missing");
    expect([](json& f) { f["post_processor"] = {{"type", "RobertaProcessing"}}; }, "post_processor.type");
    expect([](json& f) { f["added_tokens"] = "x"; }, "added_tokens: expected an array, found \"x\"");
    expect([](json& f) { f["added_tokens"][0]["special"] = 0; }, "added_tokens[0].special");
    expect([](json& f) { f["added_tokens"][0]["id"] = 5; }, "added_tokens[0].id: expected 299");
    expect([](json& f) { f["added_tokens"][0]["id"] = -1; },
           "added_tokens[0].id: expected a whole number from 0 to 300");
    expect([](json& f) { f["added_tokens"].push_back(f["added_tokens"][0]); }, "added_tokens[1].id");
    expect([](json& f) { f["added_tokens"][0].erase("content"); }, "added_tokens[0].content is missing");
    expect([](json& f) { f["model"]["vocab"]["zz"] = 7; }, "both have id 7");
    expect([](json& f) { f["model"]["vocab"]["a"] = 301; },
           "model.vocab.a: expected a whole number from 0 to 300");
    expect([](json& f) { f["model"]["vocab"]["a"] = 300; }, "without holes");
    expect([](json& f) { f["model"]["vocab"]["a"] = "97"; }, "model.vocab.a");
    expect([](json& f) { f["model"]["vocab"]["a"] = 97.0; }, "model.vocab.a");
    expect([](json& f) { f["model"]["vocab"]["a"] = uint64_t{1} << 63; }, "model.vocab.a");
    expect([](json& f) { f["model"]["vocab"][""] = 300; }, "empty");
    expect([](json& f) { f["model"]["vocab"]["中"] = 300; }, "not a byte-level BPE");
    expect(
        [](json& f) {
            f["model"]["vocab"].erase("a");
            f["model"]["vocab"]["zz"] = 97;
            f["model"]["merges"] = json::array();
        },
        "single byte 0x61");
    expect([](json& f) { f["model"]["merges"][3] = "zz q"; }, "merges[3]: 'zz' is not in the vocabulary");
    expect([](json& f) { f["model"]["merges"][3] = "z"; }, "merges[3]: expected two tokens");
    expect([](json& f) { f["model"]["merges"][3] = "a b c"; }, "merges[3]: expected two tokens");
    expect([](json& f) { f["model"]["merges"][3] = json::array({"a"}); },
           "model.merges[3]: expected two tokens");
    expect(
        [](json& f) {
            f["model"]["merges"][3] = json::array({"a", 3});
        },
        "model.merges[3][1]: expected a string, found 3");
    expect([](json& f) { f["model"]["merges"][3] = 4; }, "model.merges[3]: expected an array, found 4");
    expect([](json& f) { f["model"]["merges"].push_back(f["model"]["merges"][0]); }, "repeats");
    expect([](json& f) { f["model"]["merges"].push_back("z z"); }, "not in the vocabulary");
    expect([](json& f) { f["model"]["merges"].push_back("a <|endoftext|>"); }, "not special");
}

TEST_CASE("tokenizer.json: broken and hostile text") {
    CHECK_MESSAGE_HAS(error_of(""), "not JSON");
    CHECK_MESSAGE_HAS(error_of("[]"), "expected an object, found an array");
    CHECK_MESSAGE_HAS(error_of("null"), "expected an object, found null");
    CHECK_MESSAGE_HAS(error_of("{\"a\": 1, \"a\": 1}"), "the key \"a\" stands twice");
    CHECK_MESSAGE_HAS(error_of("{\"m\": [{\"x\": 1}, {\"x\": 1, \"x\": 2}]}"), "the key \"x\" stands twice");
    CHECK_MESSAGE_HAS(error_of(std::string(1 << 20, '[')), "deeper than 16 levels");
    CHECK_MESSAGE_HAS(error_of("{\"model\": \"\xff\"}"), "not JSON");
    const std::string good = trained().to_json();
    for (size_t length = 0; length + 2 < good.size(); length += 101)
        CHECK(error_of(good.substr(0, length)) != "no error");
    // Bytes changed at random: refused or read, never anything else.
    Draw draw(11);
    for (int i = 0; i < 300; ++i) {
        std::string bad = good;
        for (int j = 0; j < 3; ++j)
            bad[draw.below(bad.size())] = static_cast<char>(static_cast<uint8_t>(draw.below(256)));
        try {
            const ByteLevelBpe tokenizer = ByteLevelBpe::from_json(bad, "t.json");
            CHECK(tokenizer.decode(tokenizer.encode(bad)) == bad);
        } catch (const Error& error) {
            CHECK(error.code() == ExitCode::input);
        }
    }
}

TEST_CASE("GPT-2's pair of files") {
    json vocab;
    for (int byte = 0; byte < 256; ++byte)
        vocab[to_byte_level(std::string(1, static_cast<char>(static_cast<uint8_t>(byte))))] = byte;
    vocab["Ġa"] = 256;
    vocab["Ġab"] = 257;
    vocab["<|endoftext|>"] = 258;
    const std::string good = "#version: 0.2\nĠ a\nĠa b\n";
    const ByteLevelBpe tokenizer = ByteLevelBpe::from_gpt2(vocab.dump(), good);
    CHECK(tokenizer.end_token() == 258);
    CHECK(tokenizer.encode(" ab a") == std::vector<int32_t>{257, 256});
    CHECK(ByteLevelBpe::from_gpt2(vocab.dump(), "Ġ a\r\nĠa b").to_json() == tokenizer.to_json());
    CHECK_THROWS_WITH_AS(ByteLevelBpe::from_gpt2(vocab.dump(), "Ġ a\nĠ a b\n"),
                         doctest::Contains("merges.txt: merges[1]"), Error);
    CHECK_THROWS_WITH_AS(ByteLevelBpe::from_gpt2(vocab.dump(), "Ġ q\n"), doctest::Contains("merge 0"), Error);
    vocab["Ġab"] = 256;
    CHECK_THROWS_WITH_AS(ByteLevelBpe::from_gpt2(vocab.dump(), good), doctest::Contains("both have id 256"),
                         Error);
    CHECK_THROWS_WITH_AS(ByteLevelBpe::from_gpt2("{", good), doctest::Contains("vocab.json: not JSON"),
                         Error);
}
