#include "tokenizer/nfc.h"
#include "tokenizer/bpe.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <utf8proc.h>

using namespace templar;

namespace {

std::string nfc(std::string_view text) {
    std::string storage;
    return std::string(to_nfc(text, storage));
}

}  // namespace

// Expected values: Unicode's NormalizationTest.txt and Python's unicodedata.normalize("NFC", …).
TEST_CASE("NFC composes, orders marks and replaces singletons") {
    CHECK(nfc("") == "");
    CHECK(nfc("e\u0301a") == "\u00e9a");
    CHECK(nfc("x e\u0301t\u00e9 \u0301") == "x \u00e9t\u00e9 \u0301");
    CHECK(nfc("a\u0302\u0323") == "\u1ead");                   // a, circumflex, dot below: the dot goes first
    CHECK(nfc("\u1e0b\u0323") == "\u1e0d\u0307");              // composed otherwise
    CHECK(nfc("\u212b\u2126") == "\u00c5\u03a9");              // Ångström and Ohm
    CHECK(nfc("\u1100\u1161\u11a8 \uac00\u11a8") == "각 각");  // Hangul
    CHECK(nfc("\u0958") == "\u0915\u093c");                    // excluded from composition
    CHECK(nfc("\u30ab\u3099") == "\u30ac");
    CHECK(nfc("\U0001d15e") == "\U0001d157\U0001d165");
    CHECK(nfc("\ufb01\u00b2") == "\ufb01\u00b2");  // compatibility forms stay
    CHECK(nfc("a\u0327b\u0327\u0301") == "a\u0327b\u0327\u0301");
    CHECK(nfc(std::string("\0e\u0301", 4)) == std::string("\0\u00e9", 3));
}

TEST_CASE("NFC leaves bytes that are not UTF-8, and nothing composes over them") {
    CHECK(nfc("e\xff\u0301") == "e\xff\u0301");
    CHECK(nfc("e\u0301\xcc") == "\u00e9\xcc");
    CHECK(nfc("\xed\xa0\x80"
              "e\u0301\xe2\x84") == "\xed\xa0\x80\u00e9\xe2\x84");
    CHECK(nfc("\xc3\u00e9\u0323") == "\xc3\u1eb9\u0301");
}

TEST_CASE("text that is in NFC at a glance is not copied") {
    for (const std::string_view text : {"plain", "Größe привет 中文 바나나", "\xc3("}) {
        std::string storage;
        CHECK(to_nfc(text, storage).data() == text.data());
    }
}

TEST_CASE("every character alone, and behind every kind of base, is as utf8proc makes it") {
    for (int32_t code = 1; code < 0x110000; ++code) {
        if (!utf8proc_codepoint_valid(code)) continue;
        for (const char* base : {"", "a", "\u0438", "\u4e2d", "\uac00", "\u0627", "\u09c7"}) {
            std::string text = base;
            uint8_t bytes[4];
            const auto length = utf8proc_encode_char(code, bytes);
            text.append(bytes, bytes + length).append("\u0323");
            uint8_t* made = utf8proc_NFC(reinterpret_cast<const uint8_t*>(text.c_str()));
            const std::string expected(reinterpret_cast<const char*>(made));
            std::free(made);
            if (nfc(text) != expected) FAIL_CHECK("U+" << code << " after '" << base << "'");
        }
    }
}

TEST_CASE("a million marks are put in order") {
    std::string marks = "a", ordered = "\u1ea1";
    for (int i = 0; i < 500000; ++i) marks += "\u0301\u0323";
    for (int i = 1; i < 500000; ++i) ordered += "\u0323";
    // The first acute accent composes with nothing: a dot below is in the way of none, but there is no such letter.
    for (int i = 0; i < 500000; ++i) ordered += "\u0301";
    CHECK(nfc(marks) == ordered);
}

TEST_CASE("tokenizer.json: the normalizer NFC") {
    std::string words;
    for (int i = 0; i < 50; ++i) words += "l'\u00e9t\u00e9 " + std::to_string(i % 7);
    auto file = nlohmann::json::parse(train_bpe({words}, 262).to_json());
    file["normalizer"] = {{"type", "NFC"}};
    const ByteLevelBpe tokenizer = ByteLevelBpe::from_json(file.dump(), "t.json");
    CHECK(tokenizer.encode("l'e\u0301te\u0301\xff") == tokenizer.encode("l'\u00e9t\u00e9\xff"));
    CHECK(tokenizer.decode(tokenizer.encode("l'e\u0301t\u00e9\xff")) == "l'\u00e9t\u00e9\xff");
    const ByteLevelBpe again = ByteLevelBpe::from_json(tokenizer.to_json(), "again");
    CHECK(again.to_json() == tokenizer.to_json());
    CHECK(again.encode("e\u0301") == again.encode("\u00e9"));

    // In parts, as a whole.
    const std::string text = "e\u0301t \u0301e a\u0302\u0323x  \u0327o\n\u0301";
    for (size_t from = 1; from < text.size(); ++from) {
        const size_t cut = tokenizer.cut(text, from);
        std::vector<int32_t> ids = tokenizer.encode(text.substr(0, cut));
        tokenizer.encode_rest(text.substr(cut), ids);
        CHECK(ids == tokenizer.encode(text));
    }
}
