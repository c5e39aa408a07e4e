// generate: text from a model, printed as it comes.
#include "base/file.h"
#include "eval/generate.h"
#include "eval/model_weights.h"
#include "tokenizer/utf8.h"
#include "tools/device_flags.h"
#include "tools/program.h"

#include <CLI/CLI.hpp>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <memory>

namespace templar {

namespace {

namespace fs = std::filesystem;

constexpr int64_t longest_prompt = int64_t{16} << 20;  // bytes

struct Options {
    fs::path model, tokenizer, prompt_file;
    std::string prompt;
    bool prompt_given = false;
    std::optional<bool> bos;
    bool echo = true;
    int64_t tokens = GenerateOptions().tokens, samples = 1;
    SamplerOptions sampler;
    DeviceChoice device;
};

std::string read_standard_input() {
    std::string text;
    char part[4096];
    while (const size_t count = std::fread(part, 1, sizeof part, stdin)) {
        text.append(part, count);
        if (static_cast<int64_t>(text.size()) > longest_prompt || stop_requested()) break;
    }
    return text;
}

std::string checked(std::string text, const std::string& what) {
    if (const size_t at = find_invalid_utf8(text); at != std::string::npos)
        fail(ExitCode::input, "{}: byte {} is not part of UTF-8 text", what, at);
    return text;
}

// A file's last newline is how files end, not part of the prompt.
std::string prompt_of(const Options& options) {
    if (options.prompt_given) return checked(options.prompt, "--prompt");
    const bool from_file = !options.prompt_file.empty();
    if (!from_file && isatty(STDIN_FILENO)) return "";
    std::string text = from_file ? read_text_file(options.prompt_file, longest_prompt) : read_standard_input();
    const std::string what = from_file ? options.prompt_file.string() : "standard input";
    if (static_cast<int64_t>(text.size()) > longest_prompt)
        fail(ExitCode::input, "{}: a prompt of more than 16 MiB", what);
    if (text.ends_with('\n')) text.pop_back();
    if (text.ends_with('\r')) text.pop_back();
    return checked(text, what);
}

std::unique_ptr<Tokenizer> tokenizer_of(const Options& options, const SavedModel& model) {
    if (!options.tokenizer.empty()) return load_tokenizer(options.tokenizer);
    if (model.tokenizer.empty())
        fail(ExitCode::input, "no tokenizer lies beside {}: name one with --tokenizer", options.model.string());
    return load_tokenizer(model.tokenizer);
}

// Text to standard output, at once.
class Output {
  public:
    void add(std::string_view bytes) { print(characters_.add(bytes)); }
    void finish() { print(characters_.finish()); }
    void print(std::string_view text) {
        if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
            fail(ExitCode::storage, "cannot write the text to standard output: disk full, or its reader has gone");
    }

  private:
    CharacterStream characters_{isatty(STDOUT_FILENO) ? CharacterStream::Controls::replace
                                                      : CharacterStream::Controls::keep};
};

double seconds_now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string rate(int64_t tokens, double seconds) {
    return fmt::format("{} tokens in {:.2f} s, {:.4g} tokens/s", tokens, seconds,
                       seconds > 0 ? static_cast<double>(tokens) / seconds : 0.0);
}

const char* reason(Stopped stopped) {
    switch (stopped) {
        case Stopped::end:
            return "the text is over";
        case Stopped::tokens:
            return "as many as --tokens asks for";
        case Stopped::length:
            return "the model's length is reached";
        case Stopped::asked:
            return "interrupted";
    }
    return "";
}

// The logits after the prompt; none: interrupted.
std::vector<float> read_prompt(Decoder& decoder, Tensor weights, const std::vector<int32_t>& tokens) {
    Progress progress("reading the prompt", "tokens", static_cast<double>(tokens.size()));
    const auto logits = feed_prompt(decoder, weights, tokens, [&](int64_t fed) {
        progress.update(static_cast<double>(fed));
        return !stop_requested();
    });
    if (!logits.empty() && std::ssize(tokens) > Decoder::most_at_once)
        progress.update(static_cast<double>(tokens.size()));
    return {logits.begin(), logits.end()};
}

int run(const Options& options) {
    Sampler check_options(options.sampler);  // a wrong option is said before anything is loaded
    const std::string prompt = prompt_of(options);
    SavedModel model = load_model(options.model);
    const auto tokenizer = tokenizer_of(options, model);
    check_vocabulary(model, tokenizer->vocab_size());
    const std::vector<int32_t> tokens = prompt_tokens(model, *tokenizer, prompt, options.bos);
    const int64_t count = std::ssize(tokens);
    if (count > model.seq)
        fail(ExitCode::input, "the prompt has {} tokens, the model was trained for sequences of {}", count, model.seq);
    if (stop_requested()) return static_cast<int>(ExitCode::interrupted);

    const auto device = open_device(options.device);
    const ModelWeights weights(*device, std::move(model.params));
    // The last token that is generated is not fed.
    Decoder decoder(*device, model.config, std::min(model.seq, count + std::max<int64_t>(options.tokens - 1, 1)));

    double started = seconds_now();
    const std::vector<float> logits = read_prompt(decoder, weights.tensor(), tokens);
    if (logits.empty()) {
        Output output;
        if (options.echo) output.add(prompt);
        output.finish();
        output.print("\n");
        fmt::print(stderr, "prompt: {} (interrupted)\n", rate(decoder.length(), seconds_now() - started));
        return static_cast<int>(ExitCode::interrupted);
    }
    fmt::print(stderr, "prompt: {}\n", rate(count, seconds_now() - started));

    const GenerateOptions how{options.tokens, tokenizer->vocab_size(), stop_tokens(model, *tokenizer)};
    for (int64_t sample = 0; sample < options.samples; ++sample) {
        SamplerOptions choice = options.sampler;
        choice.seed += static_cast<uint64_t>(sample);
        Sampler sampler(choice);
        decoder.rewind(count);
        Output output;
        if (options.samples > 1) output.print(fmt::format("=== sample {}, seed {}\n", sample + 1, choice.seed));
        if (options.echo) output.add(prompt);
        const bool text_has_begun = !prompt.empty();
        int64_t made = 0;
        started = seconds_now();
        const Stopped stopped = generate(decoder, weights.tensor(), sampler, logits, how, [&](int32_t token) {
            output.add(made++ > 0 || text_has_begun ? tokenizer->token_text(token) : tokenizer->decode({token}));
            return !stop_requested();
        });
        const double seconds = seconds_now() - started;
        output.finish();
        output.print("\n");
        fmt::print(stderr, "generated: {} ({})\n", rate(made, seconds), reason(stopped));
        if (stopped == Stopped::asked) return static_cast<int>(ExitCode::interrupted);
    }
    return 0;
}

std::function<int()> define(CLI::App& app) {
    const auto options = std::make_shared<Options>();
    app.add_option("model", options->model,
                   "a Hugging Face directory, the folder of train, miner or validator, or a llama2.c .bin file")
        ->required()
        ->type_name("MODEL");
    CLI::Option* const prompt = app.add_option_function<std::string>(
        "--prompt",
        [options](const std::string& text) {
            options->prompt = text;
            options->prompt_given = true;
        },
        "the text to go on from; without it and --prompt-file standard input is read, unless that is a terminal: then "
        "a "
        "document is begun");
    app.add_option("--prompt-file", options->prompt_file, "a file with the prompt; its last newline is left out")
        ->excludes(prompt);
    app.add_option("--tokens", options->tokens, "at most; fewer where the text or the model's length ends")
        ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
    app.add_option("--temperature", options->sampler.temperature,
                   "0: always the most likely token; 1: as the model says; above: more surprising");
    app.add_option("--top-k", options->sampler.top_k, "choose among the k most likely tokens; 0: all");
    app.add_option("--top-p", options->sampler.top_p,
                   "choose among the most likely tokens that together have this probability");
    app.add_option("--seed", options->sampler.seed, "the same seed gives the same text (on one kind of device)");
    app.add_option("--samples", options->samples, "texts, with seeds that follow on each other")
        ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
    app.add_option(
        "--tokenizer", options->tokenizer,
        "tokenizer.json, tokenizer.model, a llama2.c tokenizer or a folder with one; if not the model's own");
    app.add_flag_callback(
        "--bos", [options] { options->bos = true; }, "put the begin token before the prompt");
    app.add_flag_callback(
           "--no-bos", [options] { options->bos = false; },
           "do not (else: where the tokenizer or the model has one that is not its end token too)")
        ->excludes("--bos");
    app.add_flag_callback(
        "--no-echo", [options] { options->echo = false; }, "print what is new, without the prompt");
    add_device_flags(app, options->device);
    return [options] { return run(*options); };
}

}  // namespace

}  // namespace templar

int main(int argc, char** argv) {
    return templar::run_program(
        argc, argv, "generate",
        "Writes text with a model, token by token.\n\n"
        "  generate my-model --prompt \"Once upon a time\"\n"
        "  generate my-model --prompt \"Once upon a time\" --temperature 0.8 --top-p 0.9 --seed 7 --samples 3\n"
        "  generate stories15M.bin --tokenizer tokenizer.bin --temperature 0 < beginning.txt > story.txt\n\n"
        "The text goes to standard output as it comes, in whole characters; on a terminal control characters other "
        "than\n"
        "newline and tab are shown as \xef\xbf\xbd. How many tokens per second, and why the text ended, go to standard "
        "error.",
        templar::define, templar::Work::answers);
}
