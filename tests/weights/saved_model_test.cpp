#include "weights/saved_model.h"

#include "tests/weights/model_files.h"
#include "weights/checkpoint.h"
#include "weights/huggingface.h"

#include <limits>

using namespace templar;
using namespace templar::test;
namespace fs = std::filesystem;

TEST_CASE("saved model: a folder that training keeps") {
    const TemporaryFolder folder;
    const HuggingFaceConfig config{.model = small_model(true), .seq = 99, .end_token = 5};
    Checkpoint checkpoint;
    checkpoint.theta = random_values(static_cast<size_t>(parameter_count(config.model)));
    checkpoint.momentum.assign(2 * checkpoint.theta.size(), 1.0f);
    CHECK(has(refusal([&] { load_model(folder.path()); }), "expected a folder with config.json"));
    write_file(folder.path() / "config.json", as_bytes(config_to_json(config, DType::f32)));
    save_checkpoint(folder.path(), checkpoint);
    write_file(folder.path() / "tokenizer.json", as_bytes("{}"));
    const SavedModel model = load_model(folder.path());
    CHECK(model.config == config.model);
    CHECK(same_bits(model.params, checkpoint.theta));
    CHECK(model.seq == 99);
    CHECK(model.end_token == 5);
    CHECK(model.tokenizer == folder.path());

    // Damage where only the momentum lies is noticed too.
    const fs::path file = folder.path() / checkpoint_file;
    Bytes bytes = read_file(file, 1 << 20);
    bytes.back() ^= 1;
    write_file(file, bytes);
    CHECK(has(refusal([&] { load_model(folder.path()); }), "damaged"));
    write_file(folder.path() / "config.json", as_bytes(config_to_json({.model = small_model(false)}, DType::f32)));
    bytes.back() ^= 1;
    write_file(file, bytes);
    CHECK(has(refusal([&] { load_model(folder.path()); }), "it is of another model"));
}

TEST_CASE("saved model: a path that leads to none") {
    const TemporaryFolder folder;
    CHECK(has(refusal([&] { load_model(folder.path() / "no"); }), "does not exist"));
    CHECK(has(refusal([&] { load_model(folder.path()); }), "expected a folder with config.json"));
    write_file(folder.path() / "model.gguf", as_bytes("GGUF"));
    CHECK(has(refusal([&] { load_model(folder.path() / "model.gguf"); }), "or a llama2.c checkpoint"));
    write_file(folder.path() / "model.bin", as_bytes("x"));
    CHECK(has(refusal([&] { load_model(folder.path() / "model.bin"); }), "model.bin"));
}

TEST_CASE("saved model: the tokenizer must be the model's") {
    SavedModel model;
    model.config.vocab_size = 50304;
    check_vocabulary(model, 50304);
    check_vocabulary(model, 50257);  // GPT-2's, with rows added for a round size
    CHECK(has(refusal([&] { check_vocabulary(model, 50305); }),
              "the tokenizer has 50305 tokens, but the model's vocabulary 50304"));
    CHECK(has(refusal([&] { check_vocabulary(model, 32000); }), "do not belong together"));
    model.config.vocab_size = 512;
    check_vocabulary(model, 500);
    CHECK(has(refusal([&] { check_vocabulary(model, 257); }), "do not belong together"));
}

TEST_CASE("saved model: values that are no numbers are found") {
    SavedModel model;
    model.config = small_model(true);
    model.origin = "a model";
    model.params = random_values(static_cast<size_t>(parameter_count(model.config)));
    check_finite(model);
    const Parameter norm = llama_parameters(model.config).back();
    model.params.back() = std::numeric_limits<float>::quiet_NaN();
    model.params[static_cast<size_t>(norm.offset)] = -std::numeric_limits<float>::infinity();
    CHECK(refusal([&] { check_finite(model); }) ==
          "a model: tensor model.norm.weight: 2 of 24 values are infinite or no numbers");
}
