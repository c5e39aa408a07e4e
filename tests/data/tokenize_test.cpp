// Whole corpora through the pipeline that makes token files: encoded in parts on several threads, they are what they
// are as one string.
#include "base/file.h"
#include "base/temporary_folder.h"
#include "tests/data/folder.h"
#include "tokenizer/shards.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

using namespace templar;
using templar::test::data_folder;

TEST_CASE("corpora encoded in parts have the stored hashes") {
    const auto tokenizer = load_tokenizer(data_folder() / "tokenizers/llama2/tokenizer.model");
    const auto expected =
        nlohmann::json::parse(read_text_file(data_folder() / "tokenizers/vectors/llama2_files.json", 1 << 20));
    for (const auto& [name, file] : expected.items()) {
        CAPTURE(name);
        const std::string text = read_text_file(data_folder() / name, 1 << 30);
        const TemporaryFolder folder;
        ShardOptions options{.heldout_share = 0, .raw = true};
        options.encode.separator = Separator::none;
        options.encode.threads = 3;
        options.blocks.block_bytes = 10'007;
        write_shards(*tokenizer, {text}, folder.path(), options);
        const Bytes tokens = read_file(folder.path() / "train.u16", 1 << 30);
        CHECK(to_hex(sha256(tokens)) == file.at("sha256_u16le"));
        CHECK(tokens.size() / 2 == file.at("n_tokens").get<size_t>());
    }
}
