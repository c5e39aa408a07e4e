#include "tokenizer/sentencepiece.h"

#include "base/error.h"
#include "base/file.h"
#include "base/temporary_folder.h"
#include "tests/tokenizer/sentencepiece_model.h"
#include "tests/tokenizer/text.h"
#include "tokenizer/protobuf.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>

using namespace templar;
using namespace templar::testing;

namespace {

using Type = SentencePiece::Type;
using Ids = std::vector<int32_t>;

SentencePieceBpe read(const std::string& model) {
    return SentencePieceBpe::from_model(as_bytes(model), "t.model");
}

std::string error_of(const std::string& model) {
    try {
        read(model);
    } catch (const Error& error) {
        CHECK(error.code() == ExitCode::input);
        return error.what();
    }
    return "no error";
}

void check_error(const std::string& model, const std::string& part) {
    const std::string message = error_of(model);
    CHECK_MESSAGE(message.find(part) != std::string::npos, message);
}

// Merging straight from sentencepiece's definition, on strings.
std::vector<std::string> reference_merge(std::vector<std::string> parts, const std::vector<SentencePiece>& pieces) {
    for (;;) {
        size_t at = parts.size();
        float best = 0;
        for (size_t i = 0; i + 1 < parts.size(); ++i)
            for (const SentencePiece& piece : pieces)
                if (piece.text == parts[i] + parts[i + 1] && (at == parts.size() || piece.score > best))
                    best = piece.score, at = i;
        if (at == parts.size()) return parts;
        parts[at] += parts[at + 1];
        parts.erase(parts.begin() + static_cast<ptrdiff_t>(at) + 1);
    }
}

}  // namespace

TEST_CASE("sentencepiece: the higher score merges first, characters without a piece become bytes") {
    const SentencePieceBpe tokenizer = read(small_model());
    CHECK(tokenizer.vocab_size() == 267);
    CHECK(tokenizer.begin_token() == 1);
    CHECK(tokenizer.end_token() == 2);
    CHECK(tokenizer.encode("").empty());
    CHECK(tokenizer.encode("abc") == Ids{space_a, bc});
    CHECK(tokenizer.encode("cab ab") == Ids{space, c, ab, space, ab});
    CHECK(tokenizer.encode(" a") == Ids{space, space_a});
    CHECK(tokenizer.encode("aé") == Ids{space_a, 3 + 0xc3, 3 + 0xa9});
    CHECK(tokenizer.encode("a▁a") == Ids{space_a, space_a});
    CHECK(tokenizer.encode("\xff") == Ids{space, 3 + 0xef, 3 + 0xbf, 3 + 0xbd});
    CHECK(tokenizer.encode("<s>") == Ids{space, 3 + '<', 3 + 's', 3 + '>'});
    CHECK(tokenizer.decode(tokenizer.encode(" ab\né  c ")) == " ab\né  c ");
    CHECK(tokenizer.decode({1, space_a, bc, 2, 1, space_a}) == "<s>abc</s><s>a");
    CHECK(tokenizer.token_text(space_a) == " a");
    CHECK(tokenizer.token_text(3 + 0xc3) == "\xc3");
    CHECK_THROWS_WITH_AS(tokenizer.decode({a, 267}), doctest::Contains("token 1 is 267, expected 0 to 266"), Error);
}

TEST_CASE("sentencepiece: any vocabulary merges as the definition says") {
    Draw draw(3);
    for (int round = 0; round < 20; ++round) {
        std::vector<SentencePiece> pieces{{"<unk>", 0, Type::unknown}};
        for (const char* text : {"a", "b", "▁"}) pieces.push_back({text, -100});
        const bool no_c = round % 2 == 0;  // c stands in pieces, but is none
        if (!no_c) pieces.push_back({"c", -100});
        while (pieces.size() < 30) {
            static const std::string characters[] = {"a", "b", "c", "▁"};
            std::string text;
            for (uint64_t i = 0, n = 2 + draw.below(4); i < n; ++i) text += characters[draw.below(4)];
            if (std::any_of(pieces.begin(), pieces.end(), [&](const auto& piece) { return piece.text == text; }))
                continue;
            pieces.push_back({text, -static_cast<float>(draw.below(12))});  // some scores are equal
        }
        const SentencePieceRules rules{.add_dummy_prefix = false, .remove_extra_whitespaces = false};
        const SentencePieceBpe tokenizer(pieces, rules, "t");
        for (size_t length = 1; length < 200; length += 1 + length / 4) {
            std::string text;
            std::vector<std::string> characters;
            for (size_t i = 0; i < length; ++i) {
                const char character = "abc "[draw.below(4)];
                text += character;
                characters.emplace_back(character == ' ' ? "▁" : std::string(1, character));
            }
            Ids expected;
            for (const std::string& part : reference_merge(characters, pieces)) {
                const auto found =
                    std::find_if(pieces.begin(), pieces.end(), [&](const auto& piece) { return piece.text == part; });
                const auto id = found == pieces.end() ? 0 : static_cast<int32_t>(found - pieces.begin());
                if (id != 0 || expected.empty() || expected.back() != 0) expected.push_back(id);
            }
            CHECK(tokenizer.encode(text) == expected);
            Ids in_parts;
            for (size_t begin = 0, end; begin < text.size(); begin = end) {
                end = tokenizer.cut(text, begin + 1);
                tokenizer.encode_rest(text.substr(begin, end - begin), in_parts);
            }
            CHECK(in_parts == expected);
        }
    }
}

TEST_CASE("sentencepiece: white space by the model's rules") {
    const std::string model = small_model();
    const SentencePieceBpe no_prefix = read(model + normalizer(false, false));
    CHECK(no_prefix.encode("a b") == Ids{a, space, b});
    CHECK(no_prefix.decode({space, b}) == " b");
    const SentencePieceBpe no_extra = read(model + normalizer(true, true));
    CHECK(no_extra.encode("  a   b  ") == Ids{space_a, space, b});
    CHECK(no_extra.encode("   ").empty());
    CHECK(no_extra.encode("▁").empty());
    const SentencePieceBpe suffix = read(model + message(2, number(24, 1)));
    CHECK(suffix.encode("b a") == Ids{b, space_a, space});
}

TEST_CASE("sentencepiece: user-defined and unused pieces") {
    const std::string model = small_model() + piece("bca", 0, Type::user_defined) + piece("b", 0, Type::user_defined);
    CHECK(error_of(model).find("both 'b'") != std::string::npos);
    const SentencePieceBpe tokenizer = read(small_model() + piece("bca", 0, Type::user_defined));
    CHECK(tokenizer.encode("abcab") == Ids{space_a, 267, b});
    const SentencePieceBpe unused = read(small_model() + piece("cc", 5, Type::unused) + piece("cca", 6));
    CHECK(unused.encode("cc cca") == Ids{space, c, c, space, 268});
}

TEST_CASE("sentencepiece: without byte_fallback what is unknown is one <unk>") {
    const std::vector<SentencePiece> pieces{{"<unk>", 0, Type::unknown}, {"▁", 0}, {"a", 0}};
    const SentencePieceBpe tokenizer(pieces, {.remove_extra_whitespaces = false}, "t");
    CHECK(tokenizer.encode("xya xy") == Ids{1, 0, 2, 1, 0});
    CHECK(tokenizer.begin_token() == -1);
    CHECK(tokenizer.cut("xy xy", 1) == 2);
    // Where a space is unknown, a text cannot be cut before it: what is unknown on both sides is one.
    const SentencePieceBpe no_space({{"<unk>", 0, Type::unknown}, {"a", 0}, {"▁a", 0}},
                                    {.remove_extra_whitespaces = false}, "t");
    CHECK(no_space.encode("x xa") == Ids{0, 1});
    CHECK(no_space.cut("x xa", 1) == 4);
}

TEST_CASE("sentencepiece: a long text without a space") {
    const SentencePieceBpe tokenizer = read(small_model());
    std::string text;
    for (int i = 0; i < 1 << 18; ++i) text += "abc";
    CHECK(tokenizer.decode(tokenizer.encode(text)) == text);
}

TEST_CASE("sentencepiece: a precompiled_charsmap rewrites the longest beginning it has a rule for") {
    const auto with = [](const std::string& map, bool remove_extra) {
        return read(small_model() + normalizer(true, remove_extra) + message(3, message(2, map)));
    };
    const SentencePieceBpe plain = read(small_model()), tokenizer = with(small_charsmap(), false);
    CHECK(tokenizer.encode("aAc") == plain.encode("abc"));
    CHECK(tokenizer.encode("aABcAAB") == plain.encode("acb"));
    CHECK(tokenizer.encode("a!b") == plain.encode("a  b"));
    CHECK(tokenizer.encode("AB") == Ids{259});  // the dummy space alone
    CHECK(tokenizer.cut("a a a", 1) == 1);
    CHECK(tokenizer.cut("aA aAB a! aé a▁ cB a", 1) == 2);
    CHECK(tokenizer.cut("aA aAB a! aé a▁ cB a", 3) == 23);  // B may be in AB, the others become spaces or are no ASCII
    std::string to_space = small_charsmap();
    to_space[to_space.size() - 6] = ' ';  // A -> " "
    const SentencePieceBpe suffix =
        read(small_model() + message(2, number(24, 1)) + normalizer(true, true) + message(3, message(2, to_space)));
    CHECK(suffix.encode(" AA ").empty());  // nothing but extra spaces
    CHECK(suffix.encode("AB") == Ids{space});
    CHECK(suffix.encode("▁") == Ids{space});
    const SentencePieceBpe trimming = with(small_charsmap(), true);
    CHECK(trimming.encode("!a !b!") == plain.encode("a b"));
    CHECK(trimming.encode("AB").empty());
}

TEST_CASE("sentencepiece: rewritten and trimmed texts are encoded in parts as whole") {
    Draw draw(11);
    const std::string parts[] = {"a", "b", "c", "A", "AB", "B", "!", " ", " ", "  ", "▁", "é", "\xff", "\n"};
    int cuts = 0;
    for (const bool has_map : {false, true})
        for (const bool remove_extra : {false, true}) {
            const std::string map = has_map ? message(3, message(2, small_charsmap())) : "";
            const SentencePieceBpe tokenizer = read(small_model() + normalizer(true, remove_extra) + map);
            for (int round = 0; round < 500; ++round) {
                std::string text;
                for (uint64_t i = 0, n = 1 + draw.below(30); i < n; ++i) text += parts[draw.below(std::size(parts))];
                CAPTURE(text);
                Ids in_parts;
                size_t end = tokenizer.cut(text, 1);
                tokenizer.encode(text.substr(0, end), in_parts);
                for (size_t begin = end; begin < text.size(); begin = end, ++cuts) {
                    end = tokenizer.cut(text, begin + 1);
                    tokenizer.encode_rest(text.substr(begin, end - begin), in_parts);
                }
                CHECK(in_parts == tokenizer.encode(text));
            }
        }
    CHECK(cuts > 2000);
}

TEST_CASE("sentencepiece: broken charsmaps are refused, or have fewer rules") {
    const std::string map = small_charsmap();
    for (const size_t size : {1, 4, 5, 100, 4099})
        check_error(small_model() + message(3, message(2, map.substr(0, size))), "precompiled_charsmap");
    check_error(small_model() + message(3, message(2, std::string(8, '\0'))), "a table of 0 bytes");
    const std::string text = "aABcAAB!\xff a";
    for (uint64_t seed = 1; seed < 300; ++seed) {
        std::string broken = map;
        const std::string noise = random_bytes(64, seed);
        for (size_t i = 0; i + 3 < noise.size(); i += 4) {
            const auto byte = [&](size_t j) { return static_cast<size_t>(static_cast<uint8_t>(noise[i + j])); };
            broken[4 + (byte(0) << 8 | byte(1)) % (broken.size() - 4)] = noise[i + 2];
            broken[4 + 4 * (i % 8 < 4 ? size_t{0x141} : size_t{0x121}) + byte(3) % 4] = noise[i + 2];
        }
        const Ids ids = read(small_model() + message(3, message(2, broken))).encode(text);
        CHECK(ids.size() <= 3 * text.size() + 16);
    }
    CHECK(read(small_model() + message(3, message(2, map.substr(0, 4100)))).encode("aA") ==
          read(small_model()).encode("aA"));  // rules without a replacement
}

TEST_CASE("sentencepiece: models that do not fit are refused, and the reason named") {
    const std::string model = small_model();
    check_error("", "model_type 1 (Unigram)");
    check_error(model + message(2, number(3, 4)), "model_type 4 (character)");
    check_error(model + message(3, message(2, "map")), "precompiled_charsmap");
    check_error(model + piece("", 0), "piece 267 has 0 bytes");
    check_error(model + piece(std::string(2000, 'x'), 0), "piece 267 has 2000 bytes");
    check_error(model + piece("\xff", 0), "piece 267 is not valid UTF-8");
    check_error(model + piece("ab", 0), "pieces 263 and 267 are both 'ab'");
    check_error(model + piece("x", std::numeric_limits<float>::quiet_NaN()), "score of piece 267");
    check_error(model + piece("<unk>2", 0, Type::unknown), "both unknown");
    check_error(model + piece("<0x0a>", 0, Type::byte), "'<0x0a>'");
    check_error(model + message(2, number(35, 0)), "none without byte_fallback");
    check_error(model + piece("x", 0, static_cast<Type>(9)), "pieces[267]: type 9");
    check_error(piece("a", 0) + trainer(false), "no piece for what is unknown");
    check_error(piece("<unk>", 0, Type::unknown) + trainer(true), "no byte piece <0x00>");
    check_error(model + number(1, 7), "field 1: expected a string or message");
    check_error(model + message(1, number(1, 7)), "pieces[267]: field 1");
    check_error(model + varint(1 << 3 | 3), "wire type 3");
    check_error(model + varint(1 << 3 | 2) + varint(~uint64_t{0}), "truncated");
    check_error(model + std::string(11, '\xff'), "more than 10 bytes");
    check_error(std::string(100, '\0'), "a field numbered 0");
}

TEST_CASE("sentencepiece: cut short or changed anywhere, a model is refused or read") {
    const std::string model = small_model();
    Draw draw(7);
    const size_t without_normalizer =
        model.size() - normalizer(true, false).size();  // the one end where nothing is missing
    for (size_t length = 0; length < model.size(); ++length)
        CHECK((error_of(model.substr(0, length)) == "no error") == (length == without_normalizer));
    for (int i = 0; i < 300; ++i) {
        std::string bad = model;
        for (int j = 0; j < 3; ++j)
            bad[draw.below(bad.size())] = static_cast<char>(static_cast<uint8_t>(draw.below(256)));
        try {
            const SentencePieceBpe tokenizer = read(bad);
            for (const int32_t id : tokenizer.encode(random_bytes(200, draw.below(99) + 1)))
                CHECK((id >= 0 && id < tokenizer.vocab_size()));
        } catch (const Error& error) {
            CHECK(error.code() == ExitCode::input);
        }
    }
}

TEST_CASE("llama2.c's tokenizer.bin") {
    const auto put = [](ByteWriter& file, float score, std::string_view text) {
        file.put(std::bit_cast<uint32_t>(score));
        file.put(static_cast<int32_t>(text.size()));
        file.put_bytes(as_bytes(text));
    };
    ByteWriter file;
    file.put(int32_t{7});
    for (const char* text : {"<unk>", "\n<s>\n", "\n</s>\n"}) put(file, 0, text);
    for (int byte = 0; byte < 256; ++byte) put(file, 0, fmt::format("<0x{:02X}>", byte));
    put(file, -1, " ");
    put(file, -2, "a");
    put(file, -3, " a");
    const auto tokenizer = SentencePieceBpe::from_llama2c(file.bytes(), "t.bin");
    CHECK(tokenizer.vocab_size() == 262);
    CHECK(tokenizer.begin_token() == 1);
    CHECK(tokenizer.encode("a a\n") == Ids{261, 261, 3 + '\n'});
    CHECK(tokenizer.decode({1, 261, 261}) == "<s>a a");

    const TemporaryFolder folder;
    write_file(folder.path() / "tokenizer.bin", file.bytes());
    CHECK(load_tokenizer(folder.path())->encode("a") == Ids{261});
    write_file(folder.path() / "any.model", as_bytes(small_model()));
    CHECK(load_tokenizer(folder.path() / "any.model")->encode("abc") == Ids{space_a, bc});

    const size_t last_piece = 4 + 4 + 2;
    for (size_t length = 0; length < file.size(); ++length)
        if (length + last_piece != file.size() && length + 2 * last_piece - 1 != file.size() &&
            length + 3 * last_piece - 2 != file.size())
            CHECK_THROWS_AS(SentencePieceBpe::from_llama2c(ByteSpan(file.bytes()).first(length), "t.bin"), Error);
    ByteWriter huge;
    huge.put(int32_t{7});
    huge.put(uint32_t{0});
    huge.put(int32_t{-1});
    CHECK_THROWS_WITH_AS(SentencePieceBpe::from_llama2c(huge.bytes(), "t.bin"),
                         doctest::Contains("piece 0 has -1 bytes"), Error);
}
