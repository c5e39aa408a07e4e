// sentencepiece's BPE as tokenizer.json: what is written is Hugging Face's form, and is read as the same tokenizer.
#include "base/error.h"
#include "base/file.h"
#include "base/temporary_folder.h"
#include "tests/tokenizer/sentencepiece_model.h"
#include "tests/tokenizer/text.h"
#include "tokenizer/base64.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

using namespace templar;
using namespace templar::testing;
using nlohmann::json;

namespace {

SentencePieceBpe read(const std::string& model) {
    return SentencePieceBpe::from_model(as_bytes(model), "t.model");
}

// The model's json, which must be read as the same tokenizer.
json written(const SentencePieceBpe& tokenizer) {
    const std::string text = tokenizer.to_json();
    const auto again = tokenizer_from_json(text, "t.json");
    CHECK(again->to_json() == text);
    for (const char* sample :
         {"", " ", "abc", "  a  b ", "aAc!b ABc", "▁", "a▁ ", " ▁a", "é \xff", "\na\n", "AB", "<s>abc"}) {
        CAPTURE(sample);
        const std::vector<int32_t> ids = tokenizer.encode(sample);
        CHECK(again->encode(sample) == ids);
        CHECK(again->decode(ids) == tokenizer.decode(ids));
    }
    for (uint64_t seed = 1; seed < 40; ++seed) {
        const std::string sample = random_bytes(200, seed);
        CHECK(again->encode(sample) == tokenizer.encode(sample));
    }
    return json::parse(text);
}

void check_refused(const json& file, const std::string& part) {
    CHECK_THROWS_WITH_AS(tokenizer_from_json(file.dump(), "t.json"), doctest::Contains(part.c_str()), Error);
}

}  // namespace

TEST_CASE("sentencepiece: tokenizer.json is written, read, the same") {
    const SentencePieceBpe tokenizer = read(small_model());
    const auto again = tokenizer_from_json(tokenizer.to_json(), "t.json");
    CHECK(again->to_json() == tokenizer.to_json());
    CHECK(again->begin_token() == 1);
    CHECK(again->end_token() == 2);
    CHECK(again->encode("abc cab <s> é") == tokenizer.encode("abc cab <s> é"));

    const TemporaryFolder folder;
    write_huggingface_tokenizer(tokenizer, folder.path(), 2048);
    CHECK(load_tokenizer(folder.path())->to_json() == tokenizer.to_json());
    write_file(folder.path() / "tokenizer_config.json",
               as_bytes(R"({"bos_token": null, "eos_token": {"content": "<s>"}})"));
    CHECK(load_tokenizer(folder.path())->begin_token() == -1);
    CHECK(load_tokenizer(folder.path())->end_token() == 1);
    write_file(folder.path() / "tokenizer_config.json", as_bytes(R"({"eos_token": "<end>"})"));
    CHECK_THROWS_WITH_AS(load_tokenizer(folder.path()), doctest::Contains("'<end>'"), Error);
}

TEST_CASE("sentencepiece: every normalisation is written as Hugging Face's library does it") {
    const json prepend = {{"type", "Prepend"}, {"prepend", "▁"}};
    const auto replace = [](const char* kind, const char* pattern, const char* content) {
        return json{{"type", "Replace"}, {"pattern", {{kind, pattern}}}, {"content", content}};
    };
    const json escape = replace("String", " ", "▁"), collapse = replace("Regex", " {2,}", " "),
               trim = replace("Regex", "\\A +|[ ▁]+\\z", "");
    const json charsmap = {{"type", "Precompiled"}, {"precompiled_charsmap", to_base64(as_bytes(small_charsmap()))}};
    const auto normalizer_of = [](const std::string& rules) {
        return written(read(small_model() + rules)).at("normalizer");
    };
    const auto sequence = [](const std::vector<json>& steps) {
        return json{{"type", "Sequence"}, {"normalizers", steps}};
    };
    const std::string map = message(3, message(2, small_charsmap()));
    CHECK(normalizer_of(normalizer(false, false)) == escape);
    CHECK(normalizer_of(normalizer(true, false)) == sequence({prepend, escape}));
    CHECK(normalizer_of(normalizer(false, true)) == sequence({collapse, trim, escape}));
    CHECK(normalizer_of(normalizer(true, true)) == sequence({collapse, trim, prepend, escape}));
    CHECK(normalizer_of(normalizer(false, false) + map) == sequence({charsmap, escape}));
    CHECK(normalizer_of(normalizer(true, true) + map) == sequence({charsmap, collapse, trim, prepend, escape}));
}

TEST_CASE("sentencepiece: what tokenizer.json cannot say is refused, and the reason named") {
    using Type = SentencePiece::Type;
    const auto check = [](const std::string& more, const char* reason) {
        CHECK_THROWS_WITH_AS(read(small_model() + more).to_json(), doctest::Contains(reason), Error);
    };
    check(piece("cc", 5, Type::unused), "unused pieces");
    check(message(2, number(24, 1)), "treat_whitespace_as_suffix");
    check(message(3, number(5, 0)), "no escape_whitespaces");
    check(piece("a▁b", 0, Type::user_defined), "user-defined pieces with white space");
    check(piece("cA", 0, Type::user_defined) + message(3, message(2, small_charsmap())),
          "user-defined pieces that the precompiled_charsmap rewrites");
}

TEST_CASE("sentencepiece: a normalizer that is not understood is refused") {
    const json good =
        json::parse(read(small_model() + normalizer(true, true) + message(3, message(2, small_charsmap()))).to_json());
    const auto changed = [&](const auto& change) {
        json file = good;
        change(file.at("normalizer").at("normalizers"));
        return file;
    };
    const char* expected = "normalizer: expected Replace of ' ' by U+2581, before it perhaps";
    for (size_t step : {1, 2, 4}) check_refused(changed([&](json& steps) { steps.erase(step); }), expected);
    for (size_t step : {0, 1, 2, 3})
        check_refused(changed([&](json& steps) { std::swap(steps.at(step), steps.at(step + 1)); }), expected);
    for (size_t step : {0, 1, 2, 3, 4}) {
        check_refused(changed([&](json& steps) { steps.insert(steps.begin(), steps.at(step)); }), expected);
        check_refused(changed([&](json& steps) { steps.at(step)["more"] = 1; }),
                      step == 0 ? "type and precompiled_charsmap" : expected);
    }
    check_refused(changed([](json& steps) {
                      steps.at(2) = {{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}};
                  }),
                  expected);
    check_refused(changed([](json& steps) { steps = json::array(); }), expected);
    check_refused(changed([](json& steps) { steps.at(0).erase("precompiled_charsmap"); }),
                  "type and precompiled_charsmap");
    check_refused(changed([](json& steps) { steps.at(0)["precompiled_charsmap"] = 7; }), "expected a string");
    check_refused(changed([](json& steps) { steps.at(0)["precompiled_charsmap"] = "AB*="; }), "no digit of base64");
    check_refused(changed([](json& steps) { steps.at(0)["precompiled_charsmap"] = ""; }), "precompiled_charsmap");
    check_refused(changed([](json& steps) { steps.at(0)["precompiled_charsmap"] = "AAEAAAAA"; }),
                  "a table of 256 bytes");
    json no_object = good;
    no_object["normalizer"] = "NFC";
    check_refused(no_object, "normalizer: expected an object");
}

TEST_CASE("sentencepiece: user-defined pieces are kept whole in a text that gets a space") {
    using Type = SentencePiece::Type;
    const std::string model = small_model() + piece("b|a", 0, Type::user_defined) + piece("b|", 0, Type::user_defined) +
                              normalizer(true, true);
    const SentencePieceBpe tokenizer = read(model);
    CHECK(tokenizer.encode("b|ab|  b") == std::vector<int32_t>{space, 267, 268, space, b});
    const json good = written(tokenizer);
    CHECK(good.at("pre_tokenizer") ==
          json{{"type", "Split"}, {"pattern", {{"Regex", "b\\|a|b\\|"}}}, {"behavior", "Isolated"}, {"invert", false}});
    CHECK(good.at("model").at("ignore_merges") == true);
    CHECK(good.at("added_tokens").size() == 3);  // no symbol: it would divide the text
    CHECK(tokenizer_from_json(good.dump(), "t.json")->encode("b|ab|  b") == tokenizer.encode("b|ab|  b"));

    const auto changed = [&](const char* path, const json& value) {
        json file = good;
        file.at(json::json_pointer(path)) = value;
        return file;
    };
    for (const char* pattern : {"", "|", "b\\||", "b\\||b\\|a", "b\\|a||b\\|", "b|a", "\\b", "b\\|a|b\\", "b\\|a|[b]"})
        check_refused(changed("/pre_tokenizer/pattern/Regex", pattern), "pre_tokenizer");
    check_refused(changed("/pre_tokenizer/pattern/Regex", "cc"), "not 'cc'");
    check_refused(changed("/pre_tokenizer/pattern/Regex", "<s>"), "not '<s>'");
    check_refused(changed("/pre_tokenizer/behavior", "Removed"), "pre_tokenizer: expected Split, Isolated");
    check_refused(changed("/pre_tokenizer/invert", true), "pre_tokenizer: expected Split, Isolated");
    check_refused(changed("/pre_tokenizer", nullptr), "ignore_merges: expected false");
    check_refused(changed("/model/ignore_merges", false), "ignore_merges: expected true");
    json plain = written(read(small_model() + piece("b|", 0, Type::user_defined) + normalizer(false, false)));
    CHECK(plain.at("added_tokens").size() == 4);
    plain["pre_tokenizer"] = good["pre_tokenizer"];
    check_refused(plain, "pre_tokenizer: expected null");
}

TEST_CASE("base64") {
    // RFC 4648, section 10.
    const std::pair<const char*, const char*> examples[] = {{"", ""},
                                                            {"f", "Zg=="},
                                                            {"fo", "Zm8="},
                                                            {"foo", "Zm9v"},
                                                            {"foob", "Zm9vYg=="},
                                                            {"fooba", "Zm9vYmE="},
                                                            {"foobar", "Zm9vYmFy"},
                                                            {"\xff\xfe\xfb", "//77"}};
    for (const auto& [bytes, text] : examples) {
        CHECK(to_base64(as_bytes(bytes)) == text);
        CHECK(as_text(from_base64(text, "t")) == bytes);
    }
    for (const char* bad :
         {"Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "=", "====", "Zg==Zg==", "Zm9v\n", "Zm-v", " Zm9"})
        CHECK_THROWS_WITH_AS(from_base64(bad, "the map"), doctest::Contains("the map: "), Error);
}
