// Training on one machine with AdamW, no network: the baseline.
#include "node/trainer.h"
#include "tokenizer/shards.h"
#include "tools/device_flags.h"
#include "tools/program.h"
#include "weights/presets.h"

#include <CLI/CLI.hpp>

#include <chrono>
#include <cmath>
#include <cstdio>

using namespace templar;

namespace {

struct TrainFlags {
    TrainOptions options;
    std::filesystem::path data;
    std::string preset = "demo";
    double learning_rate = 1e-3;
    int run();
};

int TrainFlags::run() {
    if (!std::filesystem::exists(data / "manifest.json"))
        fail(ExitCode::input, "{} has no manifest.json; make token shards with: tokenize encode --out {} …",
             data.string(), data.string());
    const Manifest manifest = manifest_from_json(read_text_file(data / "manifest.json", 16 << 20),
                                                 (data / "manifest.json").string());
    check_shards(manifest, data);
    std::vector<std::filesystem::path> train, heldout;
    for (const ShardInfo& shard : manifest.shards)
        (shard.split == "train" ? train : heldout).push_back(data / shard.file);
    const Corpus train_corpus(train), heldout_corpus(heldout);
    const Preset& shape = find_preset(preset);
    options.model = shape.model;
    options.model.vocab_size = manifest.vocab_size;
    if (options.seq == 0) options.seq = shape.seq;
    options.end_token = manifest.end_token;
    options.schedule = {.peak = learning_rate,
                        .floor_share = 0.1,
                        .warmup_steps = std::max<int64_t>(1, options.steps / 20),
                        .cosine_steps = std::max<int64_t>(1, options.steps - options.steps / 20)};
    Trainer trainer(options, train_corpus, heldout_corpus);
    std::fputs(trainer.plan().table(options.micro_batch).c_str(), stderr);
    if (trainer.step() > 0) std::fprintf(stderr, "train: going on after step %ld\n", trainer.step());

    const int64_t first = trainer.step();
    const auto started = std::chrono::steady_clock::now();
    trainer.run(stop_requested(), [&](const TrainStep& step) {
        const double seconds =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
        const double left =
            seconds / static_cast<double>(step.step - first) * static_cast<double>(options.steps - step.step);
        const std::string evaluated =
            std::isnan(step.heldout_loss) ? "" : fmt::format("   held-out {:.4f}", step.heldout_loss);
        fmt::print("step {:>6}/{}   loss {:.4f}   norm {:.3f}   {} tokens/s   {} left{}\n", step.step,
                   options.steps, step.loss, step.grad_norm, short_count(step.tokens_per_second),
                   short_duration(left), evaluated);
        std::fflush(stdout);
    });
    std::fprintf(stderr, "train: %ld steps done; checkpoint and events in %s\n", trainer.step(),
                 options.folder.c_str());
    return trainer.step() < options.steps ? static_cast<int>(ExitCode::interrupted) : 0;
}

}  // namespace

int main(int argc, char** argv) {
    return run_program(
        argc, argv, "train",
        "Trains a Llama model on this machine alone, with AdamW: the baseline that a swarm is compared "
        "with.\n\n"
        "  tokenize train --vocab-size 1024 --out tok.json book.txt\n"
        "  tokenize encode --tokenizer tok.json --out data book.txt\n"
        "  train --data data --folder my-model --steps 500\n\n"
        "Ctrl-C saves; the same command goes on where it was, to the bit.",
        [](CLI::App& app) {
            auto flags = std::make_shared<TrainFlags>();
            TrainOptions& options = flags->options;
            options.seq = 0;
            app.add_option("--data", flags->data, "folder of token shards with manifest.json (see tokenize)")
                ->required();
            app.add_option("--folder", options.folder, "checkpoint and events.jsonl")->required();
            app.add_option("--preset", flags->preset, "shape of the model: " + preset_names());
            app.add_option("--seq", options.seq, "tokens per sequence; 0: the preset's")
                ->check(CLI::Range(0, 1 << 20));
            app.add_option("--batch", options.micro_batch, "sequences per forward and backward")
                ->check(CLI::Range(1, 4096));
            app.add_option("--micro-batches", options.micro_batches, "of them per step")
                ->check(CLI::Range(1, 4096));
            app.add_option("--steps", options.steps, "length of the run")->check(CLI::Range(1, 100000000));
            app.add_option("--learning-rate", flags->learning_rate, "peak; 5 % warm-up, cosine to a tenth")
                ->check(CLI::Range(0.0, 10.0));
            app.add_option("--weight-decay", options.adamw.weight_decay, "on matrices")
                ->check(CLI::Range(0.0f, 10.0f));
            app.add_option("--clip", options.adamw.clip, "of the gradient's norm; 0: none")
                ->check(CLI::Range(0.0f, 1e6f));
            app.add_option("--eval-steps", options.eval_steps, "held-out loss every so many steps; 0: never")
                ->check(CLI::Range(0, 1000000));
            app.add_option("--checkpoint-steps", options.checkpoint_steps, "save every so many steps")
                ->check(CLI::Range(1, 1000000));
            app.add_option("--seed", options.seed, "of the weights and the order of the data");
            options.device.name = "auto";
            add_device_flags(app, options.device);
            return [flags] { return flags->run(); };
        });
}
