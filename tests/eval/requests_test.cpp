#include "eval/requests.h"
#include "tests/eval/toy.h"

#include <doctest/doctest.h>

using namespace templar;
using namespace templar::test;
using Ids = std::vector<int32_t>;

namespace {

constexpr int32_t ab = ToyTokenizer::ab, begin = ToyTokenizer::begin;

Request request(std::string_view context, std::string_view continuation, int64_t length = 100, bool bos = false) {
    return make_request(ToyTokenizer(), {.length = length, .prefix = begin, .bos = bos}, context, continuation);
}

std::vector<Request> windows(std::string_view text, int64_t length, int64_t overlap) {
    return make_windows(ToyTokenizer(), {.length = length, .prefix = begin, .bos = false}, text, overlap);
}

}  // namespace

TEST_CASE("a request: the context's tokens, then what the whole text has after as many") {
    Request r = request("xy", " z");
    CHECK(r.tokens == Ids{'x', 'y', ' ', 'z'});
    CHECK(r.context == 2);
    CHECK(r.scored == 2);
    // The whole has the token "ab" across the border: one token remains, and the context keeps its own.
    r = request("xa", "bc");
    CHECK(r.tokens == Ids{'x', 'a', 'c'});
    CHECK(r.context == 2);
    CHECK(r.scored == 1);
    CHECK(refusal([] { request("xa", "b"); }).find("adds no token") != std::string::npos);
    CHECK(refusal([] { request("x", ""); }).find("adds no token") != std::string::npos);
}

TEST_CASE("white space at the end of the context moves to the answer") {
    const Request r = request("x \n\t", " y");
    CHECK(r.tokens == Ids{'x', ' ', '\n', '\t', ' ', 'y'});
    CHECK(r.context == 1);
    CHECK(r.scored == 5);
}

TEST_CASE("an empty context is the begin token") {
    for (const char* context : {"", " "}) {
        const Request r = request(context, "y");
        CHECK(r.context == 1);
        CHECK(r.tokens.front() == begin);
        CHECK(r.scored == 1 + static_cast<int64_t>(std::string_view(context).size()));
    }
    const RequestRules none{.length = 9, .prefix = -1, .bos = false};
    CHECK(refusal([&] { make_request(ToyTokenizer(false), none, "", "y"); }).find("neither") != std::string::npos);
}

TEST_CASE("with bos every context begins with it; where there is none it is scored after another, as in lm-eval") {
    CHECK(request("x", "y", 100, true).tokens == Ids{begin, 'x', 'y'});
    CHECK(request("x", "y", 100, true).context == 2);
    CHECK(request("", "y", 100, true).tokens == Ids{begin, begin, 'y'});
    CHECK(request("", "y", 100, true).scored == 2);
    CHECK(request(" ", "y", 100, true).tokens == Ids{begin, ' ', 'y'});
    CHECK(request(" ", "y", 100, true).scored == 2);
    const RequestRules rules{.length = 4, .prefix = begin, .bos = true};
    const std::vector<Request> all = make_windows(ToyTokenizer(), rules, "0123", 1);
    REQUIRE(all.size() == 2);
    CHECK(all[0].tokens == Ids{begin, begin, '0', '1', '2'});
    CHECK(all[0].scored == 4);
    CHECK(all[1].scored == 1);
}

TEST_CASE("what is too long loses its front") {
    Request r = request("01234567", "89", 5);
    CHECK(r.tokens == Ids{'4', '5', '6', '7', '8', '9'});  // the last is predicted, not seen
    CHECK(r.context == 8);
    CHECK(r.scored == 2);
    CHECK(request("0123", "45", 5).tokens == Ids{'0', '1', '2', '3', '4', '5'});
    CHECK(request("x", "12345", 5).tokens == Ids{'x', '1', '2', '3', '4', '5'});
    CHECK(request("wx", "12345", 5).tokens == Ids{'x', '1', '2', '3', '4', '5'});
    CHECK(refusal([] { request("x", "123456", 5); }).find("6 tokens, expected at most the 5") != std::string::npos);
}

TEST_CASE("windows score every token once") {
    const std::string text = "0123456789";
    for (int64_t length = 1; length <= 12; ++length)
        for (int64_t overlap = 1; overlap <= length; ++overlap) {
            CAPTURE(length);
            CAPTURE(overlap);
            std::string scored;
            for (const Request& window : windows(text, length, overlap)) {
                CHECK(std::ssize(window.tokens) <= length + 1);
                CHECK(window.context + window.scored == std::ssize(window.tokens));
                CHECK(window.context >= (scored.empty() ? 1 : overlap));
                for (size_t k = window.tokens.size() - static_cast<size_t>(window.scored); k < window.tokens.size();
                     ++k)
                    scored += static_cast<char>(window.tokens[k]);
            }
            CHECK(scored == text);
        }
}

TEST_CASE("windows are lm-eval's: the first after the prefix, the last as full as any") {
    const std::vector<Request> all = windows("0123456789", 4, 1);
    REQUIRE(all.size() == 3);
    CHECK(all[0].tokens == Ids{begin, '0', '1', '2', '3'});
    CHECK(all[0].scored == 4);
    CHECK(all[1].tokens == Ids{'3', '4', '5', '6', '7'});
    CHECK(all[1].scored == 4);
    CHECK(all[2].tokens == Ids{'5', '6', '7', '8', '9'});
    CHECK(all[2].scored == 2);
    const std::vector<Request> sliding = windows("01234567", 4, 3);
    REQUIRE(sliding.size() == 3);
    CHECK(sliding[1].tokens == Ids{'1', '2', '3', '4', '5'});
    CHECK(sliding[1].scored == 2);
    CHECK(sliding[2].tokens == Ids{'3', '4', '5', '6', '7'});
    CHECK(windows("", 4, 1).empty());
    CHECK(windows("ab", 4, 1)[0].tokens == Ids{begin, ab});
    CHECK(refusal([] { windows("x", 4, 5); }).find("expected 1 to") != std::string::npos);
}
