// Golden vectors of tokenizers: every tokenizer*.json in $VECTORS_DIR (default: tests/vectors).
#include "base/bytes.h"
#include "base/file.h"
#include "tokenizer/bpe.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <cstdlib>

using namespace templar;

TEST_CASE("tokenizer vectors") {
    const char* chosen = std::getenv("VECTORS_DIR");
    const std::filesystem::path folder = chosen ? chosen : TEMPLAR_SOURCE_DIR "/tests/vectors";
    int files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        const std::string name = entry.path().filename().string();
        if (!name.starts_with("tokenizer") || !name.ends_with(".json")) continue;
        CAPTURE(name);
        ++files;
        const auto vectors = nlohmann::json::parse(read_text_file(entry.path(), 1 << 28));
        REQUIRE(vectors.at("schema") == "templar.cpp tokenizer vectors, version 1");
        const ByteLevelBpe tokenizer = ByteLevelBpe::from_json(vectors.at("tokenizer").dump(), name);
        const ByteLevelBpe written = ByteLevelBpe::from_json(tokenizer.to_json(), "to_json");
        CHECK(vectors.at("cases").size() > 0);
        for (const auto& vector : vectors.at("cases")) {
            std::string text;
            if (vector.contains("text")) {
                text = vector.at("text").get<std::string>();
            } else {
                const auto hex = vector.at("hex").get<std::string>();
                text = as_text(from_hex(hex, hex.size() / 2, "hex"));
            }
            CAPTURE(vector.dump());
            const auto ids = tokenizer.encode(text);
            CHECK(ids == vector.at("ids").get<std::vector<int32_t>>());
            CHECK(written.encode(text) == ids);
            CHECK(tokenizer.decode(ids) == text);
        }
    }
    if (files == 0) MESSAGE("skipped: no tokenizer*.json in " << folder.string());
}
