// Training on one machine: it learns, an interruption changes no bit, and a checkpoint is not continued as another run.
#include "sample.h"

#include "base/strict_json.h"
#include "node/train_report.h"
#include "node/train_setup.h"
#include "node/trainer.h"
#include "tests/cpu.h"
#include "tokenizer/bpe.h"
#include "tokenizer/shards.h"
#include "weights/checkpoint.h"
#include "weights/huggingface.h"
#include "weights/saved_model.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <fstream>

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
    // A file of the first `count` ids of the training data and nothing else.
    std::filesystem::path raw(int64_t count, int bytes) const {
        std::vector<int32_t> ids(static_cast<size_t>(count));
        train->read(0, ids);
        ByteWriter writer;
        for (int32_t id : ids)
            bytes == 2 ? writer.put(static_cast<uint16_t>(id)) : writer.put(static_cast<uint32_t>(id));
        const std::filesystem::path path = folder.path() / fmt::format("ids.u{}", 8 * bytes);
        write_file(path, writer.take());
        return path;
    }
};

TrainOptions small(const std::filesystem::path& folder, int64_t steps) {
    TrainOptions options;
    options.model = sample::run_description().model;
    options.seq = 32;
    options.micro_batch = 4;
    options.micro_batches = 2;
    options.steps = steps;
    options.checkpoint_steps = 7;
    options.eval_steps = 20;
    options.eval_sequences = 16;
    options.schedule = {.peak = 3e-3, .warmup_steps = 5, .decay_begin = 5, .decay_steps = 60};
    options.end_token = options.heldout_end_token = 299;
    options.folder = folder;
    return options;
}

const std::atomic<bool> never{false};

// Runs until `stop_after` steps are done (-1: to the end) and gives the weights then.
std::vector<float> train(const Data& data, const TrainOptions& options, int64_t stop_after = -1) {
    Trainer trainer(test::cpu(), options, *data.train, data.heldout.get());
    std::atomic<bool> stop{false};
    trainer.run(stop, [&](const TrainStep& step) { stop = step.step == stop_after; });
    return trainer.params();
}

std::string error_of(ExitCode code, const std::function<void()>& function) {
    try {
        function();
    } catch (const Error& error) {
        CHECK(error.code() == code);
        return error.what();
    }
    return "";
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

// Three steps with `before`, then an attempt to go on with `after`: what the error says, "" when there is none.
std::string resumed_with(const Data& data, const std::function<void(TrainOptions&)>& before,
                         const std::function<void(TrainOptions&)>& after) {
    const sample::TemporaryFolder folder;
    TrainOptions options = small(folder.path(), 6);
    before(options);
    train(data, options, 3);
    after(options);
    return error_of(ExitCode::usage, [&] { Trainer(test::cpu(), options, *data.train, data.heldout.get()); });
}

TrainRequest request(const Data& data, const std::filesystem::path& folder) {
    TrainRequest r;
    r.options.seq = 32;
    r.options.micro_batch = 4;
    r.options.steps = 5;
    r.options.folder = folder;
    r.data = data.folder.path() / "data";
    r.preset = "tiny";
    return r;
}

}  // namespace

TEST_CASE("training lowers the held-out loss") {
    const Data data;
    double before = 0, last = 0;
    Trainer trainer(test::cpu(), small(data.folder.path() / "run", 60), *data.train, data.heldout.get());
    trainer.run(never, [&](const TrainStep& step) {
        if (step.step == 0) before = step.heldout_loss;
        if (step.step == 60) last = step.heldout_loss;
    });
    CHECK(before == doctest::Approx(std::log(300)).epsilon(0.02));
    CHECK(last < before - 1);
}

TEST_CASE("a run that was stopped and resumed, several times, has the bits of one that was not") {
    const Data data;
    const std::function<void(TrainOptions&)> kinds[] = {
        [](TrainOptions&) {},
        [](TrainOptions& o) { o.optimizer = OptimizerKind::sgd, o.momentum = 0.9f, o.schedule.peak = 0.1; },
        [](TrainOptions& o) { o.optimizer = OptimizerKind::sgd, o.weight_decay = 0, o.clip = 0; },
        [](TrainOptions& o) { o.order = DataOrder::sequential, o.offset = 5, o.stride = 100, o.row_stride = 32; },
    };
    int number = 0;
    for (const auto& kind : kinds) {
        CAPTURE(number);
        TrainOptions straight = small(data.folder.path() / fmt::format("straight{}", number), 24);
        TrainOptions halting = small(data.folder.path() / fmt::format("halting{}", number++), 24);
        kind(straight), kind(halting);
        const std::vector<float> want = train(data, straight);
        for (const int64_t stop : {1, 7, 8, 23}) train(data, halting, stop);
        CHECK(train(data, halting) == want);
        const auto written = std::filesystem::last_write_time(halting.folder / checkpoint_file);
        CHECK(train(data, halting) == want);  // nothing left to do, nor to save
        CHECK(std::filesystem::last_write_time(halting.folder / checkpoint_file) == written);
        CHECK(load_checkpoint(halting.folder, std::ssize(want))->step == 24);
    }
}

TEST_CASE("a longer run goes on from a shorter one where the past is the same, to the bit") {
    const Data data;
    const auto wsd = [&](const char* name, int64_t steps) {
        TrainOptions options = small(data.folder.path() / name, steps);
        options.schedule = {
            .decline = Decline::wsd, .peak = 3e-3, .warmup_steps = 2, .decay_begin = steps - 4, .decay_steps = 4};
        return options;
    };
    train(data, wsd("extended", 12), 8);  // stopped before its decline
    TrainOptions longer = wsd("extended", 20);
    longer.eval_steps = 3, longer.checkpoint_steps = 2;  // no matter
    CHECK(train(data, longer) == train(data, wsd("long", 20)));

    train(data, wsd("declined", 12), 11);
    CHECK(contains(error_of(ExitCode::usage, [&] { train(data, wsd("declined", 20)); }), "--decay-steps"));
}

TEST_CASE("a run resumed with other options is refused, naming the option") {
    const Data data;
    const auto nothing = [](TrainOptions&) {};
    const auto sgd = [](TrainOptions& o) { o.optimizer = OptimizerKind::sgd; };
    CHECK(resumed_with(data, nothing, nothing) == "");
    struct Change {
        const char* flag;
        std::function<void(TrainOptions&)> make;
    };
    const Change changes[] = {
        {"--seed", [](TrainOptions& o) { o.seed = 43; }},
        {"--seq", [](TrainOptions& o) { o.seq = 16; }},
        {"--batch", [](TrainOptions& o) { o.micro_batch = 8, o.micro_batches = 1; }},
        {"--optimizer", sgd},
        {"--beta1", [](TrainOptions& o) { o.beta1 = 0.8f; }},
        {"--beta2", [](TrainOptions& o) { o.beta2 = 0.8f; }},
        {"--eps", [](TrainOptions& o) { o.eps = 1e-7f; }},
        {"--weight-decay", [](TrainOptions& o) { o.weight_decay = 0; }},
        {"--decay differs: \"matrices\" then, \"all\" now", [](TrainOptions& o) { o.decay_on = DecayOn::all; }},
        {"--clip differs: 1.0 then, 0.5 now", [](TrainOptions& o) { o.clip = 0.5f; }},
        {"--learning-rate", [](TrainOptions& o) { o.schedule.peak = 2e-3; }},
        {"--schedule", [](TrainOptions& o) { o.schedule = {.decline = Decline::constant}; }},
        {"--warmup-steps", [](TrainOptions& o) { o.schedule.warmup_steps = 4; }},
        {"--data, --tokens", [](TrainOptions& o) { o.data[0] = 1; }},
        {"--data, --tokens", [](TrainOptions& o) { o.order = DataOrder::sequential; }},
    };
    for (const Change& change : changes)
        CHECK_MESSAGE(contains(resumed_with(data, nothing, change.make), change.flag), change.flag);
    CHECK(contains(resumed_with(data, sgd, [](TrainOptions& o) { o.momentum = 0.5f; }), "--momentum"));
    // What the optimiser does not use may be anything.
    CHECK(resumed_with(data, nothing, [](TrainOptions& o) { o.momentum = 0.5f; }) == "");
    CHECK(resumed_with(data, sgd, [](TrainOptions& o) { o.beta1 = 0.5f; }) == "");
    // A cosine may become a longer one during the warm-up, when no rate has differed yet.
    CHECK(resumed_with(data, nothing, [](TrainOptions& o) { o.steps = 100, o.schedule.decay_steps = 95; }) == "");

    const sample::TemporaryFolder folder;
    const TrainOptions options = small(folder.path(), 6);
    Checkpoint bare;
    bare.theta.resize(static_cast<size_t>(parameter_count(options.model)));
    save_checkpoint(folder.path(), bare);
    CHECK(contains(error_of(ExitCode::input, [&] { train(data, options); }), "says nothing of the options"));
}

TEST_CASE("one program at a time trains in a folder") {
    const Data data;
    const TrainOptions options = small(data.folder.path() / "run", 6);
    {
        Trainer first(test::cpu(), options, *data.train, data.heldout.get());
        CHECK(
            contains(error_of(ExitCode::usage, [&] { Trainer(test::cpu(), options, *data.train, data.heldout.get()); }),
                     "another program uses the folder"));
    }
    Trainer after(test::cpu(), options, *data.train, data.heldout.get());
}

TEST_CASE("weights to begin with: taken as they are, another set is another run") {
    const Data data;
    TrainOptions options = small(data.folder.path() / "given", 0);
    const std::vector<float> given = genesis_weights(options.model, 7);
    const auto start = [&](std::vector<float> initial) {
        Trainer trainer(test::cpu(), options, *data.train, data.heldout.get(), std::move(initial));
        trainer.run(never, [](const TrainStep&) {});
        return trainer.params();
    };
    CHECK(start(given) == given);
    CHECK(start(given) == given);
    CHECK(contains(error_of(ExitCode::usage, [&] { start(genesis_weights(options.model, 8)); }), "--model"));
    CHECK(contains(error_of(ExitCode::usage, [&] { start({}); }), "--model"));
    options.folder = data.folder.path() / "short";
    CHECK(contains(error_of(ExitCode::input, [&] { start({1.0f}); }), "1 weights"));
}

TEST_CASE("train's folder is a model that train takes, with its tokenizer") {
    const Data data;
    TrainInputs first = prepare_training(request(data, data.folder.path() / "first"));
    Trainer trainer(test::cpu(), first.options, first.train, &*first.heldout, {});
    trainer.run(never, [](const TrainStep&) {});
    const SavedModel saved = load_model(data.folder.path() / "first");
    CHECK(saved.params == trainer.params());
    CHECK(saved.config == first.options.model);
    CHECK(load_tokenizer(saved.tokenizer)->vocab_size() == 300);

    TrainRequest again = request(data, data.folder.path() / "second");
    again.preset = "";
    again.model = data.folder.path() / "first";
    const TrainInputs second = prepare_training(again);
    CHECK(second.initial == saved.params);
    CHECK(second.options.model == saved.config);
    std::filesystem::create_directory(data.folder.path() / "others");
    write_file(data.folder.path() / "others/model.safetensors", {});
    again.options.folder = data.folder.path() / "others";
    CHECK(contains(error_of(ExitCode::usage, [&] { prepare_training(again); }), "holds a model already"));
    again.options.folder = again.model;
    CHECK(contains(error_of(ExitCode::usage, [&] { prepare_training(again); }), "--folder is --model"));
}

TEST_CASE("data of another vocabulary than the model's is refused") {
    const Data data;
    TrainInputs first = prepare_training(request(data, data.folder.path() / "model"));
    Trainer(test::cpu(), first.options, first.train, nullptr, {}).run(never, [](const TrainStep&) {});
    const auto encoded = [&](const std::string& text, int64_t size, const char* name) {
        write_shards(train_bpe({text}, size), {text}, data.folder.path() / name, {});
        TrainRequest r = request(data, data.folder.path() / "continued");
        r.preset = "";
        r.model = data.folder.path() / "model";
        r.data = data.folder.path() / name;
        return error_of(ExitCode::input, [&] { prepare_training(r); });
    };
    std::string other = sample::text(100'000);
    CHECK(contains(encoded(other, 310, "larger"), "310 tokens, the model's"));
    CHECK(contains(encoded(other, 299, "smaller"), "encode the data with the model's tokenizer"));
    for (char& c : other) c = c >= 'a' && c <= 'y' ? static_cast<char>(c + 1) : c;  // as many tokens, of other text
    CHECK(contains(encoded(other, 300, "rotated"), "differ in"));
    TrainRequest given = request(data, data.folder.path() / "given");
    given.tokenizer = data.folder.path() / "larger";
    CHECK(contains(error_of(ExitCode::input, [&] { prepare_training(given); }), "310 tokens, but the model's"));

    TrainRequest r = request(data, data.folder.path() / "raw");
    r.data = "";
    r.tokens = data.raw(1000, 4);
    r.token_bytes = 2;  // every second id would be 0: only the length could tell
    r.options.steps = 1;
    prepare_training(r);
    r.config = data.folder.path() / "config.json";
    r.preset = "";
    LlamaConfig narrow = sample::run_description().model;
    narrow.vocab_size = 100;
    write_file(r.config, as_bytes(config_to_json({.model = narrow}, DType::f32)));
    r.token_bytes = 4;
    CHECK(contains(error_of(ExitCode::input, [&] { prepare_training(r); }), "below the model's vocabulary of 100"));
}

TEST_CASE("raw tokens: each step reads where offset and strides say") {
    const Data data;
    const auto losses = [&](const TrainRequest& r) {
        TrainInputs inputs = prepare_training(r);
        std::filesystem::remove_all(inputs.options.folder);
        Trainer trainer(test::cpu(), inputs.options, inputs.train, nullptr, {});
        std::vector<double> result;
        trainer.run(never, [&](const TrainStep& step) { result.push_back(step.loss); });
        return result;
    };
    TrainRequest r = request(data, data.folder.path() / "run");
    r.data = "";
    r.tokens = data.raw(1000, 2);
    r.schedule = Decline::constant;
    r.learning_rate = 0;  // the same weights at every step
    r.options.offset = 10, r.stride = 50, r.row_stride = 3, r.options.steps = 4;
    const std::vector<double> strided = losses(r);
    REQUIRE(strided.size() == 4);
    CHECK(strided[0] != strided[1]);
    for (int64_t step = 0; step < 4; ++step) {
        r.options.offset = 10 + 50 * step, r.options.steps = 1;
        CHECK(losses(r)[0] == strided[static_cast<size_t>(step)]);
    }
    // The defaults: rows of seq + 1 tokens, side by side.
    r.options.offset = 0, r.stride = r.row_stride = std::nullopt, r.options.steps = 2;
    const std::vector<double> plain = losses(r);
    r.stride = 4 * 33, r.row_stride = 33;
    CHECK(losses(r) == plain);
    // The last window that fits, and one token more.
    r.options.offset = 1000 - 2 * 4 * 33;
    CHECK(losses(r).size() == 2);
    ++r.options.offset;
    CHECK(contains(error_of(ExitCode::input, [&] { losses(r); }), "read up to token 1001, but there are 1000"));
    // 4-byte ids say the same.
    r.options.offset = 0, r.tokens = data.raw(1000, 4), r.token_bytes = 4;
    CHECK(losses(r) == plain);
}

TEST_CASE("options that contradict each other are refused") {
    const Data data;
    const auto refused = [&](const std::function<void(TrainRequest&)>& change) {
        TrainRequest r = request(data, data.folder.path() / "run");
        change(r);
        return error_of(ExitCode::usage, [&] { prepare_training(r); });
    };
    CHECK(contains(refused([](TrainRequest& r) { r.tokens = r.data; }), "found both"));
    CHECK(contains(refused([](TrainRequest& r) { r.data = ""; }), "found neither"));
    CHECK(contains(refused([](TrainRequest& r) { r.options.offset = 1; }), "--offset"));
    CHECK(contains(refused([](TrainRequest& r) { r.model = "x"; }), "at most one of"));
    CHECK(contains(refused([](TrainRequest& r) { r.schedule = Decline::constant, r.decay_steps = 3; }), "never falls"));
    CHECK(contains(refused([](TrainRequest& r) { r.schedule = Decline::wsd, r.warmup_steps = 3, r.decay_steps = 3; }),
                   "more than the 5"));
    CHECK(contains(error_of(ExitCode::input,
                            [&] {
                                TrainRequest r = request(data, data.folder.path() / "run");
                                r.data = "", r.tokens = data.raw(3, 2), r.token_bytes = 4;
                                prepare_training(r);
                            }),
                   "found a file of 6 bytes"));
}

TEST_CASE("schedules that the command line leaves open: 5 % warm-up, the rest cosine, the last fifth of wsd") {
    TrainRequest r;
    r.options.steps = 200;
    r.learning_rate = 1e-3;
    CHECK(train_schedule(r) == TrainSchedule{.peak = 1e-3, .warmup_steps = 10, .decay_begin = 10, .decay_steps = 190});
    r.warmup_steps = 50;
    CHECK(train_schedule(r).decay_steps == 150);
    r.schedule = Decline::wsd;
    CHECK(train_schedule(r).decay_begin == 160);
    CHECK(train_schedule(r).decay_steps == 40);
    r.warmup_start = 0;
    r.floor = 0.5;
    CHECK(train_schedule(r).start_share == 0);
    CHECK(train_schedule(r).floor_share == 0.5);
}

TEST_CASE(
    "memory is asked for before it is taken: weights, gradients, moments and activations, with a batch that fits") {
    const Data data;
    TrainOptions options = small(data.folder.path() / "huge", 1);
    const MemoryPlan plan = training_plan(options, DType::f32);
    CHECK(plan.optimizer_bytes == 2 * plan.parameter_count * 4);
    CHECK(plan.fixed_bytes() == 4 * plan.parameter_count * 4);
    CHECK(contains(plan.table(4), "optimiser"));
    options.micro_batch = 1 << 20;
    const std::string error = error_of(ExitCode::storage, [&] { train(data, options); });
    CHECK(contains(error, "the largest batch that fits is"));
    CHECK(!std::filesystem::exists(options.folder));
}

TEST_CASE("metrics: a line for each step, nine digits, and report reads them") {
    const Data data;
    const std::filesystem::path folder = data.folder.path() / "run";
    std::vector<TrainStep> steps;
    {
        Trainer trainer(test::cpu(), small(folder, 24), *data.train, data.heldout.get());
        trainer.run(never, [&](const TrainStep& step) { steps.push_back(step); });
    }
    std::ifstream log(folder / "events.jsonl");
    size_t i = 0;
    for (std::string line; std::getline(log, line);) {
        const nlohmann::json event = nlohmann::json::parse(line);
        if (event.at("event") != "step") continue;
        const TrainStep& step = steps.at(i++);
        CHECK(event.at("step") == step.step);
        CHECK(event.at("tokens") == step.step * 8 * 32);
        if (step.step > 0) CHECK(event.at("loss").get<double>() == doctest::Approx(step.loss).epsilon(1e-8));
        CHECK(event.at("loss").dump().size() <= 11);  // nine digits and a point
        CHECK(event.at("heldout_loss").is_null() == (step.step != 0 && step.step != 20 && step.step != 24));
    }
    CHECK(i == 25);

    // A kill after step 24's line; then the last three steps again, with half a line between.
    std::ofstream(folder / "events.jsonl", std::ios::app) << R"({"event":"step","step":24,"loss":1.5,"t":1})"
                                                          << "\n"
                                                          << "nonsense\n"
                                                          << R"({"event":"step","step":2)";
    const auto report = read_training(folder);
    REQUIRE(report);
    CHECK(report->lines.size() == 25);
    CHECK(report->lines.back().loss == 1.5);
    CHECK(report->lines[3].loss == doctest::Approx(steps[3].loss).epsilon(1e-8));
    CHECK(report->lines[3].learning_rate == doctest::Approx(steps[3].learning_rate).epsilon(1e-8));
    CHECK(report->bad_lines == 1);
    CHECK(report->half_line);
    const nlohmann::json summary = nlohmann::json::parse(summary_json(*report));
    CHECK(summary.at("steps") == 24);
    CHECK(summary.at("heldout_loss_first").get<double>() == doctest::Approx(steps[0].heldout_loss).epsilon(1e-8));
    const std::string page = render_report(*report);
    for (const char* part : {"Held-out loss", "Learning rate", "Norm of the gradient", ">step<", "adamw"}) {
        CAPTURE(part);
        CHECK(contains(page, part));
    }
    CHECK(!contains(page, ">window<"));

    // Begun anew in the same folder: the first run's steps are not of this one.
    std::ofstream(folder / "events.jsonl", std::ios::app) << "\n";
    std::filesystem::remove(folder / checkpoint_file);
    Trainer anew(test::cpu(), small(folder, 5), *data.train, data.heldout.get());
    anew.run(never, [](const TrainStep&) {});
    CHECK(read_training(folder)->lines.size() == 6);
    CHECK(!read_training(data.folder.path()));
}
