// export and import as a user meets them.
#include "base/temporary_folder.h"
#include "tests/weights/model_files.h"
#include "weights/huggingface.h"
#include "weights/saved_model.h"

#include <sys/wait.h>

#include <cstdlib>

using namespace templar;
using namespace templar::test;
namespace fs = std::filesystem;

namespace {

struct Result {
    int code;
    std::string output;
};

Result run(const std::string& line, const fs::path& folder) {
    const fs::path log = folder / "log";
    const int status = std::system(fmt::format("{}/{} >{} 2>&1", TEMPLAR_BIN_DIR, line, log.string()).c_str());
    return {WEXITSTATUS(status), read_text_file(log, 1 << 20)};
}

}  // namespace

TEST_CASE("export and import: there and back by the programs") {
    const TemporaryFolder folder;
    const std::string at = folder.path().string();
    const HuggingFaceConfig config{.model = small_model(true), .seq = 64};
    const std::vector<float> params = random_values(static_cast<size_t>(parameter_count(config.model)));
    export_huggingface(folder.path() / "model", config, params, {.dtype = DType::f32, .progress = {}});

    Result result = run(fmt::format("export {0}/model {0}/half --shard-bytes 9000", at), folder.path());
    CAPTURE(result.output);
    CHECK(result.code == 0);
    CHECK(has(result.output, "no tokenizer"));
    CHECK(fs::exists(folder.path() / "half/model.safetensors.index.json"));
    CHECK(run(fmt::format("import {0}/half {0}/whole", at), folder.path()).code == 0);
    CHECK(same_bits(load_model(folder.path() / "whole").params, load_model(folder.path() / "half").params));
    CHECK(run(fmt::format("export {0}/model {0}/same --dtype f32", at), folder.path()).code == 0);
    CHECK(same_bits(load_model(folder.path() / "same").params, params));

    // Nothing is written over, and what is wrong ends in one line.
    result = run(fmt::format("export {0}/model {0}/half", at), folder.path());
    CHECK(result.code == 2);
    CHECK(has(result.output, "is not an empty folder"));
    CHECK(run(fmt::format("export {0}/nothing {0}/new", at), folder.path()).code == 3);
    CHECK(run(fmt::format("export file://{0}/nothing {0}/new", at), folder.path()).code != 0);
    CHECK(run(fmt::format("import {0}/model {0}/log/new", at), folder.path()).code == 5);
    CHECK(!fs::exists(folder.path() / "new"));

    CHECK(has(run(fmt::format("import {0}/same", at), folder.path()).output, "nothing is wrong with it"));
    Bytes file = read_file(folder.path() / "same/model.safetensors", 1 << 20);
    std::fill(file.end() - 4, file.end(), uint8_t{0xff});
    write_file(folder.path() / "same/model.safetensors", file);
    result = run(fmt::format("import {0}/same", at), folder.path());
    CHECK(result.code == 3);
    CHECK(has(result.output, "model.norm.weight: 1 of 24 values are infinite or no numbers"));

    // A stranger's name that would command the terminal, and a path that the system refuses to look at.
    write_file(folder.path() / "same/model.safetensors", raw_safetensors({{"a", "I\x1b[2J\xc2\x9b", {1}, Bytes(4)}}));
    result = run(fmt::format("import {0}/same", at), folder.path());
    CHECK(result.code == 3);
    CHECK(has(result.output, "found I\\x1b[2J\xc2\\x9b"));
    fs::remove(folder.path() / "same/model.safetensors");
    fs::create_symlink("model.safetensors", folder.path() / "same/model.safetensors");
    result = run(fmt::format("import {0}/same", at), folder.path());
    CHECK(result.code == 5);
    CHECK(has(result.output, "symbolic links"));
}
