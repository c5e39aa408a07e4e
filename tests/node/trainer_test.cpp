// Training on one machine: it learns, and an interruption changes no bit.
#include "sample.h"

#include "node/trainer.h"
#include "tokenizer/bpe.h"
#include "tokenizer/shards.h"

#include <doctest/doctest.h>

using namespace templar;

namespace {

struct Data {
    sample::TemporaryFolder folder;
    Manifest manifest;
    std::unique_ptr<Corpus> train, heldout;

    Data() {
        const std::string text = sample::text(200'000);
        const ByteLevelBpe tokenizer = train_bpe({text}, 300);
        manifest = write_shards(tokenizer, {text}, folder.path() / "data", {});
        train = std::make_unique<Corpus>(std::vector{folder.path() / "data" / "train_000000.bin"});
        heldout = std::make_unique<Corpus>(std::vector{folder.path() / "data" / "heldout_000000.bin"});
    }
};

TrainOptions small(const Data& data, const std::filesystem::path& folder, int64_t steps) {
    TrainOptions options;
    options.model = sample::run_description().model;
    options.seq = 32;
    options.micro_batch = 4;
    options.micro_batches = 2;
    options.steps = steps;
    options.checkpoint_steps = 7;
    options.eval_steps = 20;
    options.eval_sequences = 16;
    options.schedule = {.peak = 3e-3, .floor_share = 0.1, .warmup_steps = 5, .cosine_steps = 60};
    options.device.threads = 1;
    options.end_token = data.manifest.end_token;
    options.folder = folder;
    return options;
}

}  // namespace

TEST_CASE("training lowers the held-out loss, and goes on after an interruption with the same bits") {
    const Data data;
    const std::atomic<bool> never{false};
    double first = 0, last = 0;
    Trainer straight(small(data, data.folder.path() / "straight", 60), *data.train, *data.heldout);
    straight.run(never, [&](const TrainStep& step) {
        if (step.step == 20) first = step.heldout_loss;
        if (step.step == 60) last = step.heldout_loss;
    });
    CHECK(last < first - 0.3);

    // Stopped after step 12; then a process that died in between: nothing but the folder is left.
    std::atomic<bool> stop{false};
    {
        Trainer interrupted(small(data, data.folder.path() / "resumed", 60), *data.train, *data.heldout);
        interrupted.run(stop, [&](const TrainStep& step) { stop = step.step == 12; });
        CHECK(interrupted.step() == 12);
    }
    Trainer resumed(small(data, data.folder.path() / "resumed", 60), *data.train, *data.heldout);
    CHECK(resumed.step() == 12);
    resumed.run(never, [](const TrainStep&) {});
    CHECK(resumed.params() == straight.params());
}
