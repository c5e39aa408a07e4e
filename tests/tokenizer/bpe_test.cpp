#include "base/error.h"
#include "tests/tokenizer/text.h"
#include "tokenizer/bpe.h"

#include <doctest/doctest.h>

#include <algorithm>

using namespace templar;
using templar::testing::Draw;
using templar::testing::random_bytes;
using templar::testing::sample_text;

namespace {

std::vector<std::string> byte_tokens() {
    std::vector<std::string> tokens;
    for (int byte = 0; byte < 256; ++byte)
        tokens.emplace_back(1, static_cast<char>(static_cast<uint8_t>(byte)));
    return tokens;
}

// a b c | ab, bc, abc (from ab c), aa, aaaa
ByteLevelBpe small() {
    auto tokens = byte_tokens();
    for (const char* token : {"ab", "bc", "abc", "aa", "aaaa", "<|endoftext|>"}) tokens.emplace_back(token);
    return ByteLevelBpe(tokens, {{'a', 'b'}, {'b', 'c'}, {256, 'c'}, {'a', 'a'}, {259, 259}}, "<|endoftext|>");
}

const ByteLevelBpe& trained() {
    static const ByteLevelBpe tokenizer = [] {
        const std::string text = sample_text(60000);
        return train_bpe({text}, 500);
    }();
    return tokenizer;
}

// Byte-level BPE of one pre-token straight from the definition.
std::vector<int32_t> reference_merge(std::string_view piece,
                                     const std::vector<std::pair<int32_t, int32_t>>& merges) {
    std::vector<int32_t> ids;
    for (const char c : piece) ids.push_back(static_cast<uint8_t>(c));
    for (;;) {
        size_t best = merges.size(), at = 0;
        for (size_t i = 0; i + 1 < ids.size(); ++i) {
            const auto found = std::find(merges.begin(), merges.end(), std::pair(ids[i], ids[i + 1]));
            const auto rank = static_cast<size_t>(found - merges.begin());
            if (rank < best) best = rank, at = i;
        }
        if (best == merges.size()) return ids;
        ids[at] = 256 + static_cast<int32_t>(best);
        ids.erase(ids.begin() + static_cast<ptrdiff_t>(at) + 1);
    }
}

template <class Function>
std::string error_of(const Function& function) {
    try {
        function();
    } catch (const Error& error) {
        CHECK(error.code() == ExitCode::input);
        return error.what();
    }
    return "no error";
}

bool has(const std::string& text, std::string_view part) {
    if (text.find(part) != std::string::npos) return true;
    MESSAGE("expected '" << part << "' in: " << text);
    return false;
}

}  // namespace

TEST_CASE("encode merges the lowest rank first, from the left") {
    const ByteLevelBpe tokenizer = small();
    CHECK(tokenizer.encode("").empty());
    CHECK(tokenizer.encode("abc") == std::vector<int32_t>{258});
    CHECK(tokenizer.encode("bc") == std::vector<int32_t>{257});
    CHECK(tokenizer.encode("aaa") == std::vector<int32_t>{259, 'a'});
    CHECK(tokenizer.encode("aaaaab") == std::vector<int32_t>{260, 256});
    CHECK(tokenizer.encode("abc abc") == std::vector<int32_t>{258, ' ', 258});
    CHECK(tokenizer.vocab_size() == 262);
    CHECK(tokenizer.end_token() == 261);
    std::vector<int32_t> out{7};
    tokenizer.encode("ab", out);
    CHECK(out == std::vector<int32_t>{7, 256});
}

TEST_CASE("short and long pre-tokens follow the same rule") {
    std::vector<std::pair<int32_t, int32_t>> merges;
    auto tokens = byte_tokens();
    Draw draw(5);
    while (merges.size() < 60) {
        const auto pick = [&] {
            return draw.below(2) ? static_cast<int32_t>('a' + draw.below(3))
                                 : static_cast<int32_t>(256 + draw.below(merges.size() + 1));
        };
        const int32_t left = pick(), right = pick();
        if (left >= static_cast<int32_t>(tokens.size()) || right >= static_cast<int32_t>(tokens.size()))
            continue;
        const std::string made = tokens[static_cast<size_t>(left)] + tokens[static_cast<size_t>(right)];
        if (made.size() > 12 || std::find(tokens.begin(), tokens.end(), made) != tokens.end()) continue;
        tokens.push_back(made);
        merges.emplace_back(left, right);
    }
    const ByteLevelBpe tokenizer(tokens, merges, "");
    CHECK(tokenizer.end_token() == -1);
    for (size_t length = 1; length < 400; length += 1 + length / 7) {
        for (int repeat = 0; repeat < 4; ++repeat) {
            std::string word;
            while (word.size() < length) word += static_cast<char>('a' + draw.below(3));
            CHECK(tokenizer.encode(word) == reference_merge(word, merges));
        }
    }
}

TEST_CASE("a megabyte without a space is encoded") {
    const std::string run(1 << 20, 'a');
    const std::vector<int32_t> ids = small().encode(run + "b");
    CHECK(ids.size() == (1 << 18) - 1 + 3);
    CHECK(small().decode(ids) == run + "b");
    const std::string spaces(1 << 20, ' ');
    CHECK(trained().decode(trained().encode(spaces + "x" + spaces)) == spaces + "x" + spaces);
}

TEST_CASE("any bytes come back from decode") {
    for (uint64_t seed = 1; seed < 40; ++seed) {
        const std::string noise = random_bytes(1 + 37 * seed * seed, seed);
        CHECK(trained().decode(trained().encode(noise)) == noise);
        std::string mixed = sample_text(2000, seed);
        for (size_t i = seed; i < mixed.size(); i += 97) mixed[i] = noise[i % noise.size()];
        CHECK(trained().decode(trained().encode(mixed)) == mixed);
    }
}

TEST_CASE("a text cannot forge the end token") {
    const std::string text = "a<|endoftext|>b <|endoftext|>\n";
    for (const ByteLevelBpe& tokenizer : {small(), trained()}) {
        const auto ids = tokenizer.encode(text);
        CHECK(std::find(ids.begin(), ids.end(), tokenizer.end_token()) == ids.end());
        CHECK(tokenizer.decode(ids) == text);
        CHECK(tokenizer.decode({tokenizer.end_token()}) == "<|endoftext|>");
    }
    // Not even when the training text is full of it, or a merge spells it.
    std::string repeated;
    for (int i = 0; i < 500; ++i) repeated += text;
    const ByteLevelBpe tokenizer = train_bpe({repeated}, 268);
    const auto ids = tokenizer.encode("<|endoftext|>");
    CHECK(std::find(ids.begin(), ids.end(), tokenizer.end_token()) == ids.end());
    auto tokens = byte_tokens();
    tokens.insert(tokens.end(), {"<|", "<||"});
    CHECK(has(error_of([&] { ByteLevelBpe(tokens, {{'<', '|'}, {256, '|'}}, "<||"); }), "merge 1"));
}

TEST_CASE("decode refuses ids outside the vocabulary") {
    CHECK(has(error_of([] { small().decode({1, 262}); }), "token 1 is 262, expected 0 to 261"));
    CHECK(has(error_of([] { small().decode({-1}); }), "token 0 is -1"));
}

TEST_CASE("a tokenizer with parts that do not fit is refused") {
    auto tokens = byte_tokens();
    CHECK(has(error_of([&] { ByteLevelBpe(tokens, {}, "<|endoftext|>"); }),
              "end token '<|endoftext|>' is not in the vocabulary"));
    CHECK(has(error_of([&] {
                  ByteLevelBpe(tokens, {{'a', 'b'}}, "");
              }),
              "bytes that are not in the vocabulary"));
    CHECK(has(error_of([&] { ByteLevelBpe(tokens, {{'a', 256}}, ""); }), "joins ids 97 and 256"));
    CHECK(has(error_of([&] { ByteLevelBpe(tokens, {{-1, 'a'}}, ""); }), "joins ids -1 and 97"));
    CHECK(has(error_of([] { ByteLevelBpe({"a", "b"}, {}, ""); }), "single byte 0x00"));
    tokens.push_back("ab");
    CHECK(has(error_of([&] { ByteLevelBpe(tokens, {{'a', 'b'}, {'a', 'b'}}, ""); }), "repeats"));
    tokens.push_back("ab");
    CHECK(has(error_of([&] { ByteLevelBpe(tokens, {}, ""); }), "tokens 256 and 257 are the same"));
    tokens.back() = "";
    CHECK(has(error_of([&] { ByteLevelBpe(tokens, {}, ""); }), "token 257 is empty"));
    tokens.back() = "\xff\xfe";
    CHECK(has(error_of([&] { ByteLevelBpe(tokens, {}, "\xff\xfe"); }), "not valid UTF-8"));
}
