#include "engine/model/llama.h"

#include "base/error.h"
#include "base/random.h"
#include "engine/optim/adamw.h"
#include "tests/distance.h"
#include "tests/engine/allocation_count.h"
#include "tests/cpu.h"
#include "tests/engine/small_model.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

using namespace templar;
using test::cpu, test::distance, test::flat, test::random_weights, test::small_config, test::values;

namespace {

struct Batch {
    std::vector<int32_t> tokens, labels;
    std::vector<float> losses;

    Batch(const LlamaConfig& config, int64_t rows, int64_t seq, const char* key)
        : losses(static_cast<size_t>(rows * seq)) {
        CounterRng rng(sha256(as_bytes(key)));
        const auto V = static_cast<uint64_t>(config.vocab_size);
        for (int64_t i = 0; i < rows * seq; ++i) {
            tokens.push_back(static_cast<int32_t>(rng.below(V)));
            labels.push_back(rng.below(5) == 0 ? Llama::ignore_label : static_cast<int32_t>(rng.below(V)));
        }
    }
    void take(const Llama::Pending& pending) { std::ranges::copy(pending.wait(), losses.begin()); }
    double sum() const { return std::accumulate(losses.begin(), losses.end(), 0.0); }
    // Of the labels that are not ignored.
    std::vector<Llama::Target> targets() const {
        std::vector<Llama::Target> all;
        for (size_t i = 0; i < labels.size(); ++i)
            if (labels[i] >= 0) all.push_back({static_cast<int32_t>(i), labels[i]});
        return all;
    }
};

std::vector<float> gradient(Llama& model, const std::vector<float>& params, Batch& batch,
                            float scale = 1.0f) {
    std::vector<float> grads(params.size());
    batch.take(model.forward_backward(flat(params), flat(grads), batch.tokens, batch.labels, scale));
    return grads;
}

}  // namespace

TEST_CASE("the 1.2B preset has the parameters and the cost that the design states") {
    const LlamaConfig config;
    CHECK(parameter_count(config) == 1'204'881'408);
    CHECK(flops_per_token(config, 2048, true) == doctest::Approx(7.24e9).epsilon(1e-3));
    CHECK(flops_per_token(config, 2048, false) == doctest::Approx(7.64e9).epsilon(1e-3));
}

TEST_CASE("parameters are packed in layout order") {
    const auto parameters = llama_parameters(small_config());
    int64_t offset = 0;
    for (const Parameter& parameter : parameters) {
        CHECK(parameter.offset == offset);
        offset += parameter.numel;
    }
    CHECK(offset == parameter_count(small_config()));
    CHECK(parameters.size() == 2 * 9 + 3);
    CHECK(parameters[1].name == "model.layers.0.self_attn.q_proj.weight");
    CHECK(parameters[2].shape == std::vector<int64_t>{16, 24});
    CHECK(parameters.back().name == "lm_head.weight");
    CHECK(llama_parameters(small_config(true)).back().name == "model.norm.weight");
}

TEST_CASE("impossible shapes are refused by the name of the field") {
    auto refused = [](auto change, const char* field) {
        LlamaConfig config = small_config();
        change(config);
        CHECK_THROWS_WITH_AS(check_config(config), doctest::Contains(field), Error);
        CHECK_THROWS_AS(llama_parameters(config), Error);
    };
    refused([](LlamaConfig& c) { c.vocab_size = 0; }, "vocab_size");
    refused([](LlamaConfig& c) { c.hidden_size = -4; }, "hidden_size");
    refused([](LlamaConfig& c) { c.intermediate_size = std::numeric_limits<int64_t>::max(); },
            "intermediate_size");
    refused([](LlamaConfig& c) { c.layers = 0; }, "num_hidden_layers");
    refused([](LlamaConfig& c) { c.kv_heads = 3; }, "num_key_value_heads");
    refused([](LlamaConfig& c) { c.head_dim = 7; }, "head_dim");
    refused([](LlamaConfig& c) { c.rms_norm_eps = -1; }, "rms_norm_eps");
    refused([](LlamaConfig& c) { c.rope_theta = std::nanf(""); }, "rope_theta");
    refused([](LlamaConfig& c) { c.hidden_size = c.intermediate_size = c.layers = 1 << 20; }, "parameters");

    CHECK_THROWS_AS(Llama(cpu(), small_config(), 0, 8, Pass::training), Error);
    CHECK_THROWS_AS(Llama(cpu(), small_config(), 1, int64_t{1} << 40, Pass::training), Error);
}

TEST_CASE("a batch that does not fit names the largest that does") {
    // 2^20 sequences of 2^20 tokens fit nowhere; the message must come before the memory is touched.
    try {
        Llama(cpu(), small_config(), 1 << 20, 1 << 20, Pass::training);
        FAIL("expected an error");
    } catch (const Error& error) {
        CHECK(error.code() == ExitCode::storage);
        const std::string text = error.what();
        CHECK((text.find("largest batch that fits is ") != text.npos ||
               text.find("not even one") != text.npos));
    }
    LlamaConfig wide = small_config();
    wide.intermediate_size = 1 << 20;  // more bytes than an int64_t can count
    CHECK_THROWS_WITH_AS(Llama::dry_run(wide, 1 << 20, 1 << 20, Pass::training),
                         doctest::Contains("smaller batch"), Error);
}

TEST_CASE("the plan is what is allocated, and inference needs less") {
    const LlamaConfig config = small_config();
    const Llama training(cpu(), config, 3, 10, Pass::training),
        inference(cpu(), config, 3, 10, Pass::inference);
    for (const Llama* model : {&training, &inference}) {
        int64_t sum = 0;
        for (const auto& entry : model->plan().activations) sum += entry.bytes;
        CHECK(sum == model->plan().activation_bytes);
        CHECK(model->allocated_bytes() == model->plan().activation_bytes);
        CHECK(model->plan().parameter_count == parameter_count(config));
    }
    CHECK(inference.allocated_bytes() < training.allocated_bytes() / 2);
    const std::string table = training.plan().table(3);
    for (const char* row :
         {"weights (f32)", "gradients (f32)", "qkv", "gate_up", "logits", "all activations", "in all"})
        CHECK(table.find(row) != table.npos);
    CHECK(inference.plan().table(3).find("gradients") == std::string::npos);
}

TEST_CASE("a step allocates nothing") {
    const LlamaConfig config = small_config();
    Llama model(cpu(2), config, 2, 12, Pass::training);
    const std::vector<float> params = random_weights(config, "weights");
    std::vector<float> grads(params.size()), logits(24 * 61);
    Batch batch(config, 2, 12, "batch");
    const std::vector<Llama::Target> all = batch.targets();
    auto step = [&] {
        batch.take(model.forward_backward(flat(params), flat(grads), batch.tokens, batch.labels, 1.0f));
        batch.take(model.losses(flat(params), batch.tokens, batch.labels));
        model.target_losses(flat(params), batch.tokens, 12, all).wait();
        model.logits(flat(params), batch.tokens, logits);
    };
    step();  // libraries below may set themselves up in their first call
    const int64_t before = allocation_count();
    step();
    CHECK(allocation_count() == before);
}

TEST_CASE("the gradient is the loss's slope") {
    for (const bool tied : {false, true}) {
        const LlamaConfig config = small_config(tied);
        Llama model(cpu(2), config, 2, 9, Pass::training);
        std::vector<float> params = random_weights(config, "weights");
        Batch batch(config, 2, 9, "batch");
        const std::vector<float> grads = gradient(model, params, batch);
        for (const Parameter& parameter : llama_parameters(config)) {
            // Along the tensor's own gradient, where the slope is its norm and far above the rounding of the
            // losses.
            const auto begin = static_cast<size_t>(parameter.offset),
                       end = begin + static_cast<size_t>(parameter.numel);
            double squares = 0;
            for (size_t i = begin; i < end; ++i) squares += double(grads[i]) * grads[i];
            const double norm = std::sqrt(squares), step = 2e-2 / norm;
            auto loss_at = [&](double distance) {
                std::vector<float> moved = params;
                for (size_t i = begin; i < end; ++i)
                    moved[i] += static_cast<float>(distance * grads[i] / norm);
                batch.take(model.losses(flat(moved), batch.tokens, batch.labels));
                return batch.sum();
            };
            INFO(parameter.name << (tied ? ", tied" : ""));
            CHECK((loss_at(step) - loss_at(-step)) / (2 * step) == doctest::Approx(norm).epsilon(3e-3));
        }
    }
}

TEST_CASE("micro-batches add up to one large batch, whose logits take several chunks") {
    const LlamaConfig config = small_config();
    constexpr int64_t seq = 200;
    Llama large(cpu(2), config, 6, seq, Pass::training);
    Llama small(cpu(2), config, 2, seq, Pass::training);
    const std::vector<float> params = random_weights(config, "weights");
    Batch batch(config, 6, seq, "batch");
    const std::vector<float> whole = gradient(large, params, batch, 0.5f);
    std::vector<float> parts(params.size()), losses(6 * seq), losses_only(6 * seq);
    for (size_t row = 0; row < 6; row += 2) {
        auto part = [row](auto& v) { return std::span(v).subspan(row * seq, 2 * seq); };
        const auto pending = small.forward_backward(flat(params), flat(parts), part(batch.tokens), part(batch.labels), 0.5f);
        std::ranges::copy(pending.wait(), part(losses).begin());
    }
    CHECK(distance(parts, whole) < 2e-6);
    CHECK(distance(losses, batch.losses) < 1e-6);
    std::ranges::copy(large.losses(flat(params), batch.tokens, batch.labels).wait(), losses_only.begin());
    CHECK(distance(losses_only, batch.losses) < 1e-6);
}

TEST_CASE("fewer rows than planned are the same as a smaller plan, bit for bit") {
    const LlamaConfig config = small_config();
    const std::vector<float> params = random_weights(config, "weights");
    Llama planned_for_5(cpu(2), config, 5, 10, Pass::training),
        planned_for_2(cpu(2), config, 2, 10, Pass::training);
    Batch first(config, 5, 10, "first"), batch(config, 2, 10, "batch");
    gradient(planned_for_5, params, first);  // leaves its values in the buffers
    const std::vector<float> a = gradient(planned_for_5, params, batch);
    const std::vector<float> losses = batch.losses;
    CHECK(a == gradient(planned_for_2, params, batch));
    CHECK(losses == batch.losses);
}

TEST_CASE("inference gives the training pass's losses, and the logits those losses") {
    const LlamaConfig config = small_config(true);
    const std::vector<float> params = random_weights(config, "weights");
    Llama training(cpu(2), config, 2, 10, Pass::training),
        inference(cpu(2), config, 2, 10, Pass::inference);
    Batch batch(config, 2, 10, "batch");
    gradient(training, params, batch);
    std::vector<float> losses(20), logits(20 * 61);
    std::ranges::copy(inference.losses(flat(params), batch.tokens, batch.labels).wait(), losses.begin());
    CHECK(distance(losses, batch.losses) < 1e-6);
    inference.logits(flat(params), batch.tokens, logits);
    for (size_t n = 0; n < 20; ++n) {
        double sum = 0;
        for (size_t v = 0; v < 61; ++v) sum += std::exp(double(logits[n * 61 + v]));
        const double loss =
            batch.labels[n] < 0 ? 0 : std::log(sum) - logits[n * 61 + static_cast<size_t>(batch.labels[n])];
        CHECK(losses[n] == doctest::Approx(loss).epsilon(1e-5));
    }
    std::vector<float> grads(params.size());
    CHECK_THROWS_WITH_AS(inference.forward_backward(flat(params), flat(grads), batch.tokens, batch.labels, 1),
                         doctest::Contains("inference"), Error);
}

TEST_CASE("targets have the losses of their labels at their positions, in any order") {
    const LlamaConfig config = small_config();
    const std::vector<float> params = random_weights(config, "weights");
    constexpr int64_t seq = 10, N = 2 * seq;
    for (const Pass pass : {Pass::inference, Pass::training}) {
        Llama model(cpu(2), config, 2, seq, pass);
        Batch batch(config, 2, seq, "batch");
        // Every position with three labels in turn, of which targets ask for some.
        std::vector<std::vector<float>> want;
        for (int32_t shift : {0, 1, 30}) {
            for (size_t i = 0; i < N; ++i) batch.labels[i] = (static_cast<int32_t>(i) * 7 + shift) % 61;
            batch.take(model.losses(flat(params), batch.tokens, batch.labels));
            want.push_back(batch.losses);
        }
        std::vector<Llama::Target> targets;
        std::vector<float> expected;
        const auto ask = [&](int32_t position, size_t kind) {
            targets.push_back({position, (position * 7 + (kind == 2 ? 30 : static_cast<int32_t>(kind))) % 61});
            expected.push_back(want[kind][static_cast<size_t>(position)]);
        };
        const auto check = [&] {
            const Llama::Pending pending = model.target_losses(flat(params), batch.tokens, seq, targets);
            REQUIRE(pending.wait().size() == targets.size());
            CHECK(pending.greedy().size() == targets.size());
            CHECK(distance(pending.wait(), expected) < 1e-6);
        };
        ask(13, 1);
        check();
        for (const size_t kind : {0, 1, 2}) ask(19, kind), ask(0, kind), ask(4, 2), ask(4, kind);
        check();
        while (std::ssize(targets) < N) ask(N - static_cast<int32_t>(targets.size()), targets.size() % 3);
        check();
    }
}

TEST_CASE("the probabilities of all labels at one position add up to one") {
    const LlamaConfig config = small_config();
    const std::vector<float> params = random_weights(config, "weights");
    Llama model(cpu(2), config, 8, 8, Pass::inference);
    const std::vector<int32_t> tokens{5, 9, 11};
    std::vector<Llama::Target> targets;
    for (int32_t label = 0; label < 61; ++label) targets.push_back({2, label});  // far more targets than tokens
    const Llama::Pending pending = model.target_losses(flat(params), tokens, 3, targets);
    double sum = 0;
    for (const float loss : pending.wait()) sum += std::exp(-double(loss));
    CHECK(sum == doctest::Approx(1).epsilon(1e-5));
    CHECK(std::ranges::count(pending.greedy(), 1) == 1);
}

TEST_CASE("short sequences have the losses that they have in a longer one") {
    const LlamaConfig config = small_config();
    const std::vector<float> params = random_weights(config, "weights");
    for (const Pass pass : {Pass::inference, Pass::training}) {
        constexpr int64_t seq = 10;
        Llama model(cpu(2), config, 2, seq, pass);
        Batch whole(config, 2, seq, "batch");
        whole.take(model.losses(flat(params), whole.tokens, whole.labels));
        for (const int64_t length : {1, 2, 3, 7, 10}) {
            CAPTURE(length);
            for (const int64_t rows : {int64_t{1}, 2 * seq / length}) {
                // The first tokens of the two sequences, in turn.
                std::vector<int32_t> tokens;
                std::vector<Llama::Target> targets;
                std::vector<float> want;
                for (int64_t i = 0; i < rows * length; ++i) {
                    const auto from = static_cast<size_t>(i / length % 2 * seq + i % length);
                    tokens.push_back(whole.tokens[from]);
                    if (whole.labels[from] < 0) continue;
                    targets.push_back({static_cast<int32_t>(i), whole.labels[from]});
                    want.push_back(whole.losses[from]);
                }
                CHECK(distance(model.target_losses(flat(params), tokens, length, targets).wait(), want) < 1e-6);
            }
        }
    }
}

TEST_CASE("targets and lengths that do not fit the batch are refused") {
    const LlamaConfig config = small_config();
    const std::vector<float> params = random_weights(config, "weights");
    Llama model(cpu(2), config, 2, 10, Pass::inference);
    const std::vector<int32_t> tokens(20, 3);
    const auto refused = [&](size_t count, int64_t length, std::vector<Llama::Target> targets, const char* why) {
        CAPTURE(why);
        CHECK_THROWS_WITH_AS(model.target_losses(flat(params), std::span(tokens).first(count), length, targets),
                             doctest::Contains(why), Error);
    };
    refused(20, 10, {{20, 1}}, "position 20, expected 0 to 19");
    refused(20, 10, {{0, 1}, {-1, 1}}, "position -1, expected 0 to 19");
    refused(3, 3, {{3, 1}}, "position 3, expected 0 to 2");  // there is room for it, but no token
    refused(20, 10, {{7, 61}}, "label 61, expected 0 to 60");
    refused(20, 10, {{7, Llama::ignore_label}}, "label -100, expected 0 to 60");
    refused(20, 10, {}, "0 targets: expected 1 to 20");
    refused(20, 10, std::vector<Llama::Target>(21, {0, 1}), "21 targets: expected 1 to 20");
    for (const int64_t length : {-1, 0, 11}) refused(20, length, {{0, 1}}, "expected 1 to 10");
    refused(20, 3, {{0, 1}}, "1 to 6 sequences of 3");
    refused(0, 10, {{0, 1}}, "0 tokens: expected");
    const std::vector<int32_t> many(21, 3);  // 7 sequences of 3, one more than there is room for
    CHECK_THROWS_WITH_AS(model.target_losses(flat(params), many, 3, std::vector<Llama::Target>{{0, 1}}),
                         doctest::Contains("1 to 6 sequences of 3"), Error);
    CHECK(model.target_losses(flat(params), tokens, 10, std::vector<Llama::Target>(20, {0, 1})).wait().size() == 20);
}

TEST_CASE("greedy says whether the target's label is the most likely token") {
    const LlamaConfig config = small_config();
    const std::vector<float> params = random_weights(config, "weights");
    Llama model(cpu(2), config, 2, 10, Pass::training);
    Batch batch(config, 2, 10, "batch");
    std::vector<float> logits(20 * 61);
    model.logits(flat(params), batch.tokens, logits);
    std::vector<Llama::Target> targets;
    for (int32_t n = 0; n < 20; ++n) {
        const auto row = std::span(logits).subspan(static_cast<size_t>(n) * 61, 61);
        const auto best = static_cast<int32_t>(std::ranges::max_element(row) - row.begin());
        targets.push_back({n, n % 3 == 0 ? best : (best + 1) % 61});
    }
    const Llama::Pending pending = model.target_losses(flat(params), batch.tokens, 10, targets);
    CHECK(pending.wait().size() == 20);
    const std::span<const uint8_t> greedy = pending.greedy();
    REQUIRE(greedy.size() == 20);
    for (size_t n = 0; n < 20; ++n) {
        CAPTURE(n);
        CHECK(greedy[n] == (n % 3 == 0));
    }
    const Llama::Pending dense = model.losses(flat(params), batch.tokens, batch.labels);
    CHECK(dense.wait().size() == 20);
    CHECK(dense.greedy().empty());
}

TEST_CASE("any number of threads gives the same bits") {
    const LlamaConfig config{.vocab_size = 300,
                             .hidden_size = 96,
                             .intermediate_size = 160,
                             .layers = 2,
                             .heads = 6,
                             .kv_heads = 3,
                             .head_dim = 16};
    const std::vector<float> params = random_weights(config, "weights");
    std::vector<std::vector<float>> grads, losses;
    for (const int threads : {1, 2, 3}) {
        Llama model(cpu(threads), config, 3, 37, Pass::training);
        Batch batch(config, 3, 37, "batch");
        grads.push_back(gradient(model, params, batch));
        losses.push_back(batch.losses);
    }
    CHECK(grads[1] == grads[0]);
    CHECK(grads[2] == grads[0]);
    CHECK(losses[1] == losses[0]);
    CHECK(losses[2] == losses[0]);
}

TEST_CASE("tokens and labels outside the vocabulary are refused before anything changes") {
    const LlamaConfig config = small_config();
    Llama model(cpu(), config, 2, 5, Pass::training);
    const std::vector<float> params = random_weights(config, "weights");
    std::vector<float> grads(params.size(), 7.0f);
    auto refused = [&](auto change) {
        Batch batch(config, 2, 5, "batch");
        change(batch);
        CHECK_THROWS_AS(model.forward_backward(flat(params), flat(grads), batch.tokens, batch.labels, 1),
                        Error);
        CHECK_THROWS_AS(model.losses(flat(params), batch.tokens, batch.labels), Error);
    };
    refused([](Batch& b) { b.tokens[9] = 61; });
    refused([](Batch& b) { b.tokens[0] = -1; });
    refused([](Batch& b) { b.tokens[3] = std::numeric_limits<int32_t>::min(); });
    refused([](Batch& b) { b.labels[9] = 61; });
    refused([](Batch& b) { b.labels[0] = std::numeric_limits<int32_t>::max(); });
    refused([](Batch& b) { b.tokens.pop_back(); });
    refused([](Batch& b) { b.labels.pop_back(); });
    refused([](Batch& b) { b.tokens.clear(), b.labels.clear(); });
    refused([](Batch& b) { b.tokens.resize(15), b.labels.resize(15); });
    CHECK(std::all_of(grads.begin(), grads.end(), [](float g) { return g == 7.0f; }));

    Batch batch(config, 2, 5, "batch");
    batch.labels[0] = std::numeric_limits<int32_t>::min();  // negative: ignored
    CHECK_NOTHROW(model.losses(flat(params), batch.tokens, batch.labels));
    CHECK(batch.losses[0] == 0.0f);
    const std::vector<float> short_params(params.size() - 1);
    CHECK_THROWS_AS(model.losses(flat(short_params), batch.tokens, batch.labels), Error);
}

TEST_CASE("a batch can be learnt by heart") {
    const LlamaConfig config = small_config();
    Llama model(cpu(2), config, 2, 12, Pass::training);
    std::vector<float> params = genesis_weights(config, 1);
    AdamW optimizer(cpu(2), llama_parameters(config), {.weight_decay = 0});
    Batch batch(config, 2, 12, "batch");
    // Distinct tokens, so that every target can be told from what came before.
    for (size_t i = 0; i < batch.tokens.size(); ++i) batch.tokens[i] = static_cast<int32_t>(i);
    const double counted = static_cast<double>(
        std::count_if(batch.labels.begin(), batch.labels.end(), [](int32_t l) { return l >= 0; }));
    double first = 0;
    for (int step = 0; step < 150; ++step) {
        const std::vector<float> grads = gradient(model, params, batch);
        if (step == 0) first = batch.sum() / counted;
        optimizer.step(flat(params), {}, flat(grads), 1e-2f, static_cast<float>(1 / counted));
    }
    CHECK(first == doctest::Approx(std::log(61.0)).epsilon(0.02));
    CHECK(batch.sum() / counted < 0.02);
}

TEST_CASE("genesis weights are normal, and a function of the seed alone") {
    const LlamaConfig config = small_config();
    const std::vector<float> a = genesis_weights(config, 5), b = genesis_weights(config, 6);
    CHECK(a == genesis_weights(config, 5));
    for (const Parameter& parameter : llama_parameters(config)) {
        const auto values =
            std::span(a).subspan(static_cast<size_t>(parameter.offset), static_cast<size_t>(parameter.numel));
        const auto others =
            std::span(b).subspan(static_cast<size_t>(parameter.offset), static_cast<size_t>(parameter.numel));
        if (parameter.shape.size() == 1) {
            CHECK(std::all_of(values.begin(), values.end(), [](float x) { return x == 1.0f; }));
            continue;
        }
        double sum = 0, squares = 0;
        int64_t equal = 0;
        for (size_t i = 0; i < values.size(); ++i) {
            sum += values[i], squares += double(values[i]) * values[i];
            equal += values[i] == others[i];
        }
        const double n = static_cast<double>(parameter.numel);
        INFO(parameter.name);
        CHECK(std::abs(sum / n) < 5 * 0.02 / std::sqrt(n));
        CHECK(std::sqrt(squares / n) == doctest::Approx(0.02).epsilon(5 / std::sqrt(2 * n)));
        CHECK(equal < 3);
    }
    // The first draw, so that a change of the generator's key or order is noticed.
    CounterRng rng(Sha256().update("genesis").update_le(uint64_t{5}).finish());
    CHECK(a[0] == static_cast<float>(0.02 * rng.normal()));
    CHECK(a[1] == static_cast<float>(0.02 * rng.normal()));
}
