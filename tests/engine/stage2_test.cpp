#include "engine/gauntlet/stage2.h"

#include "base/error.h"
#include "base/temporary_folder.h"
#include "engine/optim/demo.h"
#include "tests/cpu.h"

#include <doctest/doctest.h>

#include <cmath>

using namespace templar;
using test::cpu, test::flat, test::values;

namespace {

constexpr int32_t vocabulary = 40, end_token = 39;
constexpr PageShape shape{.page_sequences = 4, .seq = 16};
constexpr int64_t pages = 8;

// A corpus of 8 pages: in the first four a token's successor is 5·t + 3, in the others
// 7·t + 1, modulo 39; every 20th token ends a document.
class TestCorpus {
  public:
    TestCorpus() {
        ByteWriter writer;
        writer.put<int32_t>(20240520);
        writer.put<int32_t>(1);
        writer.put(static_cast<int32_t>(pages * shape.tokens() + 1));
        writer.put_zeros(253 * 4);
        int32_t token = 1;
        for (int64_t i = 0; i <= pages * shape.tokens(); ++i) {
            token = (i < pages / 2 * shape.tokens() ? 5 * token + 3 : 7 * token + 1) % end_token;
            writer.put(static_cast<uint16_t>(i % 20 == 19 ? end_token : token));
        }
        const std::filesystem::path path = folder_.path() / "corpus.bin";
        write_file(path, writer.bytes());
        corpus_ = std::make_unique<Corpus>(std::vector{path});
    }
    const Corpus& operator*() const { return *corpus_; }

  private:
    TemporaryFolder folder_;
    std::unique_ptr<Corpus> corpus_;
};

const LlamaConfig config{.vocab_size = vocabulary,
                         .hidden_size = 32,
                         .intermediate_size = 64,
                         .layers = 1,
                         .heads = 2,
                         .kv_heads = 1,
                         .head_dim = 16};
constexpr float step = 2e-3f;

std::vector<SequenceId> sequences_of(std::initializer_list<int64_t> chosen) {
    std::vector<SequenceId> sequences;
    for (int64_t page : chosen)
        for (int64_t s = 0; s < shape.page_sequences; ++s) sequences.push_back({page, s});
    return sequences;
}

// The gradient of the mean loss over some sequences.
std::vector<float> gradient(const Corpus& corpus, Tensor theta, std::span<const SequenceId> sequences) {
    Llama model(cpu(2), config, 1, shape.seq, Pass::training);
    std::vector<float> grads(static_cast<size_t>(theta.numel()));
    std::vector<int32_t> tokens(shape.seq), labels(shape.seq);
    float counted = 0;
    for (const SequenceId& id : sequences) {
        read_sequence(corpus, shape, id.page, id.sequence, end_token, tokens, labels);
        for (int32_t label : labels) counted += label >= 0;
        model.forward_backward(theta, flat(grads), tokens, labels, 1.0f);
    }
    for (float& grad : grads) grad /= counted;
    return grads;
}

struct Fixture {
    TestCorpus corpus;
    Layout layout = make_layout(llama_parameters(config), Codec{.k = 32, .chunk_edge = 32});
    Replica replica{cpu(2), layout, genesis_weights(config, 3)};
    Llama model{cpu(2), config, 3, shape.seq, Pass::inference};  // 3: the last batch of 8 sequences is not full
    MeanLoss mean_loss{model, *corpus, shape, end_token};
    DeviceArray candidate{cpu(2), DType::f32, parameter_count(config)};
    Stage2 stage2{mean_loss, candidate.tensor()};

    Bytes payload_of(const std::vector<float>& grads, float scale = 1.0f) {
        Bytes payload(static_cast<size_t>(layout.payload_bytes));
        Demo(cpu(2), layout, 0.999f).step(flat(grads), 1e-3f, scale, payload);
        REQUIRE(payload_fault(layout, payload) == "");
        return payload;
    }
};

}  // namespace

TEST_CASE("stage 2: an honest payload improves its own pages most, and nothing else changes") {
    Fixture f;
    const auto own = sequences_of({0, 1}), other = sequences_of({5, 6});
    const std::vector<float> grads = gradient(*f.corpus, f.replica.theta(), own);
    const Bytes honest = f.payload_of(grads), reversed = f.payload_of(grads, -1.0f);
    const std::vector<float> theta = f.replica.host_theta();
    const Digest root = f.replica.root();

    const double other_before = f.mean_loss(flat(theta), other);
    const Evaluation good = f.stage2.evaluate(f.replica, honest, step, own, other, other_before);
    CHECK(good.own_before == doctest::Approx(std::log(40.0)).epsilon(0.05));
    CHECK(good.random_before == other_before);
    CHECK(good.own_improvement() > 0.01);
    CHECK(good.own_improvement() > good.random_improvement());
    const Evaluation bad = f.stage2.evaluate(f.replica, reversed, step, own, other, other_before);
    CHECK(bad.own_improvement() < -0.01);

    CHECK(theta == f.replica.host_theta());
    CHECK(f.replica.root() == root);
    const Evaluation again = f.stage2.evaluate(f.replica, honest, step, own, other, other_before);
    CHECK(again.own_before == good.own_before);
    CHECK(again.own_after == good.own_after);
    CHECK(again.random_after == good.random_after);
}

TEST_CASE("stage 2: the first-order screen predicts the fall of the loss for a small step") {
    Fixture f;
    const auto own = sequences_of({0, 1});
    const std::vector<float> grads = gradient(*f.corpus, f.replica.theta(), own);
    const Bytes payload = f.payload_of(grads);
    const float small = 5e-5f;
    const std::span<const uint8_t> bytes = payload;
    const double predicted = first_order_screen(cpu(2), f.layout, flat(grads), {&bytes, 1}, small).front();
    std::vector<float> candidate(grads.size());
    f.replica.candidate(flat(candidate), payload, small);
    const double fall = f.mean_loss(f.replica.theta(), own) - f.mean_loss(flat(candidate), own);
    CHECK(fall > 0);
    CHECK(predicted == doctest::Approx(fall).epsilon(0.05));
    CHECK_THROWS_AS(first_order_screen(cpu(), f.layout, flat(grads).view(0, {9}), {&bytes, 1}, small), Error);
    const std::span<const uint8_t> brief = bytes.first(9);
    CHECK_THROWS_AS(first_order_screen(cpu(), f.layout, flat(grads), {&brief, 1}, small), Error);
}

TEST_CASE("stage 2: the mean loss counts targets, not end tokens, whatever the batch") {
    Fixture f;
    const auto sequences = sequences_of({2, 7});
    Llama single(cpu(), config, 1, shape.seq, Pass::inference);
    double sum = 0, counted = 0;
    for (const SequenceId& id : sequences) {
        std::vector<int32_t> tokens(shape.seq), labels(shape.seq);
        std::vector<float> losses(shape.seq);
        read_sequence(*f.corpus, shape, id.page, id.sequence, end_token, tokens, labels);
        std::ranges::copy(single.losses(f.replica.theta(), tokens, labels).wait(), losses.begin());
        for (size_t i = 0; i < losses.size(); ++i)
            if (labels[i] >= 0) sum += losses[i], ++counted;
    }
    CHECK(counted < sequences.size() * 16);
    CHECK(f.mean_loss(f.replica.theta(), sequences) == doctest::Approx(sum / counted).epsilon(1e-6));
}

TEST_CASE("stage 2 refuses what it cannot evaluate") {
    Fixture f;
    CHECK_THROWS_AS(MeanLoss(f.model, *f.corpus, PageShape{4, 8}, end_token), Error);
    CHECK_THROWS_AS(f.mean_loss(f.replica.theta(), {}), Error);
    CHECK_THROWS_AS(f.mean_loss(f.replica.theta(), std::vector<SequenceId>{{pages, 0}}), Error);
    CHECK_THROWS_AS(f.mean_loss(f.replica.theta(), std::vector<SequenceId>{{0, -1}}), Error);
    const Bytes short_payload(static_cast<size_t>(f.layout.payload_bytes - 1));
    CHECK_THROWS_AS(
        f.stage2.evaluate(f.replica, short_payload, step, sequences_of({0}), sequences_of({1}), 3.0), Error);
}

TEST_CASE("drawn sequences are different, reproducible, and do not depend on the order of the pages") {
    const auto key = sha256(as_bytes("secret"));
    auto draw = [&](std::vector<int64_t> from, int64_t count) {
        CounterRng rng(key);
        std::vector<std::pair<int64_t, int64_t>> drawn;
        for (const SequenceId& id : draw_sequences(rng, from, 3, count))
            drawn.emplace_back(id.page, id.sequence);
        return drawn;
    };
    const auto five = draw({4, 9, 2}, 5);
    CHECK(five.size() == 5);
    CHECK(five == draw({9, 2, 4, 4, 9}, 5));
    auto all = draw({4, 9, 2}, 100);
    CHECK(all.size() == 9);
    CHECK(std::equal(five.begin(), five.end(), all.begin()));
    std::sort(all.begin(), all.end());
    CHECK(std::unique(all.begin(), all.end()) == all.end());
    CHECK(draw({4}, -1).empty());
    CHECK(draw({}, 4).empty());
}
