#include "tokenizer/pretokenize.h"
#include "tokenizer/utf8.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace templar;

namespace {

std::vector<std::string> split(std::string_view text) {
    std::vector<std::string> pieces;
    for (size_t begin = 0, end; begin < text.size(); begin = end) {
        end = pretoken_end(text, begin);
        REQUIRE(end > begin);
        pieces.emplace_back(text.substr(begin, end - begin));
    }
    return pieces;
}

using Pieces = std::vector<std::string>;

}  // namespace

TEST_CASE("pre-tokens: words, numbers, symbols, contractions") {
    CHECK(split("") == Pieces{});
    CHECK(split("Hello world") == Pieces{"Hello", " world"});
    CHECK(split("I'll, we've; it's 'sad") ==
          Pieces{"I", "'ll", ",", " we", "'ve", ";", " it", "'s", " '", "sad"});
    CHECK(split("'sad 'S DON'T") == Pieces{"'s", "ad", " '", "S", " DON", "'", "T"});
    CHECK(split("a'r 'l '") == Pieces{"a", "'", "r", " '", "l", " '"});
    CHECK(split("abc123 42nd") == Pieces{"abc", "123", " 42", "nd"});
    CHECK(split("!?'s") == Pieces{"!?'", "s"});
    CHECK(split("<|endoftext|>") == Pieces{"<|", "endoftext", "|>"});
}

TEST_CASE("pre-tokens: a run of spaces leaves its last character to the next word") {
    CHECK(split("a  b") == Pieces{"a", " ", " b"});
    CHECK(split("a   ") == Pieces{"a", "   "});
    CHECK(split(" ") == Pieces{" "});
    CHECK(split("\n\n  x") == Pieces{"\n\n ", " x"});
    CHECK(split("a\nb") == Pieces{"a", "\n", "b"});
    CHECK(split("a \nb") == Pieces{"a", " ", "\n", "b"});
    CHECK(split("a\r\nb") == Pieces{"a", "\r", "\n", "b"});
    CHECK(split("\t\tif") == Pieces{"\t", "\t", "if"});
    CHECK(split(" 's") == Pieces{" '", "s"});
}

TEST_CASE("pre-tokens: Unicode spaces, letters, numbers, marks") {
    CHECK(split("a\u00a0\u3000b") == Pieces{"a", "\u00a0", "\u3000", "b"});
    CHECK(split("x \u2003y") == Pieces{"x", " ", "\u2003", "y"});
    CHECK(split("\u180ea") == Pieces{"\u180e", "a"});  // not white space since Unicode 6.3
    CHECK(split("a\u200bb") == Pieces{"a", "\u200b", "b"});
    CHECK(split("Größe привет 中文") == Pieces{"Größe", " привет", " 中文"});
    CHECK(split("e\u0301a") == Pieces{"e", "\u0301", "a"});  // a combining mark is neither letter nor number
    CHECK(split("½Ⅷ٣ x²") == Pieces{"½Ⅷ٣", " x", "²"});
    CHECK(split(" 😀👍x") == Pieces{" 😀👍", "x"});
    // First and last code points of ranges, and what lies beside them.
    CHECK(split("\u02c1a") == Pieces{"\u02c1a"});
    CHECK(split("\u02c2a") == Pieces{"\u02c2", "a"});
    CHECK(split("\U000323afa") == Pieces{"\U000323afa"});
    CHECK(split("\U000323b0a") == Pieces{"\U000323b0", "a"});
    CHECK(split("\U0010ffff1") == Pieces{"\U0010ffff", "1"});
}

TEST_CASE("pre-tokens: bytes that are not UTF-8 are symbols") {
    CHECK(split("a\xff\xfe z") == Pieces{"a", "\xff\xfe", " z"});
    CHECK(split("é\xc3") == Pieces{"é", "\xc3"});
    CHECK(split("\xe4\xb8") == Pieces{"\xe4\xb8"});
    CHECK(split(" \x80!") == Pieces{" \x80!"});
    CHECK(split("\xc1\x81z") == Pieces{"\xc1\x81", "z"});          // an overlong A
    CHECK(split("\xed\xa0\x80z") == Pieces{"\xed\xa0\x80", "z"});  // a surrogate
    CHECK(split(std::string("a\0b", 3)) == Pieces{"a", std::string(1, '\0'), "b"});
}

TEST_CASE("UTF-8 is read strictly") {
    const auto invalid = [](std::string_view text) { return find_invalid_utf8(text); };
    CHECK(invalid("plain é 中 😀 \u07ff\u0800\uffff\U0010ffff") == std::string_view::npos);
    CHECK(invalid("ab\x80") == 2);
    CHECK(invalid("\xc0\x80") == 0);
    CHECK(invalid("\xe0\x9f\xbf") == 0);
    CHECK(invalid("\xf0\x8f\xbf\xbf") == 0);
    CHECK(invalid("\xf4\x90\x80\x80") == 0);
    CHECK(invalid("\xf5\x80\x80\x80") == 0);
    CHECK(invalid("x\xed\xbf\xbf") == 1);
    CHECK(invalid("é\xe2\x82") == 2);
    CHECK(invalid("\xe2(\xa1") == 0);
}
