#include "base/error.h"
#include "tests/tokenizer/text.h"
#include "tokenizer/bpe.h"
#include "tokenizer/pretokenize.h"

#include <doctest/doctest.h>

#include <map>
#include <set>

using namespace templar;
using templar::testing::sample_text;

namespace {

// The definition, counting everything anew for each merge; returns the tokens.
std::vector<std::string> reference_train(const std::vector<std::string_view>& documents, size_t vocab_size) {
    std::map<std::vector<std::string>, int64_t> words;
    for (const std::string_view document : documents) {
        for (size_t begin = 0, end; begin < document.size(); begin = end) {
            end = pretoken_end(document, begin);
            std::vector<std::string> symbols;
            for (size_t i = begin; i < end; ++i) symbols.emplace_back(1, document[i]);
            ++words[symbols];
        }
    }
    std::vector<std::string> tokens;
    for (int byte = 0; byte < 256; ++byte)
        tokens.emplace_back(1, static_cast<char>(static_cast<uint8_t>(byte)));
    std::set<std::string> known(tokens.begin(), tokens.end());
    while (tokens.size() + 1 < vocab_size) {
        std::map<std::pair<std::string, std::string>, int64_t> counts;  // in order of the byte strings
        for (const auto& [symbols, count] : words)
            for (size_t i = 0; i + 1 < symbols.size(); ++i) counts[{symbols[i], symbols[i + 1]}] += count;
        std::pair<std::string, std::string> best;
        int64_t most = 1;
        for (const auto& [pair, count] : counts)
            if (count > most && !known.contains(pair.first + pair.second)) best = pair, most = count;
        if (most == 1) break;
        const std::string made = best.first + best.second;
        std::map<std::vector<std::string>, int64_t> merged;
        for (const auto& [symbols, count] : words) {
            std::vector<std::string> next;
            for (size_t i = 0; i < symbols.size(); ++i) {
                const bool joins =
                    i + 1 < symbols.size() && symbols[i] == best.first && symbols[i + 1] == best.second;
                next.push_back(joins ? made : symbols[i]);
                i += joins;
            }
            merged[next] += count;
        }
        words.swap(merged);
        tokens.push_back(made);
        known.insert(made);
    }
    tokens.emplace_back("<|endoftext|>");
    return tokens;
}

std::vector<std::string> tokens_of(const ByteLevelBpe& tokenizer) {
    std::vector<std::string> tokens;
    for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) tokens.push_back(tokenizer.decode({id}));
    return tokens;
}

}  // namespace

TEST_CASE("training equals the definition") {
    const std::string text = sample_text(6000);
    CHECK(tokens_of(train_bpe({text}, 400)) == reference_train({text}, 400));
    // Overlapping pairs, and text whose counts are mostly equal.
    const std::string runs =
        "aaaaaaa aaa aaaa bababab abab aab baa aaaaaaa abcabcabc bcbcbc cacaca aabbaabb\n";
    const std::string twice = runs + runs;
    const auto expected = reference_train({twice}, 1000);
    CHECK(tokens_of(train_bpe({twice}, static_cast<int64_t>(expected.size()))) == expected);
}

TEST_CASE("training is deterministic and does not depend on how text is cut into documents before spaces") {
    const std::string text = sample_text(50000, 2);
    const std::string json = train_bpe({text}, 600).to_json();
    CHECK(train_bpe({text}, 600).to_json() == json);
    const size_t cut = text.find("a ", text.size() / 2) + 1;
    const std::string first = text.substr(0, cut), second = text.substr(cut);
    CHECK(train_bpe({second, first}, 600).to_json() == json);
}

TEST_CASE("equal counts are merged in order of the pair's bytes") {
    const auto tokens = tokens_of(train_bpe({"zy xw zy xw \xff\xfe \xff\xfe"}, 260));
    // Every pair occurs twice: (" ", "x") < (" ", "\xff") < (" x", "w"), bytes unsigned, the left one first.
    CHECK(tokens[256] == " x");
    CHECK(tokens[257] == " \xff");
    CHECK(tokens[258] == " xw");
}

TEST_CASE("training reports progress and refuses what it cannot do") {
    const std::string text = sample_text(3 << 20);
    int64_t counted = 0, merged = 0;
    train_bpe({text}, 400, [&](std::string_view stage, int64_t done, int64_t total) {
        CHECK(done <= total);
        (stage == "count" ? counted : merged) = done;
    });
    CHECK(counted > 2 << 20);
    CHECK(merged == 384);

    CHECK_THROWS_AS(train_bpe({}, 300), Error);
    CHECK_THROWS_AS(train_bpe({"", ""}, 300), Error);
    CHECK_THROWS_AS(train_bpe({"some text"}, 256), Error);
    CHECK_THROWS_AS(train_bpe({"some text"}, -1), Error);
    CHECK_THROWS_AS(train_bpe({"some text"}, int64_t{1} << 40), Error);
    CHECK(train_bpe({"ab"}, 257).vocab_size() == 257);
    CHECK_THROWS_WITH_AS(train_bpe({"ab ab"}, 400), doctest::Contains("it gives 258;"), Error);
}
