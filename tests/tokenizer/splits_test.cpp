// The splits of Llama-3, Qwen2 and SmolLM, and what else their tokenizers do that GPT-2's does not.
#include "tokenizer/bpe.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <numeric>

using namespace templar;
using nlohmann::json;

namespace {

using Pieces = std::vector<std::string>;
using Cases = std::vector<Pieces>;

// Made by Hugging Face's tokenizers 0.23.3: pre_tokenize_str of Split(Regex(pattern), "isolated"), and of
// Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]).
const Cases llama3_cases{
    {"DON", "'T", " I", "'Ll", " we", "'VE", " '", "RE", "'d"},
    {"o", "'S", "ullivan", " '", "sſ", "'ſ", "x"},
    {"1", " ", "12", " ", "123", " ", "123", "4", " ", "123", "456", "7"},
    {"x", "12½", "Ⅷ٣"},
    {"a", "1", " ", "2", " ", " ", "3"},
    {"a", "\r\n\r\n", "b"},
    {"a", " \r\n  \n", " ", " b"},
    {"!?\r\n\n", "x"},
    {"end", ".", "  "},
    {"end", " \t\n"},
    {" ", " two", "  ", " three"},
    {"\t", "\tif", " (", "x", ")"},
    {"\n", " word"},
    {"Größe", " привет中文"},
    {"e", "\u0301a", "\u0300", " \u0301", "x"},
    {"a", "\u00a0b", "\u3000", "\u3000c"},
    {"\u2028", "7"},
    {"-word", " $", "5", " (", "a", ")"},
    {"!'", "s", " '", "x"},
    {"👍\U0001f3fd", "ok", " 👍"},
};
// Llama-3's, but that digits stand alone.
const Cases qwen2_cases = [] {
    Cases cases = llama3_cases;
    cases[2] = {"1", " ", "1", "2", " ", "1", "2", "3", " ", "1", "2",
                "3", "4", " ", "1", "2", "3", "4", "5", "6", "7"};
    cases[3] = {"x", "1", "2", "½", "Ⅷ", "٣"};
    return cases;
}();
const Cases single_digits_cases{
    {"DON", "'", "T", " I", "'", "Ll", " we", "'", "VE", " '", "RE", "'d"},
    {"o", "'", "Sullivan", " '", "sſ", "'", "ſx"},
    {"1", " ", "1", "2", " ", "1", "2", "3", " ", "1", "2", "3", "4", " ", "1", "2", "3", "4", "5", "6", "7"},
    {"x", "1", "2", "½", "Ⅷ", "٣"},
    {"a", "1", " ", "2", "  ", "3"},
    {"a", "\r\n\r", "\n", "b"},
    {"a", " \r\n  \n ", " b"},
    {"!?", "\r\n", "\n", "x"},
    {"end", ".", "  "},
    {"end", " \t\n"},
    {" ", " two", "  ", " three"},
    {"\t", "\t", "if", " (", "x", ")"},
    {"\n", " word"},
    {"Größe", " привет中文"},
    {"e", "\u0301", "a", "\u0300", " \u0301", "x"},
    {"a", "\u00a0", "b", "\u3000", "\u3000", "c"},
    {"\u2028", "7"},
    {"-", "word", " $", "5", " (", "a", ")"},
    {"!'", "s", " '", "x"},
    {"👍\U0001f3fd", "ok", " 👍"},
};

void check_splits(Split split, const Cases& cases) {
    for (const Pieces& expected : cases) {
        const std::string text = std::accumulate(expected.begin(), expected.end(), std::string());
        Pieces found;
        for (size_t begin = 0, end; begin < text.size(); begin = end) {
            end = pretoken_end(text, begin, split);
            REQUIRE(end > begin);
            found.push_back(text.substr(begin, end - begin));
        }
        CAPTURE(text);
        CHECK(found == expected);
    }
}

// A byte-level BPE of the 256 bytes, ab, bc, abcd and <|endoftext|>, with the merges of ab and bc; changed by `change`.
// Byte-level spelling of the printable ASCII characters is themselves.
template <class Change>
ByteLevelBpe changed(const Change& change) {
    std::vector<std::string> tokens;
    for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(static_cast<uint8_t>(byte)));
    for (const char* token : {"ab", "bc", "abcd", "<|endoftext|>"}) tokens.emplace_back(token);
    json file = json::parse(ByteLevelBpe(tokens, {{'a', 'b'}, {'b', 'c'}}, "<|endoftext|>").to_json());
    change(file);
    const ByteLevelBpe made = ByteLevelBpe::from_json(file.dump(), "t.json");
    CHECK(ByteLevelBpe::from_json(made.to_json(), "again").to_json() == made.to_json());
    return made;
}

void add_token(json& file, const char* content, int id) {
    file["added_tokens"].push_back({{"id", id},
                                    {"content", content},
                                    {"single_word", false},
                                    {"lstrip", false},
                                    {"rstrip", false},
                                    {"normalized", false},
                                    {"special", false}});
}

using Ids = std::vector<int32_t>;

}  // namespace

TEST_CASE("pre-tokens of Llama-3, Qwen2 and SmolLM") {
    check_splits(Split::llama3, llama3_cases);
    check_splits(Split::qwen2, qwen2_cases);
    check_splits(Split::single_digits, single_digits_cases);
}

// Hugging Face's library takes no such text: these are the splits of a symbol in the byte's place.
TEST_CASE("pre-tokens of Llama-3, Qwen2 and SmolLM: bytes that are not UTF-8 are symbols") {
    check_splits(Split::llama3, {{"a", "\xff\xfe\r\n\n", "1"}});
    for (const Split split : {Split::llama3, Split::qwen2}) {
        check_splits(split, {{"a", "\xff\xfe\n\n", "x"}, {"\xc3z"}, {" \x80!", "1"}, {"z", "\xe4\xb8"}});
        check_splits(split, {{"\xed\xa0\x80", "z"}});
    }
    check_splits(Split::single_digits, {{"a", "\xff\xfe", "\n", "\n", "x"}, {"\xc3", "z"}, {" \x80!", "1", "2"}});
}

TEST_CASE("ignore_merges: a pre-token that is a token is not made by merges") {
    const auto tokenizer = [](bool ignores) {
        return changed([&](json& file) { file["model"]["ignore_merges"] = ignores; });
    };
    const ByteLevelBpe merging = tokenizer(false), ignoring = tokenizer(true);
    CHECK(merging.encode("abcd") == Ids{256, 'c', 'd'});
    CHECK(ignoring.encode("abcd") == Ids{258});
    CHECK(ignoring.encode("abcd abcd!") == Ids{258, ' ', 256, 'c', 'd', '!'});  // only as a whole
    CHECK(ignoring.encode("bc") == Ids{257});
    const Ids forged = ignoring.encode("<|endoftext|>");
    CHECK(std::count(forged.begin(), forged.end(), ignoring.end_token()) == 0);
}

TEST_CASE("added tokens that are not special are looked for in a text, the leftmost and longest first") {
    const ByteLevelBpe tokenizer = changed([](json& file) {
        add_token(file, "<t>", 260);
        add_token(file, "<t>ab", 261);
        add_token(file, " <", 262);
    });
    CHECK(tokenizer.encode("ab<t>ab<t>a") == Ids{256, 261, 260, 'a'});
    CHECK(tokenizer.encode("a <t>") == Ids{'a', 262, 't', '>'});
    CHECK(tokenizer.encode("<t><t") == Ids{260, '<', 't'});
    CHECK(tokenizer.decode(tokenizer.encode("x<t>y <")) == "x<t>y <");
    const Ids forged = tokenizer.encode("<|endoftext|>");
    CHECK(std::count(forged.begin(), forged.end(), tokenizer.end_token()) == 0);
    CHECK(tokenizer.cut("ab ab ab", 1) == 8);  // one of them might reach over the cut
}
