#include "base/strict_json.h"

#include "base/error.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>

using namespace templar;

namespace {

enum class Colour { red, green };
constexpr std::string_view colours[] = {"red", "green"};

struct Inner {
    int64_t n = 0;
};
struct Everything {
    int64_t count = 7;
    int32_t small = -1;
    double share = 0.1;
    float rate = 4e-4f;
    bool yes = true;
    std::string title = "ä \"quoted\" \n";
    std::string remark = "fine";
    uint32_t word = 0x39d1b717;
    Digest hash = sha256(as_bytes("x"));
    std::vector<Digest> hashes{sha256(as_bytes("y")), Digest{}};
    std::vector<std::pair<int64_t, int64_t>> places{{1, 2}, {3, 4}};
    std::map<Digest, double> shares{{sha256(as_bytes("z")), 0.25}};
    Inner inner{5};
    std::vector<Inner> list{{1}, {2}};
    std::map<Digest, Inner> named{{Digest{}, {3}}, {sha256(as_bytes("n")), {4}}};
    Colour colour = Colour::green;
};

void describe(JsonFields& f, Everything& e) {
    f.integer("count", e.count, 0, 1000);
    f.integer("small", e.small, -1, INT64_MAX);
    f.number("share", e.share, -any_double, any_double);
    f.number("rate", e.rate, 0, 1);
    f.boolean("yes", e.yes);
    f.text("title", e.title, 20);
    f.note("remark", e.remark, 8);
    f.bits("word", e.word);
    f.digest("hash", e.hash);
    f.digests("hashes", e.hashes, 3);
    f.pairs("places", e.places, 3, 0, 9);
    f.shares("shares", e.shares, 3, 0, 1);
    f.object("inner", [&](JsonFields& g) { g.integer("n", e.inner.n, 0, 9); });
    f.objects("list", e.list, 3, [](JsonFields& g, Inner& inner) { g.integer("n", inner.n, 0, 9); });
    f.objects("named", e.named, 3, [](JsonFields& g, Inner& inner) { g.integer("n", inner.n, 0, 9); });
    f.choice("colour", e.colour, colours);
}

std::string written(Everything e, int indent = -1) {
    return write_json(
        "test", [&](JsonFields& f) { describe(f, e); }, indent);
}
Everything read(std::string_view text) {
    Everything e;
    read_json(text, "test", [&](JsonFields& f) { describe(f, e); });
    return e;
}
std::string message(std::string_view text) {
    try {
        read(text);
    } catch (const Error& error) {
        CHECK(error.code() == ExitCode::input);
        return error.what();
    }
    return "accepted";
}
std::string replaced(std::string text, std::string_view from, std::string_view to) {
    const size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("strict JSON: what is written is read back to the bit") {
    const std::string text = written({});
    const Everything e = read(text);
    CHECK(written(e) == text);
    CHECK(e.title == Everything{}.title);
    CHECK(e.colour == Colour::green);
    CHECK(e.list.size() == 2);
    CHECK(e.hashes == Everything{}.hashes);
    CHECK(e.shares == Everything{}.shares);
    REQUIRE(e.named.size() == 2);
    CHECK(e.named.at(Digest{}).n == 3);
    CHECK(read(replaced(text, ",\"" + to_hex(sha256(as_bytes("n"))) + "\":{\"n\":4}", "")).named.size() == 1);
    CHECK(text.find("\"rate\":0.0004,") != std::string::npos);  // a float as people write it
    for (double value : {0.1, -0.0, 1e300, 5e-324, 1.0 / 3.0, 12345678901234567.0, 2.0}) {
        Everything changed;
        changed.share = value;
        CHECK(std::bit_cast<uint64_t>(read(written(changed)).share) == std::bit_cast<uint64_t>(value));
    }
    uint32_t bits = 1;
    for (int i = 0; i < 2000; ++i) {
        bits = bits * 1664525u + 1013904223u;
        Everything changed;
        changed.rate = std::bit_cast<float>(bits % 0x3f800001u);  // all of 0…1, denormals too
        CHECK(read(written(changed)).rate == changed.rate);
    }
}

TEST_CASE("strict JSON: indented text has sorted keys and one final newline") {
    const std::string text = written({}, 2);
    CHECK(text.starts_with("{\n  \"colour\": \"green\",\n  \"count\": 7,\n"));
    CHECK(text.ends_with("}\n"));
    CHECK(written(read(text)) == written({}));
}

TEST_CASE("strict JSON: reading names the key, what was expected and what was found") {
    const std::string good = written({});
    auto with = [&](std::string_view from, std::string_view to) { return message(replaced(good, from, to)); };
    CHECK(with("\"count\":7", "\"count\":1001") ==
          "test: count: expected an integer from 0 to 1000, found 1001");
    CHECK(with("\"count\":7", "\"count\":-1") == "test: count: expected an integer from 0 to 1000, found -1");
    CHECK(with("\"count\":7", "\"count\":7.0") ==
          "test: count: expected an integer from 0 to 1000, found 7.0");
    CHECK(with("\"count\":7", "\"count\":true") ==
          "test: count: expected an integer from 0 to 1000, found true");
    CHECK(with("\"count\":7", "\"count\":18446744073709551615")
              .starts_with("test: count: expected an integer"));
    CHECK(with("\"count\":7", "\"count\":\"7\"") ==
          "test: count: expected an integer from 0 to 1000, found \"7\"");
    CHECK(with("\"count\":7,", "") == "test: count: expected this key, found none");
    CHECK(with("\"count\":7", "\"count\":7,\"count\":8") == "test: the key \"count\" stands twice");
    CHECK(with("\"count\":7", "\"count\":7,\"extra\":[1,2]") ==
          "test: the text: expected no key \"extra\", found a list of 2");
    CHECK(with("\"inner\":{\"n\":5}", "\"inner\":{\"n\":5,\"m\":5}") ==
          "test: inner: expected no key \"m\", found 5");
    CHECK(with("\"inner\":{\"n\":5}", "\"inner\":{\"n\":10}") ==
          "test: inner.n: expected an integer from 0 to 9, found 10");
    CHECK(with("\"inner\":{\"n\":5}", "\"inner\":5") == "test: inner: expected an object, found 5");
    CHECK(with("[{\"n\":1},{\"n\":2}]", "[{\"n\":1},{\"n\":\"\"}]") ==
          "test: list[1].n: expected an integer from 0 to 9, found \"\"");
    CHECK(with("[{\"n\":1},{\"n\":2}]", "[{\"n\":1},2]") == "test: list[1]: expected an object, found 2");
    CHECK(with("[{\"n\":1},{\"n\":2}]", "[{},{},{},{}]") ==
          "test: list: expected at most 3 entries, found 4");
    CHECK(with("[{\"n\":1},{\"n\":2}]", "{}") == "test: list: expected a list, found an object");
    const std::string zeros(64, '0');
    CHECK(with("{\"n\":3}", "{\"n\":10}") ==
          "test: named." + zeros + ".n: expected an integer from 0 to 9, found 10");
    CHECK(with("{\"n\":3}", "{\"n\":3,\"m\":3}") ==
          "test: named." + zeros + ": expected no key \"m\", found 3");
    CHECK(with("{\"n\":3}", "3") == "test: named." + zeros + ": expected an object, found 3");
    CHECK(with(zeros + "\":{\"n\":3}", "00\":{\"n\":3}").starts_with("test: named: expected 64 lower-case"));
    CHECK(with("\"named\":{", "\"named\":[],\"more\":{") ==
          "test: named: expected an object, found a list of 0");
    CHECK(with("{\"n\":3}", "{\"n\":3},\"1\":0,\"2\":0") ==
          "test: named: expected at most 3 entries, found 4");
    CHECK(with("\"green\"", "\"blue\"") == "test: colour: expected one of red, green, found \"blue\"");
    CHECK(with("\"share\":0.1", "\"share\":null") == "test: share: expected a number, found null");
    CHECK(with("\"share\":0.1", "\"share\":1e999").starts_with("test: not JSON"));
    CHECK(with("\"share\":0.1", "\"share\":NaN").starts_with("test: not JSON"));
    CHECK(with("\"rate\":0.0004", "\"rate\":1.5") == "test: rate: expected a number from 0 to 1, found 1.5");
    CHECK(with("\"yes\":true", "\"yes\":1") == "test: yes: expected true or false, found 1");
    CHECK(with("39d1b717", "39D1B717").starts_with("test: word: expected 8 lower-case"));
    CHECK(with("39d1b717", "39d1b71").starts_with("test: word: expected 8 lower-case"));
    CHECK(with("\"fine\"", "\"123456789\"") == "test: remark: expected at most 8 bytes, found 9");
    CHECK(with("[1,2]", "[1,2,3]") == "test: places: expected a list of two integers, found a list of 3");
    CHECK(with("[1,2]", "[1,10]") == "test: places: expected an integer from 0 to 9, found 10");
    CHECK(with("0.25", "1.25") == "test: shares: expected a number from 0 to 1, found 1.25");
    CHECK(with(to_hex(Everything{}.hash), "abc").starts_with("test: hash: expected 64 lower-case"));
}

TEST_CASE("strict JSON: what is no JSON object is refused") {
    for (const std::string& text :
         {std::string(), std::string("{"), std::string("[]"), std::string("null"), std::string("{}x"),
          std::string("\xff"), std::string("{\"a\":\"\xff\"}"), written({}) + written({}),
          std::string(100'000, '['), std::string(100'000, '{')}) {
        CHECK(message(text).starts_with("test: "));
    }
    std::string deep = "1";
    for (int i = 0; i < 40; ++i) deep = "{\"a\":" + deep + "}";
    CHECK(message(deep) == "test: nested deeper than 16 levels");
    for (size_t size = 0; size < written({}).size(); ++size)
        CHECK(message(written({}).substr(0, size)) != "accepted");
}

TEST_CASE("strict JSON: nothing is written that a reader would refuse") {
    auto refused = [](auto change) {
        Everything e;
        change(e);
        CHECK_THROWS_AS(written(e), Error);
    };
    refused([](Everything& e) { e.count = 1001; });
    refused([](Everything& e) { e.share = NAN; });
    refused([](Everything& e) { e.share = INFINITY; });
    refused([](Everything& e) { e.rate = -1; });
    refused([](Everything& e) { e.title = std::string(21, 'x'); });
    refused([](Everything& e) { e.title = "\xff"; });
    refused([](Everything& e) { e.hashes.resize(4); });
    refused([](Everything& e) { e.places[0].first = 10; });
    refused([](Everything& e) { e.shares.begin()->second = NAN; });
    refused([](Everything& e) { e.list.resize(4); });
    refused([](Everything& e) { e.named[Digest{}].n = 10; });
    refused([](Everything& e) {
        for (uint8_t i = 1; i < 4; ++i) e.named[Digest{i}];
    });
    // Notes are made to fit.
    Everything e;
    e.remark = "1234567ä";
    CHECK(read(written(e)).remark == "1234567");
    e.remark = "a\xff\x01z";
    CHECK(read(written(e)).remark == "a??z");
}
