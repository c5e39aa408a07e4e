// The tokenizers that are there on every vector there is: files of {"text", "ids", "decoded"} a line, and hashes
// of the ids of whole corpora.
#include "base/file.h"
#include "base/sha256.h"
#include "tests/data/folder.h"
#include "tokenizer/tokenizer.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <sstream>

using namespace templar;
using namespace templar::test;
using nlohmann::json;

namespace {

int check_vectors(const Tokenizer& tokenizer, const std::filesystem::path& path) {
    CAPTURE(path);
    int cases = 0;
    std::istringstream lines(read_text_file(path, 1 << 28));
    for (std::string line; std::getline(lines, line); ++cases) {
        const json vector = json::parse(line);
        const auto text = vector.at("text").get<std::string>();
        CAPTURE(text);
        const auto ids = vector.at("ids").get<std::vector<int32_t>>();
        CHECK(tokenizer.encode(text) == ids);
        // Not always the text: sentencepiece's U+2581 comes back as a space.
        CHECK(tokenizer.decode(ids) == vector.value("decoded", text));
        if (text.find("\u2581") == std::string::npos) CHECK(tokenizer.decode(ids) == text);
    }
    return cases;
}

// Of every file of vectors beside each other.
void check_all_vectors(const Tokenizer& tokenizer, std::string_view prefix) {
    int cases = 0;
    for (const auto& path : data_files("tokenizers/vectors", prefix, ".jsonl")) cases += check_vectors(tokenizer, path);
    CHECK(cases >= 372);
}

void check_files(const Tokenizer& tokenizer) {
    const json files = json::parse(read_text_file(data_folder() / "tokenizers/vectors/llama2_files.json", 1 << 24));
    CHECK(files.size() >= 5);
    for (const auto& [name, expected] : files.items()) {
        CAPTURE(name);
        const std::string text = read_text_file(data_folder() / name, 1 << 28);
        const std::vector<int32_t> ids = tokenizer.encode(text);
        CHECK(static_cast<int64_t>(ids.size()) == expected.at("n_tokens").get<int64_t>());
        ByteWriter bytes;
        for (const int32_t id : ids) bytes.put(static_cast<uint16_t>(id));
        CHECK(to_hex(sha256(bytes.bytes())) == expected.at("sha256_u16le").get<std::string>());
        CHECK(tokenizer.decode(ids) == text);

        std::vector<int32_t> in_parts;
        for (size_t begin = 0, end; begin < text.size(); begin = end) {
            end = tokenizer.cut(text, begin + 5000);
            const std::string part = text.substr(begin, end - begin);
            begin == 0 ? tokenizer.encode(part, in_parts) : tokenizer.encode_rest(part, in_parts);
        }
        CHECK(in_parts == ids);
    }
}

}  // namespace

TEST_CASE("Llama-2's tokenizer.model: every vector and whole files") {
    const auto tokenizer = load_tokenizer(data_folder() / "tokenizers/llama2/tokenizer.model");
    CHECK(tokenizer->vocab_size() == 32000);
    CHECK(tokenizer->begin_token() == 1);
    CHECK(tokenizer->end_token() == 2);
    check_all_vectors(*tokenizer, "llama2_");
    check_files(*tokenizer);

    const auto again = tokenizer_from_json(tokenizer->to_json(), "to_json");
    CHECK(again->to_json() == tokenizer->to_json());
    CHECK(again->begin_token() == 1);
    CHECK(again->end_token() == 2);
    check_all_vectors(*again, "llama2_");
    check_files(*again);
}

TEST_CASE("Llama-2's tokenizer as llama2.c has it: every vector and whole files") {
    const auto tokenizer = load_tokenizer(data_folder() / "tokenizers/llama2/tokenizer.bin");
    CHECK(tokenizer->vocab_size() == 32000);
    CHECK(tokenizer->begin_token() == 1);
    CHECK(tokenizer->end_token() == 2);
    check_all_vectors(*tokenizer, "llama2_");
    check_files(*tokenizer);
}

TEST_CASE("stories260K's tokenizer: its stories") {
    const auto tokenizer = load_tokenizer(data_folder() / "models/stories260K/tok512.bin");
    CHECK(tokenizer->vocab_size() == 512);
    CHECK(tokenizer->begin_token() == 1);
    // Stories, each after a begin token.
    const Bytes file = read_file(data_folder() / "reference/stories260K/tinystories_val_tokens.u16", 1 << 28);
    std::vector<int32_t> story;
    int stories = 0;
    const auto check = [&] {
        if (story.empty()) return;
        ++stories;
        CHECK(tokenizer->encode(tokenizer->decode(story)) == story);
        story.clear();
    };
    for (ByteReader reader(file, "tokens"); reader.remaining() > 0;) {
        const auto id = reader.get<uint16_t>();
        if (id == tokenizer->begin_token())
            check();
        else
            story.push_back(id);
    }
    CHECK(stories > 100);
}

TEST_CASE("GPT-2's pair of files: every vector") {
    const auto tokenizer = load_tokenizer(data_folder() / "tokenizers/gpt2");
    CHECK(tokenizer->vocab_size() == 50257);
    CHECK(tokenizer->end_token() == 50256);
    check_all_vectors(*tokenizer, "gpt2_");
    const auto again = tokenizer_from_json(tokenizer->to_json(), "to_json");
    CHECK(again->to_json() == tokenizer->to_json());
    check_all_vectors(*again, "gpt2_");
}

// Any folder tokenizers/NAME beside these, with tokenizers/vectors/NAME_*.jsonl. A normalisation may change the text.
TEST_CASE("every tokenizer in a folder of its own: its vectors") {
    for (const auto& folder : std::filesystem::directory_iterator(data_folder() / "tokenizers")) {
        const std::string name = folder.path().filename().string();
        if (!folder.is_directory() || name == "vectors") continue;
        CAPTURE(name);
        const auto tokenizer = load_tokenizer(folder.path());
        const auto again = tokenizer_from_json(tokenizer->to_json(), "to_json");
        for (const auto& path : data_files("tokenizers/vectors", name + "_", ".jsonl")) {
            std::istringstream lines(read_text_file(path, 1 << 28));
            for (std::string line; std::getline(lines, line);) {
                const json vector = json::parse(line);
                const auto text = vector.at("text").get<std::string>();
                CAPTURE(text);
                const auto ids = vector.at("ids").get<std::vector<int32_t>>();
                CHECK(tokenizer->encode(text) == ids);
                CHECK(again->encode(text) == ids);
                if (vector.contains("decoded")) CHECK(tokenizer->decode(ids) == vector["decoded"].get<std::string>());
            }
        }
    }
}
