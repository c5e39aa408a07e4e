// The program generate as a user meets it.
#include "engine/model/llama.h"
#include "tests/node/sample.h"
#include "tokenizer/bpe.h"
#include "weights/huggingface.h"

#include <doctest/doctest.h>

#include <sys/wait.h>

#include <cstdlib>

using namespace templar;

namespace {

constexpr int64_t seq = 48;

struct Result {
    int code;
    std::string text, messages;  // standard output, standard error
};

// A model of random weights with a tokenizer of 300 tokens, and the command line's way to it.
struct Fixture {
    sample::TemporaryFolder folder;
    std::string model = (folder.path() / "model").string();

    explicit Fixture(int64_t vocab_size = 300) {
        const LlamaConfig config{.vocab_size = vocab_size,
                                 .hidden_size = 32,
                                 .intermediate_size = 64,
                                 .layers = 2,
                                 .heads = 4,
                                 .kv_heads = 2,
                                 .head_dim = 8};
        std::vector<float> params = genesis_weights(config, 1);
        for (float& weight : params) weight *= 20;  // so that something is likely
        export_huggingface(model, {.model = config, .seq = seq}, params, {.dtype = DType::f32});
        const std::string text = sample::text(30'000);
        train_bpe({text}, 300).save(folder.path() / "model" / "tokenizer.json");
    }
    Result generate(const std::string& arguments, const std::string& before = "") const {
        const std::string out = (folder.path() / "out").string(), err = (folder.path() / "err").string();
        const std::string command = before + TEMPLAR_BIN_DIR "/generate " + arguments + " >" + out + " 2>" + err;
        const int status = std::system(command.c_str());
        return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_text_file(out, 1 << 26),
                read_text_file(err, 1 << 26)};
    }
};

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("generate goes on from a prompt, by argument, file or pipe, the same for the same seed") {
    const Fixture f;
    const std::string base = f.model + " --threads 1 --tokens 12 --seed 5 ";
    const Result by_argument = f.generate(base + "--prompt 'the miner keeps'");
    CHECK(by_argument.code == 0);
    CHECK(by_argument.text.starts_with("the miner keeps"));
    CHECK(by_argument.text.ends_with("\n"));
    CHECK(contains(by_argument.messages, "generated: 12 tokens"));
    CHECK(contains(by_argument.messages, "tokens/s"));
    CHECK(contains(by_argument.messages, "as many as --tokens asks for"));
    CHECK(f.generate(base, "printf 'the miner keeps\\n' | ").text == by_argument.text);
    write_file(f.folder.path() / "prompt", as_bytes("the miner keeps\n"));
    const std::string by_file = "--prompt-file " + (f.folder.path() / "prompt").string();
    CHECK(f.generate(base + by_file).text == by_argument.text);
    CHECK(f.generate(base + "--prompt 'the miner keeps' --no-echo").text == by_argument.text.substr(15));
    CHECK(f.generate(f.model + " --threads 1 --tokens 12 --seed 6 --prompt 'the miner keeps'").text !=
          by_argument.text);
    // The second of two samples is that of the next seed.
    const Result two = f.generate(f.model + " --threads 1 --tokens 12 --seed 4 --samples 2 --prompt 'the miner keeps'");
    CHECK(two.text.ends_with("seed 5\n" + by_argument.text));
    // The most likely text depends on no seed.
    const std::string greedy = f.model + " --threads 1 --temperature 0 --tokens 12 --prompt x ";
    CHECK(f.generate(greedy + "--seed 1").text == f.generate(greedy + "--seed 2 --top-p 0.5").text);
}

TEST_CASE("generate says when the model's length ends a text, and refuses a prompt that is longer") {
    const Fixture f;
    const Result result = f.generate(f.model + " --threads 1 --tokens 1000 --temperature 2 --prompt ''");
    CHECK(result.code == 0);
    const bool ended = contains(result.messages, "the text is over");
    CHECK((ended || contains(result.messages, "the model's length is reached")));
    const Result none = f.generate(f.model, "head -c 4000 /dev/zero | tr '\\0' 'q' | ");
    CHECK(none.code == 3);
    CHECK(contains(none.messages, "sequences of 48"));
}

TEST_CASE("generate ends in one clear line where something is wrong") {
    const Fixture f, wide(2000);
    const auto refused = [&](const std::string& arguments, int code, const char* part, const std::string& before = "") {
        CAPTURE(arguments);
        const Result result = f.generate(arguments, before);
        CAPTURE(result.messages);
        CHECK(result.code == code);
        CHECK(contains(result.messages, part));
        CHECK(result.text.empty());
    };
    refused(f.model + "-not-there --prompt x", 3, "model-not-there");
    refused(wide.model + " --prompt x", 3, "the tokenizer has 300 tokens");
    refused(f.model + " --prompt x --tokenizer " + f.model + "/config.json", 3, "config.json");
    refused(f.model + " --prompt x --temperature -1", 2, "temperature");
    refused(f.model + " --prompt x --top-p 2", 2, "top-p");
    refused(f.model + " --prompt x --tokens 0", 2, "--tokens");
    refused(f.model + " --prompt x --bos", 3, "begin token");
    refused(f.model + " --prompt x --bos --no-bos", 2, "--no-bos");
    refused(f.model + " --prompt x --prompt-file y", 2, "--prompt");
    refused(f.model, 3, "UTF-8", "printf '\\377' | ");
    std::filesystem::remove(std::filesystem::path(f.model) / "tokenizer.json");
    refused(f.model + " --prompt x", 3, "--tokenizer");
}

TEST_CASE("generate stops at Ctrl-C, and when nobody reads any more") {
    const Fixture f;
    const std::string endless = f.model + " --threads 1 --prompt x --samples 1000000";
    CHECK(f.generate(endless, "timeout --preserve-status -s INT 3 ").code == 130);
    const std::string command = std::string(TEMPLAR_BIN_DIR) + "/generate " + endless + " 2>" +
                                (f.folder.path() / "err").string() + " | head -c 100 >/dev/null";
    CHECK(std::system(command.c_str()) == 0);  // returns: the program has ended too
    CHECK(contains(read_text_file(f.folder.path() / "err", 1 << 26), "reader has gone"));
}
