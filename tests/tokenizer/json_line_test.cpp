#include "base/error.h"
#include "tokenizer/json_line.h"

#include <doctest/doctest.h>

using namespace templar;

namespace {

std::string text_in(std::string_view line, std::string_view field = "text") {
    std::string text = "left over";
    read_json_text(line, field, text);
    return text;
}

std::string error_in(std::string_view line, std::string_view field = "text") {
    try {
        return "no error, but " + text_in(line, field);
    } catch (const Error& error) {
        CHECK(error.code() == ExitCode::input);
        return error.what();
    }
}

}  // namespace

TEST_CASE("the text of a JSON line, whatever stands beside it") {
    CHECK(text_in(R"({"text": "a b"})") == "a b");
    CHECK(text_in("\t{ \"id\" : -1.5e+3 , \"text\":\"\" }\r") == "");
    CHECK(text_in(R"({"meta":{"text":"inner","l":[1,[],{},[true,false,null]]},"text":"outer","z":0})") == "outer");
    CHECK(text_in(R"({"text":"x","content":"y"})", "content") == "y");
    CHECK(text_in(R"({"a.b":"dots","":1})", "a.b") == "dots");
    CHECK(text_in(R"({"":"no name"})", "") == "no name");
    CHECK(text_in(R"({"te\u0078t":"key by escape"})") == "key by escape");
    CHECK(text_in(R"({"x":1,"x":2,"text":"others may stand twice"})") == "others may stand twice");
}

TEST_CASE("escapes in a JSON text") {
    CHECK(text_in(R"({"text":"\"\\\/\b\f\n\r\t"})") == "\"\\/\b\f\n\r\t");
    CHECK(text_in(R"({"text":"\u0041\u00e9\u4e2d\ud83d\ude00\uffff\u0001"})") == "Aé中😀\xef\xbf\xbf\x01");
    CHECK(text_in(R"({"text":"\u00E9\uD83D\uDE00"})") == "é😀");
    CHECK(text_in("{\"text\":\"é中😀\x7f\"}") == "é中😀\x7f");
}

TEST_CASE("what is wrong with a JSON line, and where") {
    const std::pair<const char*, const char*> cases[] = {
        {"", "byte 0: expected an object with the field \"text\", found the line's end"},
        {"hello", "byte 0: expected an object with the field \"text\", found 'h'"},
        {"[1]", "byte 0: expected an object"},
        {"\"text\"", "byte 0: expected an object"},
        {"{", "byte 1: expected a key in quotes, found the line's end"},
        {"{}", "byte 0: no field \"text\""},
        {R"({"a":1})", "byte 0: no field \"text\" in this object; --field names"},
        {R"({"text":"a","text":"b"})", "byte 12: the field \"text\" stands twice"},
        {R"({"text":null})", "byte 8: expected a text in the field \"text\", found 'n'"},
        {R"({"text":["a"]})", "byte 8: expected a text"},
        {R"({"text":"a"} x)", "byte 13: expected the line's end after the object, found 'x'"},
        {R"({"text":"a"}{"text":"b"})", "byte 12: expected the line's end"},
        {R"({"text":"a)", "byte 8: a text that begins here and does not end in this line"},
        {R"({"text":"a\)", "byte 11: expected one of"},
        {R"({"text":"a\x41"})", "byte 11: expected one of"},
        {R"({"text":"\u12g4"})", "byte 13: expected four hexadecimal digits after \\u, found 'g'"},
        {R"({"text":"\ud83d"})", "byte 9: half a surrogate pair"},
        {R"({"text":"\ud83d\u0041"})", "byte 9: half a surrogate pair"},
        {R"({"text":"\ude00\ud83d"})", "byte 9: half a surrogate pair"},
        {R"({"text":"a\u0000b"})", "byte 8: the text in the field \"text\" has a NUL character"},
        {"{\"text\":\"a\tb\"}", "byte 10: expected \\u0009 in a text, found the control character 0x09"},
        {"{\"text\":\"a\xff\"}", "byte 10: not UTF-8 (0xff)"},
        {"{\"x\":\"\xed\xa0\x80\",\"text\":\"a\"}", "byte 6: not UTF-8 (0xed)"},
        {R"({"text":"a",})", "byte 12: expected a key in quotes, found '}'"},
        {R"({"text":"a" "b":1})", "byte 12: expected ',' or '}', found '\"'"},
        {R"({"text" "a"})", "byte 8: expected ':'"},
        {R"({'text':"a"})", "byte 1: expected a key in quotes, found '''"},
        {R"({text:"a"})", "byte 1: expected a key in quotes, found 't'"},
        {R"({"n":01,"text":"a"})", "byte 6: expected ',' or '}', found '1'"},
        {R"({"n":+1,"text":"a"})", "byte 5: expected a value, found '+'"},
        {R"({"n":-,"text":"a"})", "byte 6: expected a digit, found ','"},
        {R"({"n":1.,"text":"a"})", "byte 7: expected a digit"},
        {R"({"n":1e,"text":"a"})", "byte 7: expected a digit"},
        {R"({"n":NaN,"text":"a"})", "byte 5: expected a value, found 'N'"},
        {R"({"n":tru,"text":"a"})", "byte 5: expected a value, found 't'"},
        {R"({"n":[1,],"text":"a"})", "byte 8: expected a value, found ']'"},
        {R"({"n":[1 2],"text":"a"})", "byte 8: expected ',' or ']', found '2'"},
    };
    for (const auto& [line, expected] : cases) {
        CAPTURE(line);
        const std::string error = error_in(line);
        CHECK_MESSAGE(error.find(expected) == 0, error);
    }
}

TEST_CASE("nesting is bounded, and no length is too long") {
    const auto nested = [](size_t levels) {
        return "{\"a\":" + std::string(levels, '[') + std::string(levels, ']') + ",\"text\":\"x\"}";
    };
    CHECK(text_in(nested(64)) == "x");
    CHECK(error_in(nested(65)).find("nested deeper than 64 levels") != std::string::npos);
    CHECK(error_in("{\"a\":" + std::string(10'000'000, '[')).find("nested deeper") != std::string::npos);
    const std::string objects = [] {
        std::string text;
        for (int i = 0; i < 100'000; ++i) text += "{\"a\":";
        return text;
    }();
    CHECK(error_in(objects).find("nested deeper") != std::string::npos);
    const std::string megabytes(20 << 20, 'x');
    CHECK(text_in("{\"text\":\"" + megabytes + "\"}") == megabytes);
}

TEST_CASE("every beginning of a line is refused") {
    const std::string line = R"({"a":[1.5e3,{"b":null}],"text":"\u00e9 \ud83d\ude00 x","c":true})";
    CHECK(text_in(line) == "é 😀 x");
    for (size_t length = 0; length < line.size(); ++length)
        CHECK(error_in(line.substr(0, length)).find("no error") == std::string::npos);
}
