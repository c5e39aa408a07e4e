#include "engine/parallel/data_parallel.h"

#include "base/error.h"
#include "base/random.h"
#include "kernels/thread_communicator.h"
#include "tests/cpu.h"
#include "tests/distance.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cmath>

using namespace templar;
using test::cpu, test::distance, test::flat;

namespace {

const LlamaConfig config{.vocab_size = 61,
                         .hidden_size = 24,
                         .intermediate_size = 40,
                         .layers = 3,
                         .heads = 4,
                         .kv_heads = 2,
                         .head_dim = 8};
constexpr int64_t seq = 9, rows = 4;  // of a whole batch

struct Batch {
    std::vector<int32_t> tokens, labels;
    explicit Batch(uint64_t number) {
        CounterRng rng(Sha256().update("batch").update_le(number).finish());
        for (int64_t i = 0; i < rows * seq; ++i) {
            tokens.push_back(static_cast<int32_t>(rng.below(61)));
            labels.push_back(rng.below(6) == 0 ? Llama::ignore_label : static_cast<int32_t>(rng.below(61)));
        }
    }
};

// Devices of their own: ranks use them at the same time.
struct Devices {
    std::vector<std::unique_ptr<Device>> owned;
    std::vector<Device*> all;
    explicit Devices(int count) {
        for (int i = 0; i < count; ++i) all.push_back(owned.emplace_back(cpu_device(1)).get());
    }
};

struct Result {
    double loss = 0;
    std::vector<float> gradient, momentum;
    std::vector<uint8_t> payload;
};

// Two windows of two batches; the second goes on from the first one's momentum.
Result train(int ranks, bool overlapped, const Layout& layout) {
    Devices devices(ranks);
    DataParallel trainer(devices.all, config, layout, rows / ranks, seq, 0.9f);
    REQUIRE(trainer.batch() == rows);
    const std::vector<float> weights = genesis_weights(config, 7);
    Result result;
    result.payload.resize(static_cast<size_t>(layout.payload_bytes));
    for (uint64_t window = 0; window < 2; ++window) {
        trainer.set_weights(flat(weights));
        trainer.zero_gradient();
        for (uint64_t i = 0; i < 2; ++i) {
            const Batch batch(window * 2 + i);
            result.loss += trainer.forward_backward(batch.tokens, batch.labels, overlapped && i == 1).wait();
        }
        trainer.compress(1e-3f, 0.01f, result.payload);
        result.gradient = trainer.gradient();
    }
    result.momentum = trainer.momentum();
    return result;
}

// Counts what DataParallel asks of its communicators.
struct Counts {
    std::atomic<int> reductions{0}, aborts{0};

    DataParallel::Connect connect() {
        return [this](std::span<Device* const> devices) {
            const auto meeting = std::make_shared<Meeting>(static_cast<int>(devices.size()));
            std::vector<std::unique_ptr<Communicator>> all;
            for (int rank = 0; rank < meeting->size(); ++rank) all.push_back(std::make_unique<Counted>(meeting, rank, *this));
            return all;
        };
    }

  private:
    struct Counted : ThreadCommunicator {
        Counts& counts;
        Counted(std::shared_ptr<Meeting> meeting, int rank, Counts& counts_)
            : ThreadCommunicator(std::move(meeting), rank), counts(counts_) {}
        void reduce(Stream& stream, std::span<const Part> parts) override {
            ++counts.reductions;
            ThreadCommunicator::reduce(stream, parts);
        }
        void abort() noexcept override {
            ++counts.aborts;
            ThreadCommunicator::abort();
        }
    };
};

}  // namespace

TEST_CASE("1, 2 and 4 devices compute the same gradient, overlapped with the backward or after it") {
    const Layout layout = make_layout(llama_parameters(config), {.k = 8, .chunk_edge = 8});
    const Result one = train(1, false, layout);
    CHECK(payload_fault(layout, one.payload) == "");
    for (const int ranks : {2, 4}) {
        CAPTURE(ranks);
        const Result after = train(ranks, false, layout), overlapped = train(ranks, true, layout);
        CHECK(after.loss == doctest::Approx(one.loss).epsilon(1e-6));
        CHECK(distance(after.gradient, one.gradient) < 1e-5);
        CHECK(distance(after.momentum, one.momentum) < 5e-3);  // near ties may be decided otherwise
        CHECK(payload_fault(layout, after.payload) == "");
        // The same sums in the same order: the same bits.
        CHECK(overlapped.gradient == after.gradient);
        CHECK(overlapped.payload == after.payload);
        CHECK(overlapped.momentum == after.momentum);
    }
}

TEST_CASE("momentum moves between different numbers of devices") {
    const Layout layout = make_layout(llama_parameters(config), {.k = 8, .chunk_edge = 8});
    std::vector<float> momentum(static_cast<size_t>(layout.parameters));
    for (size_t i = 0; i < momentum.size(); ++i) momentum[i] = static_cast<float>(i) * 0x1p-10f;
    for (const int ranks : {1, 2, 4}) {
        Devices devices(ranks);
        DataParallel trainer(devices.all, config, layout, 1, seq, 0.9f);
        trainer.set_momentum(momentum);
        CHECK(trainer.momentum() == momentum);
        CHECK_THROWS_AS(trainer.set_momentum(std::span(momentum).first(5)), Error);
    }
}

TEST_CASE("several devices refuse a gradient that is not finite, and none of them has moved") {
    const Layout layout = make_layout(llama_parameters(config), {.k = 8, .chunk_edge = 8});
    Devices devices(2);
    DataParallel trainer(devices.all, config, layout, 1, seq, 0.9f);
    std::vector<float> gradient(static_cast<size_t>(layout.parameters), 0.5f);
    std::vector<uint8_t> payload(static_cast<size_t>(layout.payload_bytes));
    trainer.set_gradient(gradient);
    trainer.compress(1e-3f, 1, payload);
    const std::vector<float> momentum = trainer.momentum();
    gradient[100] = NAN;
    trainer.set_gradient(gradient);
    CHECK_THROWS_AS(trainer.compress(1e-3f, 1, payload), Error);
    CHECK(trainer.momentum() == momentum);
    // It goes on.
    gradient[100] = 0.5f;
    trainer.set_gradient(gradient);
    trainer.compress(1e-3f, 1, payload);
    CHECK(trainer.momentum() != momentum);
}

TEST_CASE("an error on one rank ends the call on all, with that error") {
    std::atomic<int> told{0};
    RankThreads threads(4, [&](int) { ++told; });
    for (int turn = 0; turn < 3; ++turn) {
        std::atomic<int> ran{0};
        CHECK_THROWS_WITH_AS(threads.run([&](int rank) {
            ++ran;
            if (rank == turn + 1) fail(ExitCode::device, "rank {} broke", rank);
        }),
                             doctest::Contains(std::to_string(turn + 1).c_str()), Error);
        CHECK(ran == 4);
        CHECK(told == turn + 1);
    }
    std::atomic<int> ran{0};
    threads.run([&](int) { ++ran; });
    CHECK(ran == 4);
}

TEST_CASE("a token outside the vocabulary on one rank hangs nobody") {
    const Layout layout = make_layout(llama_parameters(config), {.k = 8, .chunk_edge = 8});
    Devices devices(2);
    DataParallel trainer(devices.all, config, layout, 2, seq, 0.9f);
    const std::vector<float> weights = genesis_weights(config, 7);
    trainer.set_weights(flat(weights));
    Batch batch(1);
    batch.tokens.back() = 61;  // of the second rank
    CHECK_THROWS_WITH_AS(trainer.forward_backward(batch.tokens, batch.labels, true), doctest::Contains("61"), Error);
}

TEST_CASE("an error outside of the ranks ends their sums before their memory is freed") {
    const Layout layout = make_layout(llama_parameters(config), {.k = 8, .chunk_edge = 8});
    Devices devices(2);
    Counts counts;
    const auto work = [&](bool fails) {
        DataParallel trainer(devices.all, config, layout, 2, seq, 0.9f, counts.connect());
        if (fails) fail(ExitCode::device, "found while losses were waited for");
    };
    work(false);
    CHECK(counts.aborts == 0);
    CHECK_THROWS_AS(work(true), Error);
    CHECK(counts.aborts == 2);
}

TEST_CASE("no device waits for another's sums before all have run a batch") {
    const Layout layout = make_layout(llama_parameters(config), {.k = 8, .chunk_edge = 8});
    const std::vector<float> weights = genesis_weights(config, 7);
    const Batch good(1);
    Batch bad(1);
    bad.tokens.back() = 61;  // ends the second device's part before its first sum
    for (const bool first : {true, false}) {
        Devices devices(2);
        Counts counts;
        DataParallel trainer(devices.all, config, layout, 2, seq, 0.9f, counts.connect());
        trainer.set_weights(flat(weights));
        if (!first) trainer.forward_backward(good.tokens, good.labels, false).wait();
        CHECK_THROWS_AS(trainer.forward_backward(bad.tokens, bad.labels, true), Error);
        CHECK((counts.reductions == 0) == first);
    }
}
