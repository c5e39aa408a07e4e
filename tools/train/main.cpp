// Training on one machine, no network: the baseline, continued training, stated experiments.
#include "node/train_setup.h"
#include "node/trainer.h"
#include "tools/device_flags.h"
#include "tools/program.h"

#include <CLI/CLI.hpp>

#include <chrono>
#include <cmath>
#include <cstdio>

using namespace templar;

namespace {

constexpr const char* description =
    "Trains a Llama model on this machine alone: from nothing, or going on from a model that is there.\n\n"
    "A model of one's own, from a text:\n"
    "  tokenize train --vocab-size 1024 --out tok.json book.txt\n"
    "  tokenize encode --tokenizer tok.json --out data book.txt\n"
    "  train --data data --folder my-model --steps 500\n\n"
    "Continued training of a Hugging Face directory (or a llama2.c .bin, or a folder of train), on text encoded with "
    "its\n"
    "tokenizer; the result goes back with: export my-smollm out\n"
    "  tokenize encode --tokenizer smollm2-135m --out data book.txt\n"
    "  train --model smollm2-135m --data data --folder my-smollm --seq 512 --batch 4 --steps 200 --learning-rate "
    "1e-4\n\n"
    "A stated experiment: 20 steps of AdamW, step s on ids [516·s, 516·(s + 1)) of a file of 16-bit ids as 4 rows of "
    "129\n"
    "(128 inputs, and one more for the last target), constant rate, decay on every tensor:\n"
    "  train --model stories260K --tokens ids.u16 --token-bytes 2 --batch 4 --seq 128 --steps 20 --schedule constant\n"
    "        --learning-rate 1e-3 --beta1 0.9 --beta2 0.95 --eps 1e-8 --weight-decay 0.1 --decay all --clip 1 --folder "
    "out\n"
    "Held-out loss alone, over all windows of 512 tokens: --steps 0 --seq 512 --heldout-tokens ids.u16 "
    "--eval-sequences 0\n\n"
    "The folder gets config.json, tokenizer.json and checkpoint.safetensors, so eval, generate, export and --model "
    "take it,\n"
    "and events.jsonl with a line for each step: `report FOLDER` draws it. Ctrl-C saves; the same command goes on "
    "where it was,\n"
    "to the bit. With other options it is refused, unless they make no difference to the steps already done: --steps, "
    "the\n"
    "rest of the schedule, --eval-… and --checkpoint-steps may change.";

// An option whose value is one of these names.
template <class Enum>
void add_choice(CLI::App& app, const char* flag, Enum& value, const char* help,
                const std::vector<std::pair<std::string, Enum>>& names) {
    std::string all, now;
    for (const auto& [name, meaning] : names) {
        all += (all.empty() ? "" : "|") + name;
        if (meaning == value) now = name;
    }
    app.add_option(flag, value, help)
        ->transform(CLI::CheckedTransformer(names).description(""))
        ->type_name(all)
        ->default_str(now);
}

void add_data_flags(CLI::App& app, TrainRequest& r) {
    TrainOptions& o = r.options;
    app.add_option("--data", r.data, "folder of token shards with manifest.json (see tokenize); drawn from at random");
    app.add_option("--tokens", r.tokens, "instead: a file of nothing but little-endian ids, read in order");
    app.add_option("--token-bytes", r.token_bytes, "of an id in --tokens and --heldout-tokens: 2 or 4")
        ->check(CLI::IsMember({2, 4}));
    app.add_option("--offset", o.offset, "of --tokens: the id that the first step begins with")
        ->check(CLI::NonNegativeNumber);
    app.add_option("--stride", r.stride,
                   "of --tokens: ids from a step's first to the next step's; default: as many as a step has")
        ->check(CLI::PositiveNumber);
    app.add_option("--row-stride", r.row_stride,
                   "of --tokens: ids from a sequence's first to the next one's; default: seq + 1")
        ->check(CLI::PositiveNumber);
    app.add_option(
        "--heldout-tokens", r.heldout_tokens,
        "ids for the held-out loss: windows of seq from id 0, seq, 2·seq, … on; default: the shards' held-out part");
    app.add_option("--seq", o.seq, "tokens per sequence; 0: the preset's or the model's, at most 2048")
        ->check(CLI::Range(0, 1 << 20));
    app.add_option("--batch", o.micro_batch, "sequences per forward and backward")->check(CLI::Range(1, 4096));
    app.add_option("--micro-batches", o.micro_batches, "of them per step")->check(CLI::Range(1, 4096));
}

void add_model_flags(CLI::App& app, TrainRequest& r) {
    app.add_option(
        "--model", r.model,
        "go on from these weights: a Hugging Face directory, a folder of train, miner or validator, a llama2.c .bin");
    app.add_option("--preset", r.preset, "new weights of this shape (default: demo): " + preset_names());
    app.add_option("--config", r.config, "new weights of the shape in this config.json (Hugging Face's Llama)");
    app.add_option("--tokenizer", r.tokenizer, "to copy into the folder; default: the model's, or the data's");
    app.add_option("--seed", r.options.seed, "of new weights and the order of --data");
}

void add_optimizer_flags(CLI::App& app, TrainRequest& r) {
    TrainOptions& o = r.options;
    add_choice<OptimizerKind>(app, "--optimizer", o.optimizer, "sgd: as PyTorch's",
                              {{"adamw", OptimizerKind::adamw}, {"sgd", OptimizerKind::sgd}});
    app.add_option("--beta1", o.beta1, "of adamw")->check(CLI::Range(0.0f, 0.999999f));
    app.add_option("--beta2", o.beta2, "of adamw")->check(CLI::Range(0.0f, 0.999999f));
    app.add_option("--eps", o.eps, "of adamw")->check(CLI::Range(0.0f, 1.0f));
    app.add_option("--momentum", o.momentum, "of sgd; 0: none")->check(CLI::Range(0.0f, 1.0f));
    app.add_option("--weight-decay", r.weight_decay,
                   "adamw: decoupled, default 0.1; sgd: coupled (added to the gradient after clipping), default 0")
        ->check(CLI::Range(0.0, 10.0));
    add_choice<DecayOn>(app, "--decay", o.decay_on,
                        "on which tensors: matrices (embeddings too), all (norms too) or none",
                        {{"matrices", DecayOn::matrices}, {"all", DecayOn::all}, {"none", DecayOn::none}});
    app.add_option("--clip", o.clip, "of the gradient's global norm; 0: none")->check(CLI::Range(0.0f, 1e6f));
}

void add_schedule_flags(CLI::App& app, TrainRequest& r) {
    app.add_option("--learning-rate", r.learning_rate, "the highest")->check(CLI::Range(0.0, 10.0));
    add_choice<Decline>(app, "--schedule", r.schedule, "wsd: constant, then linear to the floor at the run's end",
                        {{"constant", Decline::constant}, {"cosine", Decline::cosine}, {"wsd", Decline::wsd}});
    app.add_option("--warmup-steps", r.warmup_steps,
                   "linear, from --warmup-start; default: 5 % of --steps, constant: 0")
        ->check(CLI::NonNegativeNumber);
    app.add_option("--warmup-start", r.warmup_start,
                   "rate of the first warm-up step, as a share of the highest; default: as --floor")
        ->check(CLI::Range(0.0, 1.0));
    app.add_option("--decay-steps", r.decay_steps,
                   "default: cosine: all after the warm-up; wsd: the last 20 % of --steps")
        ->check(CLI::PositiveNumber);
    app.add_option("--floor", r.floor, "where the rate ends, as a share of the highest")->check(CLI::Range(0.0, 1.0));
}

void print_step(const TrainStep& step, int64_t steps, double left) {
    const std::string evaluated =
        std::isnan(step.heldout_loss) ? "" : fmt::format("   held-out {:.4f}", step.heldout_loss);
    if (step.step == 0)
        fmt::print("before the first step{}\n", evaluated);
    else
        fmt::print("step {:>6}/{}   loss {:.4f}   norm {:.3f}   rate {:.2e}   {} tokens/s   {} left{}\n", step.step,
                   steps, step.loss, step.grad_norm, step.learning_rate, short_count(step.tokens_per_second),
                   short_duration(left), evaluated);
    std::fflush(stdout);
}

int train(const TrainRequest& request) {
    TrainInputs inputs = prepare_training(request);
    const TrainOptions& options = inputs.options;
    const std::unique_ptr<Device> device = open_training_device(options);
    std::fprintf(stderr, "train: %s; %s\n", options.origin.c_str(), device->description().c_str());
    std::fputs(training_plan(options, device->compute_type()).table(options.micro_batch).c_str(), stderr);
    Trainer trainer(*device, options, inputs.train, inputs.heldout ? &*inputs.heldout : nullptr,
                    std::move(inputs.initial));
    if (trainer.step() > 0) std::fprintf(stderr, "train: going on after step %ld\n", trainer.step());

    const int64_t first = trainer.step();
    const auto started = std::chrono::steady_clock::now();
    trainer.run(stop_requested(), [&](const TrainStep& step) {
        const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
        const auto done = static_cast<double>(std::max<int64_t>(step.step - first, 1));
        print_step(step, options.steps, seconds / done * static_cast<double>(options.steps - step.step));
    });
    std::fprintf(stderr, "train: %ld steps done; model, checkpoint and events.jsonl in %s\n", trainer.step(),
                 options.folder.c_str());
    return trainer.step() < options.steps ? static_cast<int>(ExitCode::interrupted) : 0;
}

}  // namespace

int main(int argc, char** argv) {
    return run_program(argc, argv, "train", description, [](CLI::App& app) {
        auto request = std::make_shared<TrainRequest>();
        TrainOptions& options = request->options;
        options.seq = 0;
        app.add_option("--folder", options.folder, "where the model, its checkpoint and events.jsonl go")->required();
        add_data_flags(app, *request);
        add_model_flags(app, *request);
        app.add_option("--steps", options.steps, "length of the run")->check(CLI::Range(0, 100000000));
        add_optimizer_flags(app, *request);
        add_schedule_flags(app, *request);
        app.add_option("--eval-steps", options.eval_steps, "held-out loss every so many steps; 0: never")
            ->check(CLI::Range(0, 1000000));
        app.add_option("--eval-sequences", options.eval_sequences, "spread over the held-out tokens; 0: all")
            ->check(CLI::Range(0, 1 << 30));
        app.add_option("--checkpoint-steps", options.checkpoint_steps, "save every so many steps, and at the end")
            ->check(CLI::Range(1, 1000000));
        options.device.name = "auto";
        add_device_flags(app, options.device);
        return [request] { return train(*request); };
    });
}
