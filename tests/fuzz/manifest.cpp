// data/manifest.json: names that stay in the folder, counts that fit a file.
#include "tests/fuzz/target.h"
#include "tokenizer/shards.h"

using namespace templar;
using namespace templar::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const auto manifest = accepted([&] { return manifest_from_json(as_text({data, size}), "manifest"); });
    if (!manifest) return 0;
    const std::string text = manifest_to_json(*manifest);
    require(manifest_to_json(manifest_from_json(text, "again")) == text, "written and read as the same");
    for (const ShardInfo& shard : manifest->shards) {
        const std::filesystem::path path = std::filesystem::path("folder") / shard.file;
        require(path.lexically_normal() == path && path.parent_path() == "folder",
                "a shard is in its folder");
        require(shard_bytes(shard.tokens, manifest->vocab_size) > 1024, "a shard has a length");
    }
    return 0;
}
